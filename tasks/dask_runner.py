"""Dask for a Prefect task: its cluster or connection belongs to the task runner of prefect-dask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from distributed import LocalCluster
from prefect_dask.client import PrefectDaskClient
from prefect_dask.task_runners import DaskTaskRunner

from nightwell.wells.fleet.cluster import CLIENT_LOGGER, CLIENT_OPTIONS, connecting, local_cluster, quiet


@contextmanager
def client_of_runner(address: str, *, workers: int, memory_bytes: int) -> Iterator[PrefectDaskClient]:
    """Give the client of a Dask task runner, which takes Prefect's tasks and plain functions.

    The runner is made here, not in the decorator of the flow: address, workers and memory are settings and parameters
    of a flow run, and a flow's own runner is made before either is known.

    Parameters
    ----------
    address
        Of a cluster's scheduler (``tcp://host:8786``); empty for workers of this machine, which end with the block.
    workers, memory_bytes
        Of workers of this machine.

    Raises
    ------
    SettingsError
        The address is none.
    UnreachableError
        Nobody answers there.
    """

    def workers_here() -> LocalCluster:
        return local_cluster(workers=workers, memory_bytes=memory_bytes)

    options = dict(CLIENT_OPTIONS)
    if address:
        runner = DaskTaskRunner(address=address, client_kwargs=options)
    else:
        runner = DaskTaskRunner(cluster_class=workers_here, client_kwargs=options)
    # The runner's own words name a dashboard that workers here do not serve.
    with quiet(CLIENT_LOGGER, runner.logger.name), runner:
        with connecting(address) if address else nullcontext():
            client = runner.client
        yield client
