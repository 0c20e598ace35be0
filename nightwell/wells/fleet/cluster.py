"""Dask for a night: workers of this machine, or any cluster by its address."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster

from nightwell.errors import SettingsError, UnreachableError
from nightwell.wells.nnls import compile_solver

_CONNECT_TIMEOUT_S = 10.0


@contextmanager
def dask_client(address: str = "", *, workers: int = 0, memory_bytes: int) -> Iterator[Client]:
    """Give a Dask client.

    Parameters
    ----------
    address
        Of a cluster's scheduler (``tcp://host:8786``); empty for workers of this machine, which end with the block.
    workers
        Number of worker processes of this machine, each with one thread; 0 for one for each processor.
    memory_bytes
        Of each of them: one that holds more is ended and its well tried again. A cluster's workers have their own.

    Raises
    ------
    SettingsError
        The address is none.
    UnreachableError
        Nobody answers there.
    """
    if address:
        with _connected(address) as client:
            yield client
        return
    compile_solver()
    # A well whose worker dies is tried again by the night, alone: left to Dask it would take its neighbours with it.
    known = {"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.worker-saturation": 1.0}
    with (
        dask.config.set(known),
        LocalCluster(  # type: ignore[no-untyped-call]  # distributed has no types
            n_workers=workers or _cpus(),
            threads_per_worker=1,
            processes=True,
            memory_limit=memory_bytes,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # without a port it takes 8787, and warns when that is taken
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,  # a worker that dies is told as the outcome of its well
        ) as cluster,
        Client(cluster, set_as_default=False) as client,  # type: ignore[no-untyped-call]  # distributed has no types
    ):
        yield client


def threads_of(client: Client) -> int:
    """Return how many wells the cluster can work on at a time; UnreachableError when it has no workers."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return sum(int(worker["nthreads"]) for worker in workers.values())


def memory_of(client: Client) -> int:
    """Return the least memory that a worker of the cluster may hold [bytes]; 0 when none of them has a limit."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return min((int(worker["memory_limit"]) for worker in workers.values() if worker["memory_limit"]), default=0)


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        client = Client(address, timeout=_CONNECT_TIMEOUT_S, set_as_default=False)  # type: ignore[no-untyped-call]  # distributed has no types
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
    # A scheduler that dies is told as the outcome of the wells that were left, not as a traceback of the client.
    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with client:
            yield client
    finally:
        logger.setLevel(level)


def _cpus() -> int:
    return len(os.sched_getaffinity(0))
