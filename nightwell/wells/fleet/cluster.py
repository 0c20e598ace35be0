"""Dask for a night: workers of this machine, or any cluster by its address."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import dask
from distributed import Client, LocalCluster

from nightwell.errors import SettingsError, UnreachableError
from nightwell.wells.nnls import compile_solver

#: How a client of a cluster is made: it gives up early, and is nobody's default.
CLIENT_OPTIONS: dict[str, Any] = {"timeout": 10.0, "set_as_default": False}
CLIENT_LOGGER = "distributed.client"


@contextmanager
def dask_client(address: str = "", *, workers: int = 0, memory_bytes: int) -> Iterator[Client]:
    """Give a Dask client.

    Parameters
    ----------
    address
        Of a cluster's scheduler (``tcp://host:8786``); empty for workers of this machine, which end with the block.
    workers, memory_bytes
        Of this machine, as in `local_cluster`. A cluster's workers have their own.

    Raises
    ------
    SettingsError
        The address is none.
    UnreachableError
        Nobody answers there.
    """
    with quiet(CLIENT_LOGGER), ExitStack() as stack:
        place = address or stack.enter_context(local_cluster(workers=workers, memory_bytes=memory_bytes))
        with connecting(address) if address else nullcontext():
            client = stack.enter_context(Client(place, **CLIENT_OPTIONS))  # type: ignore[no-untyped-call]  # distributed has no types
        yield client


def local_cluster(*, workers: int, memory_bytes: int) -> LocalCluster:
    """Start worker processes of this machine, each with one thread.

    Parameters
    ----------
    workers
        Their number; 0 for one for each processor.
    memory_bytes
        Of each of them: one that holds more is ended and its well tried again.
    """
    compile_solver()
    # A well whose worker dies is tried again by the night, alone: left to Dask it would take its neighbours with it.
    known = {"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.worker-saturation": 1.0}
    with dask.config.set(known):  # read when the scheduler is made
        return LocalCluster(  # type: ignore[no-untyped-call]  # distributed has no types
            n_workers=workers or _cpus(),
            threads_per_worker=1,
            processes=True,
            memory_limit=memory_bytes,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # without a port it takes 8787, and warns when that is taken
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,  # a worker that dies is told as the outcome of its well
        )


@contextmanager
def connecting(address: str) -> Iterator[None]:
    """Turn what Dask raises when it cannot connect into SettingsError and UnreachableError."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(
            f"Dask cluster '{address}'",
            expected="the address of a scheduler, such as tcp://host:8786",
            found=str(error),
            cause="a mistyped setting wells.cluster",
            next_step="correct it, or leave it empty for workers of this machine",
        ) from error
    except (OSError, TimeoutError) as error:
        raise UnreachableError(
            f"Dask cluster '{address}'",
            expected="a scheduler that answers",
            found=str(error).strip() or type(error).__name__,
            cause="the cluster is not running, or a firewall is between",
            next_step="start it, or leave wells.cluster empty for workers of this machine",
        ) from error


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Keep loggers silent: a worker or scheduler that dies is told as the outcome of its wells, not as a traceback."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def threads_of(client: Client) -> int:
    """Return how many wells the cluster can work on at a time; UnreachableError when it has no workers."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return sum(int(worker["nthreads"]) for worker in workers.values())


def memory_of(client: Client) -> int:
    """Return the least memory that a worker of the cluster may hold [bytes]; 0 when none of them has a limit."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return min((int(worker["memory_limit"]) for worker in workers.values() if worker["memory_limit"]), default=0)


def _cpus() -> int:
    return len(os.sched_getaffinity(0))
