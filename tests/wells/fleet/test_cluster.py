"""A cluster of real processes, ``dask scheduler`` and ``dask worker``, by its address; each killed in mid-night."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import dask
import pytest
from distributed import Client
from wells.fleet.conftest import MEMORY_BYTES
from wells.fleet.scans_of_tests import ScansOfTest

from nightwell.wells.archive import ResultsArchive
from nightwell.wells.fleet.catalogue import candidates_in
from nightwell.wells.fleet.cluster import dask_client, memory_of
from nightwell.wells.fleet.night import Night, read_night, run_jobs, run_night
from nightwell.wells.fleet.well_task import Ending, WellJob
from nightwell.wells.method import Method

WELLS = [f"SIMULATED-{number:05d}" for number in range(3)]


@dataclass
class Processes:
    """A scheduler and its workers."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Processes]:
    file = tmp_path / "scheduler.json"
    common = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *common]
    # Without a nanny a killed worker stays dead.
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", *common]
    worker += ["--memory-limit", str(MEMORY_BYTES), "--local-directory", str(tmp_path)]
    started = [subprocess.Popen(words, stderr=subprocess.DEVNULL) for words in (scheduler, worker, worker)]
    try:
        deadline_s = time.monotonic() + 120
        while not file.exists() or not file.read_text():
            assert time.monotonic() < deadline_s, "the scheduler did not start"
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]  # distributed has no types
            client.wait_for_workers(2, timeout=120)
        yield Processes(address, started[0], started[1:])
    finally:
        for one in started:
            one.kill()
            one.wait()


def test_a_killed_worker_loses_no_well_and_a_killed_scheduler_fails_by_name_those_that_the_next_night_does(
    cluster: Processes,
    fleet: Path,
    method: Method,
    workers: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = tmp_path / "results"

    def night(chosen: Method, client: object, at_first: Callable[[], None]) -> Night:
        once = [at_first]
        return run_night(
            candidates_in(fleet).candidates,
            chosen,
            results,
            lambda: client,  # type: ignore[arg-type, return-value]  # a context of a client
            memory_bytes=8 << 30,
            on_outcome=lambda *_: once.pop()() if once else None,
        )

    done = night(
        method,
        dask_client(cluster.address, memory_bytes=MEMORY_BYTES),
        lambda: cluster.workers[0].send_signal(signal.SIGKILL),
    )
    assert [one.ending for one in done.outcomes] == [Ending.COMPUTED] * 3, done
    assert cluster.workers[0].wait(timeout=60) == -signal.SIGKILL

    def kill_scheduler() -> None:
        monkeypatch.setitem(
            dask.config.config["distributed"]["comm"]["timeouts"], "connect", "2s"
        )  # it never comes back
        cluster.scheduler.send_signal(signal.SIGKILL)

    other = replace(method, profiles=method.profiles[:-1])
    broken = night(
        other,
        dask_client(cluster.address, memory_bytes=MEMORY_BYTES),
        kill_scheduler,
    )
    failed = broken.that_ended(Ending.FAILED)
    assert len(broken.that_ended(Ending.COMPUTED)) >= 1
    assert len(failed) >= 1
    assert all(one.error["subject"] == "the Dask cluster" and "scheduler ended" in one.error["cause"] for one in failed)
    assert all(one.analysis_id for one in failed), "its analysis of the first night is still its newest"
    assert read_night(results) == broken

    # What a worker had in hand it may have committed all the same; the next night does the rest and nothing twice.
    cluster.workers[1].kill()
    cluster.workers[1].wait()
    mended = night(other, nullcontext(workers), lambda: None)
    assert not mended.that_ended(Ending.FAILED), mended.summary
    for well in WELLS:
        fingerprints = [one.fingerprint for one in ResultsArchive(results, well).analyses()]
        assert len(fingerprints) == len(set(fingerprints)) == 2


def test_a_job_may_hold_no_more_than_the_workers_of_the_cluster(
    fleet: Path, method: Method, workers: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memory_of(workers) == MEMORY_BYTES
    seen: list[int] = []

    def noted(_client: Client, jobs: tuple[WellJob, ...], _method: Method) -> tuple[()]:
        seen.extend(one.memory_bytes for one in jobs)
        return ()

    monkeypatch.setattr("nightwell.wells.fleet.night._outcomes", noted)
    need = ScansOfTest(fleet / f"{WELLS[0]}.zarr", WELLS[0]).needed()
    for asked in (8 << 30, 700 << 20):
        list(run_jobs(workers, [WellJob(need, tmp_path, asked)], method))
    assert seen == [MEMORY_BYTES, 700 << 20]
