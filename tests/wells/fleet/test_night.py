"""A night on real Dask workers: failures apart, chunks read once, memory as declared, deaths survived."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import xarray as xr
from distributed import Client, LocalCluster
from s3 import fresh_prefix
from wells.fleet.conftest import MEMORY_BYTES
from wells.fleet.scans_of_tests import ScansOfTest

from nightwell.errors import FormatError, NotFoundError, SettingsError, UnreachableError
from nightwell.store import StoreLocation
from nightwell.wells.archive import ResultsArchive
from nightwell.wells.container import open_scans, write_scans
from nightwell.wells.fleet import reading, well_task
from nightwell.wells.fleet.catalogue import candidates_in
from nightwell.wells.fleet.cluster import CLIENT_OPTIONS, dask_client
from nightwell.wells.fleet.find_stale import Need
from nightwell.wells.fleet.generator import FleetPlan, simulated_well
from nightwell.wells.fleet.night import Night, night_ids, read_night, run_jobs, run_night, write_night
from nightwell.wells.fleet.reading import read_once
from nightwell.wells.fleet.well_task import MIB, Ending, WellJob, WellOutcome, analyse_one, needed_bytes
from nightwell.wells.method import Method

WELLS = [f"SIMULATED-{number:05d}" for number in range(3)]


def container(fleet: Path, well: str) -> Path:
    return fleet / f"{well}.zarr"


def run(client: Client, jobs: list[WellJob], method: Method) -> dict[str, WellOutcome]:
    return {one.well: one for one in run_jobs(client, jobs, method)}


def test_a_night_computes_what_is_missing_and_names_every_version(
    fleet: Path, method: Method, workers: Client, moto_server: StoreLocation, tmp_path: Path
) -> None:
    seen: list[tuple[str, int, int]] = []

    def one_night() -> Night:
        found = candidates_in(fleet)
        return run_night(
            found.candidates,
            method,
            tmp_path,
            lambda: nullcontext(workers),
            memory_bytes=MEMORY_BYTES,
            on_outcome=lambda one, ended, total: seen.append((one.well, ended, total)),
        )

    first = one_night()
    assert [(one.well, one.ending) for one in first.outcomes] == [(well, Ending.COMPUTED) for well in WELLS]
    assert first.summary.startswith("0 of 3 wells failed; 3 computed")
    assert "SIMULATED" in first.summary
    assert max(seen, key=lambda one: one[1])[1:] == (3, 3)
    for one in first.outcomes:
        kept = ResultsArchive(tmp_path, one.well).find("latest")
        assert (one.analysis_id, one.inputs) == (kept.analysis_id, dict(kept.inputs))
        assert one.versions["library_version"] == method.library.version
        assert {"profiles_version", "classifications_version", "software_version"} < set(one.versions)
        assert one.inputs["scans"]
    second = run_night(candidates_in(fleet).candidates, method, tmp_path, _no_cluster, memory_bytes=MEMORY_BYTES)
    assert [one.ending for one in second.outcomes] == [Ending.CURRENT] * 3
    assert [one.analysis_id for one in second.outcomes] == [one.analysis_id for one in first.outcomes]
    assert night_ids(tmp_path) == (first.night_id, second.night_id)
    assert read_night(tmp_path) == second
    assert read_night(tmp_path, "before") == first
    with pytest.raises(NotFoundError, match="night 'nosuch'"):
        read_night(tmp_path, "nosuch")
    place = fresh_prefix(moto_server)
    assert night_ids(place) == ()
    write_night(first, place)
    assert read_night(place) == first
    record = tmp_path / "nights" / f"{first.night_id}.json"
    record.write_text(record.read_text().replace('"nightwell_night_format": 1', '"nightwell_night_format": 2'))
    with pytest.raises(FormatError, match="format 2"):
        read_night(tmp_path, first.night_id)


def _no_cluster() -> Client:
    pytest.fail("a cluster was started with nothing to do")


def test_wells_that_fail_or_kill_their_workers_are_reported_and_the_others_go_on(
    fleet: Path, method: Method, workers: Client, tmp_path: Path
) -> None:
    """With real SIGKILLs of real workers."""
    scans = [
        ScansOfTest(container(fleet, WELLS[0]), "broken", "is broken"),
        ScansOfTest(tmp_path / "gone", "gone"),
        ScansOfTest(container(fleet, WELLS[0]), WELLS[0], "kills its worker once", tmp_path / "deaths"),
        ScansOfTest(container(fleet, WELLS[1]), "poison", "kills its worker"),
        ScansOfTest(container(fleet, WELLS[2]), WELLS[2]),
    ]
    before = set(workers.run(os.getpid).values())
    ended = run(workers, [WellJob(one.needed(), tmp_path / "results", MEMORY_BYTES) for one in scans], method)
    assert {well: one.ending for well, one in ended.items()} == {
        "broken": Ending.FAILED,
        "gone": Ending.FAILED,
        "poison": Ending.FAILED,
        WELLS[0]: Ending.COMPUTED,
        WELLS[2]: Ending.COMPUTED,
    }
    assert "ZeroDivisionError: no such number" in ended["broken"].error["found"]
    assert ended["gone"].error["error"] == "NotFoundError"
    assert "died under it twice" in ended["poison"].error["found"]
    assert "worker_memory_mib" in ended["poison"].error["next_step"]
    assert all(one.error["next_step"] for one in ended.values() if one.ending is Ending.FAILED)
    assert before - set(workers.run(os.getpid).values()), "no worker died: nothing was tried"
    for well in (WELLS[0], WELLS[2]):
        archive = ResultsArchive(tmp_path / "results", well)
        (only,) = archive.analyses()
        assert only.analysis_id == ended[well].analysis_id
        archive.open().load()


def test_every_chunk_is_read_once(fleet: Path, method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ScansOfTest(container(fleet, WELLS[0]), WELLS[0], "counts", tmp_path / "reads")

    def reads() -> Counter[tuple[str, ...]]:
        outcome = analyse_one(WellJob(found.needed(), tmp_path / "results", MEMORY_BYTES), method)
        assert outcome.ending is Ending.COMPUTED, outcome.error
        lines = (tmp_path / "reads").read_text().splitlines()
        (tmp_path / "reads").unlink()
        return Counter(tuple(json.loads(line)) for line in lines if "scans/intensity/c" in line)

    assert set(reads().values()) == {1}
    # The analysis itself passes over the scans more than once: without the copy the count shows it.
    monkeypatch.setattr(well_task, "read_once", lambda scans, **_: scans)
    monkeypatch.setattr(found.__class__, "inputs", {"scans": "read again"})
    assert max(reads().values()) > 1


def test_scans_too_large_to_be_held_are_read_once_through_a_file(
    fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_ROWS", 50)
    scans = open_scans(container(fleet, WELLS[0]))
    copied = read_once(scans, held_bytes=0, folder=tmp_path)
    assert (tmp_path / "intensity.f4").stat().st_size == scans["scans/intensity"].nbytes
    assert "truth" not in copied.children
    held = read_once(scans, held_bytes=1 << 30, folder=tmp_path)
    xr.testing.assert_identical(copied["scans"].to_dataset().isel(scan=slice(40, 90)).load(),
                                held["scans"].to_dataset().isel(scan=slice(40, 90)))  # fmt: skip
    xr.testing.assert_identical(held["scans"].to_dataset(), scans["scans"].to_dataset().load())


def test_a_worker_holds_its_declared_memory(method: Method, workers: Client, tmp_path: Path) -> None:
    """The resident memory of real workers, at its highest, against what is declared and what is foretold."""
    plan = FleetPlan(2, length_m=600.0, highest_mz=200, sample_every=20)
    jobs = []
    for number in range(plan.wells):
        scans = simulated_well(plan, number)
        write_scans(scans, tmp_path / f"{number}.zarr")
        found = ScansOfTest(tmp_path / f"{number}.zarr", str(scans.attrs["well"]))
        jobs.append(WellJob(found.needed(), tmp_path / "results", MEMORY_BYTES))
    foretold = needed_bytes(open_scans(tmp_path / "0.zarr"), method, MEMORY_BYTES)
    ended = run(workers, jobs, method)
    assert [one.ending for one in ended.values()] == [Ending.COMPUTED] * 2, [one.error for one in ended.values()]
    peaks = [one.peak_bytes for one in ended.values()]
    assert max(peaks) < foretold < MEMORY_BYTES, [peak // MIB for peak in peaks]
    assert max(peaks) > 0.5 * foretold, "what is foretold is out of all proportion"


def test_a_well_that_would_not_fit_is_refused_before_its_arrays_are_read(
    fleet: Path, method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(well_task, "read_once", lambda *_, **__: pytest.fail("arrays were read"))
    found = ScansOfTest(container(fleet, WELLS[0]), WELLS[0])
    outcome = analyse_one(WellJob(found.needed(), tmp_path, 300 * MIB), method)
    assert outcome.ending is Ending.FAILED
    assert outcome.error["error"] == "InputError"
    assert "300 MiB, the declared memory" in outcome.error["expected"]


def test_a_cluster_is_used_by_its_address_and_one_that_is_away_is_named(
    fleet: Path, method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalCluster(  # type: ignore[no-untyped-call]  # distributed has no types
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = str(cluster.scheduler_address)
        with dask_client(address, memory_bytes=MEMORY_BYTES) as client:
            found = ScansOfTest(container(fleet, WELLS[0]), WELLS[0])
            ended = run(client, [WellJob(found.needed(), tmp_path, MEMORY_BYTES)], method)
    assert ended[WELLS[0]].ending is Ending.COMPUTED
    monkeypatch.setitem(CLIENT_OPTIONS, "timeout", 2.0)  # how long it takes to give up
    for wrong, kind in (("nonsense://1", SettingsError), ("tcp://127.0.0.1:9", UnreachableError)):
        with pytest.raises(kind, match="Dask cluster"), dask_client(wrong, memory_bytes=MEMORY_BYTES):
            pass


def test_a_restored_well_that_is_already_the_newest_stays_as_it_is(fleet: Path, method: Method, tmp_path: Path) -> None:
    found = ScansOfTest(container(fleet, WELLS[0]), WELLS[0])
    done = analyse_one(WellJob(found.needed(), tmp_path, MEMORY_BYTES), method)
    (only,) = ResultsArchive(tmp_path, WELLS[0]).analyses()
    need = replace(found.needed(), need=Need.RESTORE, known=only, newest=only)
    assert analyse_one(WellJob(need, tmp_path, MEMORY_BYTES), method).analysis_id == done.analysis_id
    assert ResultsArchive(tmp_path, WELLS[0]).analyses() == (only,)
