"""The night as a flow: what its page shows, that a failed well fails it by name, and a real kill in its midst."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
import tomli_w
from deployed import eventually
from distributed import LocalCluster
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.context import TaskRunContext

from flows.local_server import LocalPrefectServer
from flows.reanalyse_wells import reanalyse_wells
from nightwell.local.process import python
from nightwell.wells.archive import ResultsArchive
from nightwell.wells.fleet.generator import FleetPlan, write_fleet
from tasks.dask_runner import client_of_runner

WELLS = 4
NAMES = [f"SIMULATED-{number:05d}" for number in range(WELLS)]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    write_fleet(FleetPlan(WELLS, length_m=25.0, sample_every=25), folder)
    return folder


@pytest.fixture
def results(fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the results are, after settings were written that name the fleet."""
    file = tmp_path / "nightwell.toml"
    wells = {"results": str(tmp_path / "results"), "scans": str(fleet), "workers": 1}
    file.write_text(tomli_w.dumps({"state_directory": str(tmp_path / "state"), "wells": wells}))
    monkeypatch.setenv("NIGHTWELL_SETTINGS", str(file))
    return tmp_path / "results"


@task(name="name the task run", cache_policy=NO_CACHE, persist_result=False)
def name_task_run() -> str:
    context = TaskRunContext.get()
    return context.task.name if context else "no task run of Prefect"


@flow(persist_result=False)
def task_name_on(address: str) -> str:
    with client_of_runner(address, workers=0, memory_bytes=1 << 30) as client:
        return str(client.submit(name_task_run).result())  # type: ignore[no-untyped-call]  # it has none here


def committed(results: Path) -> dict[str, list[str]]:
    """Return the ids of all analyses of each well."""
    return {name: [one.analysis_id for one in ResultsArchive(results, name).analyses()] for name in NAMES}


def workers_of(process: int) -> list[psutil.Process]:
    try:
        return psutil.Process(process).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def test_a_killed_night_is_finished_by_the_next_and_nothing_is_computed_twice(
    prefect_server: LocalPrefectServer, fleet: Path, results: Path
) -> None:
    code = "from flows.reanalyse_wells import reanalyse_wells\nif __name__ == '__main__': reanalyse_wells()"
    environment = {**os.environ, **prefect_server.environment}
    flow = subprocess.Popen(python("-c", code), env=environment, start_new_session=True)
    try:
        eventually(
            "two committed wells", lambda: sum(map(bool, committed(results).values())) >= 2 or None, timeout_s=120
        )
        left = workers_of(flow.pid)
        os.kill(flow.pid, signal.SIGKILL)
        assert flow.wait(timeout=30) == -signal.SIGKILL
        # The workers see that their parent is gone; what one has in hand it commits, or does not.
        assert psutil.wait_procs(left, timeout=60)[1] == []
    finally:
        if flow.poll() is None:
            os.killpg(flow.pid, signal.SIGKILL)
    before = committed(results)
    done = [name for name, ids in before.items() if ids]
    assert 2 <= len(done) < WELLS, "it was killed too late to show anything"
    for name in done:
        ResultsArchive(results, name).open().load()

    state = reanalyse_wells(return_state=True)
    assert state.is_completed(), state.message
    assert f"0 of {WELLS} wells failed; {WELLS - len(done)} computed, 0 restored, {len(done)} current" in str(
        state.message
    )
    after = committed(results)
    assert {name: after[name] for name in done} == {name: before[name] for name in done}
    assert all(len(ids) == 1 for ids in after.values())


def test_a_failed_well_fails_the_flow_by_name_and_the_table_says_why(
    prefect_server: LocalPrefectServer, fleet: Path, results: Path, tmp_path: Path
) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    (scans / "good").symlink_to(fleet / f"{NAMES[0]}.zarr")
    (scans / "cube").mkdir()
    (scans / "cube" / "zarr.json").write_text('{"attributes": {"contract": "nightwell cube", "well": "x"}}')
    state = reanalyse_wells(scans=str(scans), return_state=True)
    assert state.is_failed()
    assert str(state.message).startswith("1 of 2 wells failed: scans 'cube'")
    with get_client(sync_client=True) as api:
        shown = api.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["wells-night"])))
    newest = max(shown, key=lambda one: str(one.created))
    rows = json.loads(str(newest.data))
    assert [row["ended"] for row in rows] == ["failed", "computed"]
    assert "nightwell cube" in rows[0]["error"]
    assert rows[1]["simulated"] == "SIMULATED"
    assert str(state.message) in str(newest.description)
    nothing = reanalyse_wells(scans="", volumes=[], return_state=True)
    assert nothing.is_failed()
    assert "raw scans of wells" in str(nothing.message)
    (scans / "cube" / "zarr.json").unlink()
    astray = reanalyse_wells(
        scans=str(scans), cluster="nonsense://1", method={"recycled_share": 0.3}, return_state=True
    )
    assert astray.is_failed()
    assert "Dask cluster 'nonsense://1'" in str(astray.message)


def test_numbers_of_the_method_given_to_the_flow_make_another_analysis_and_taken_back_restore_the_first(
    prefect_server: LocalPrefectServer, fleet: Path, results: Path, tmp_path: Path
) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    (scans / "one").symlink_to(fleet / f"{NAMES[0]}.zarr")
    archive = ResultsArchive(results, NAMES[0])
    said = []
    with LocalCluster(  # type: ignore[no-untyped-call]  # distributed has no types
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = str(cluster.scheduler_address)
        for method in (None, {"recycled_share": 0.3}, {"recycled_share": 0.3}, None):
            state = reanalyse_wells(scans=str(scans), cluster=address, method=method, return_state=True)
            assert state.is_completed(), state.message
            said.append(str(state.message).partition("; ")[2])
        # It is prefect-dask that connects: somebody's own tasks of Prefect go the same way.
        assert task_name_on(address) == "name the task run"
    assert [one.partition(";")[0] for one in said] == [
        "1 computed, 0 restored, 0 current",
        "1 computed, 0 restored, 0 current",
        "0 computed, 0 restored, 1 current",
        "0 computed, 1 restored, 0 current",
    ]
    first, second, third = archive.analyses()
    assert first.fingerprint == third.fingerprint
    assert "share=0.3" in second.versions["cube_settings"]
    recycled = archive.open(second.analysis_id)["trap_gas"].attrs["recycled"]
    assert "assumed" in recycled
