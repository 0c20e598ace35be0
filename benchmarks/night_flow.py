#!/usr/bin/env python3
"""A night's wells on Dask by three roads: the library alone, as the flow does it, and with a Prefect task run for each.

The same SIMULATED wells on the same number of warm workers, and a real Prefect server of this machine. The second road
is that of the flow `reanalyse-wells`: the client of prefect-dask's task runner, in one task. In the third the same
client is handed a Prefect task for each well.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx
import psutil
from distributed import Client
from fleet import MEMORY_BYTES
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings
from results import describe_machine

from flows.local_server import LocalPrefectServer
from nightwell.wells.fleet.catalogue import candidates_in
from nightwell.wells.fleet.cluster import dask_client
from nightwell.wells.fleet.find_stale import find_stale
from nightwell.wells.fleet.generator import FleetPlan, write_fleet
from nightwell.wells.fleet.night import run_jobs
from nightwell.wells.fleet.well_task import Ending, WellJob, WellOutcome, analyse_one
from nightwell.wells.method import Method
from tasks.dask_runner import client_of_runner

LENGTH_M = 60.0
SETTLE_S = 5.0


class Road(StrEnum):
    """How the wells reach the workers."""

    ALONE = "the library alone"
    FLOW = "the flow: one task, its runner"
    EACH = "a Prefect task run for each well"


@dataclass(frozen=True, slots=True)
class Night:
    """What is analysed, where to, by how many workers, and what is known of Prefect's server."""

    scans: Path
    results: Path
    workers: int
    server_url: str
    server_pid: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What one road took for all wells, after each worker had analysed one."""

    wells: int
    wall_s: float
    server_cpu_s: float
    task_runs: int

    def __str__(self) -> str:
        return (
            f"{self.wells / self.wall_s:6.2f} wells/s, {self.task_runs:4d} task runs at Prefect, "
            f"whose server took {1e3 * self.server_cpu_s / self.wells:4.0f} ms of processor a well"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wells", type=int, default=100, help="number of wells (default: 100)")
    parser.add_argument("--workers", type=int, default=2, help="number of workers (default: 2)")
    options = parser.parse_args()
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{describe_machine()}; load average before: {load}. {options.wells} SIMULATED wells of {LENGTH_M:g} m")
    with tempfile.TemporaryDirectory(prefix="night-flow-") as scratch, prefect_server(Path(scratch)) as server:
        scans = Path(scratch) / "scans"
        write_fleet(FleetPlan(options.wells, length_m=LENGTH_M), scans)
        for road in Road:
            night = Night(scans, Path(scratch) / road.name, options.workers, server.url, server.process.pid)
            print(f"{road:33} {measure(night, road) if road is Road.ALONE else in_a_flow(night, road)}", flush=True)


@contextmanager
def prefect_server(folder: Path) -> Iterator[LocalPrefectServer]:
    """Run a Prefect server; this process becomes its client."""
    server = LocalPrefectServer(folder)
    try:
        with temporary_settings({PREFECT_API_URL: f"{server.url}/api"}):
            yield server
            APILogHandler().flush()
    finally:
        server.stop()


@flow(name="night", persist_result=False)
def in_a_flow(night: Night, road: Road) -> Taken:
    return in_one_task(night, road)


@task(name="analyse wells on Dask", cache_policy=NO_CACHE, persist_result=False)
def in_one_task(night: Night, road: Road) -> Taken:
    return measure(night, road)


@task(name="analyse a well", cache_policy=NO_CACHE, persist_result=False)
def analyse_in_a_task(job: WellJob, method: Method) -> WellOutcome:
    return analyse_one(job, method)


def measure(night: Night, road: Road) -> Taken:
    """Measure a road from the plan to the last outcome, and what Prefect's server does until it has noted all runs."""
    method = Method.default()
    with connect(night, road) as client:
        warm = find_stale(candidates_in(night.scans).candidates, method, night.results / "warm").needs[: night.workers]
        list(analyse(client, road, [WellJob(need, night.results / "warm", MEMORY_BYTES) for need in warm], method))
        known, cpu_s = settled_task_runs(night.server_url), processor_s(night.server_pid)
        begun_s = time.perf_counter()
        needs = find_stale(candidates_in(night.scans).candidates, method, night.results).needs
        jobs = [WellJob(need, night.results, MEMORY_BYTES) for need in needs]
        outcomes = list(analyse(client, road, jobs, method))
        wall_s = time.perf_counter() - begun_s
    assert {one.ending for one in outcomes} == {Ending.COMPUTED}, [one.error for one in outcomes]
    task_runs = settled_task_runs(night.server_url) - known
    return Taken(len(outcomes), wall_s, processor_s(night.server_pid) - cpu_s, task_runs)


def connect(night: Night, road: Road) -> AbstractContextManager[Client]:
    if road is Road.ALONE:
        return dask_client(workers=night.workers, memory_bytes=MEMORY_BYTES)
    return client_of_runner("", workers=night.workers, memory_bytes=MEMORY_BYTES)


def analyse(client: Client, road: Road, jobs: Sequence[WellJob], method: Method) -> Iterable[WellOutcome]:
    if road is not Road.EACH:
        return run_jobs(client, jobs, method)
    futures = [client.submit(analyse_in_a_task, job, method, pure=False) for job in jobs]
    return [future.result() for future in futures]


def settled_task_runs(server_url: str) -> int:
    """Return how many task runs Prefect's server knows, once that stays the same: it notes them late."""
    known = -1
    while (seen := int(httpx.post(f"{server_url}/api/task_runs/count", json={}).raise_for_status().json())) != known:
        known = seen
        time.sleep(SETTLE_S)
    return known


def processor_s(pid: int) -> float:
    """Return the processor seconds of a process and its children so far."""
    process = psutil.Process(pid)
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


if __name__ == "__main__":
    main()
