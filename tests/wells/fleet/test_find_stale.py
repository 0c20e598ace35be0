"""What a night has to do: decided from versions alone, with the reason, and nothing stale stays the newest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import icechunk
import numpy as np
import pytest
import xarray as xr
from s3 import fresh_prefix
from zarr.storage import ObjectStore

from nightwell.errors import ConflictError, FormatError, NotFoundError, UnreachableError
from nightwell.store import StoreLocation
from nightwell.wells.analysis import ANALYSIS_VERSION
from nightwell.wells.archive import ResultsArchive
from nightwell.wells.calibrate.calibration import Calibration, Fragment
from nightwell.wells.container import open_scans, write_scans
from nightwell.wells.cube import CubeSettings
from nightwell.wells.deconvolve import Deconvolution
from nightwell.wells.fingerprint import fingerprint_of, planned_fingerprint
from nightwell.wells.fleet import catalogue
from nightwell.wells.fleet.catalogue import candidates_in
from nightwell.wells.fleet.find_stale import NEVER_ANALYSED, Need, NightPlan, find_stale
from nightwell.wells.fleet.place import Objects, s3_store
from nightwell.wells.fleet.well_task import Ending, WellJob, analyse_one
from nightwell.wells.method import Method
from nightwell.wells.normalise import Normalisation
from nightwell.wells.recycled import RecycledGas
from nightwell.wells.species import SpeciesLibrary

WELL = "SIMULATED-00000"
MEMORY_BYTES = 900 << 20


def plan_of(scans: Path | StoreLocation, method: Method, results: Path) -> NightPlan:
    return find_stale(candidates_in(scans).candidates, method, results)


@pytest.fixture
def one_well(fleet: Path, tmp_path: Path) -> Path:
    """Return a place with one well's scans, which a test may change."""
    shutil.copytree(fleet / f"{WELL}.zarr", tmp_path / "scans" / f"{WELL}.zarr")
    return tmp_path / "scans"


def do(plan: NightPlan, method: Method, results: Path) -> None:
    for need in plan.needs:
        if need.need is not Need.NOTHING:
            outcome = analyse_one(WellJob(need, results, MEMORY_BYTES), method)
            assert outcome.ending is not Ending.FAILED, outcome.error


def test_the_planned_fingerprint_is_that_of_the_result(analysed: xr.DataTree, method: Method) -> None:
    """A version that a result records and the method does not, or the other way round, would compute every night."""
    versions = method.as_attributes() | {"contract_version": ANALYSIS_VERSION}
    planned = planned_fingerprint(analysed.attrs["well"], analysed.attrs["inputs"], versions)
    assert planned == fingerprint_of(analysed)


def test_a_calibration_that_is_given_is_foretold_too(fleet: Path, method: Method, tmp_path: Path) -> None:
    """It makes a library of its own, whose version is the result's."""
    fragment = Fragment("methane", 15, response=1.3, sigma=0.01, library_response=1.4)
    calibration = Calibration(WELL, "a test", simulated=True, library_version="1", fragments=(fragment,))
    calibrated = replace(method, cube=replace(method.cube, calibration=calibration))
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / WELL).symlink_to(fleet / f"{WELL}.zarr")
    do(plan_of(tmp_path / "scans", calibrated, tmp_path / "results"), calibrated, tmp_path / "results")
    (need,) = plan_of(tmp_path / "scans", calibrated, tmp_path / "results").needs
    assert need.need is Need.NOTHING, need.reasons
    (need,) = plan_of(tmp_path / "scans", method, tmp_path / "results").needs
    assert {"another species library", "another calibration version"} <= set(need.reasons)


CHANGES: dict[str, tuple[Callable[[Method], Method], str]] = {
    "library": (lambda m: replace(m, library=SpeciesLibrary(m.library.species[:-1])), "another species library"),
    "profile": (
        lambda m: replace(m, profiles=(replace(m.profiles[0], version=99), *m.profiles[1:])),
        "other indicator profiles",
    ),
    "thresholds": (lambda m: replace(m, classifications=m.classifications[1:]), "other thresholds"),
    "cube": (lambda m: replace(m, cube=CubeSettings(step_m=1.0)), "other cube settings"),
    "recycled share": (
        lambda m: replace(m, cube=replace(m.cube, recycled=RecycledGas(share=0.3))),
        "other cube settings",
    ),
    "trap efficiency": (
        lambda m: replace(m, cube=replace(m.cube, normalisation=Normalisation(trap_efficiency=0.5))),
        "other cube settings",
    ),
    "deconvolution": (
        lambda m: replace(m, deconvolution=Deconvolution(pattern_error=0.05)),
        "other deconvolution settings",
    ),
}


def test_a_well_is_computed_once_and_every_change_is_a_reason_to_compute_it_again(
    one_well: Path, method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    (need,) = plan_of(one_well, method, results).needs
    assert (need.need, need.reasons) == (Need.COMPUTE, (NEVER_ANALYSED,))
    do(plan_of(one_well, method, results), method, results)

    # From here on no array can be read, and every object that is read is noted.
    read: list[str] = []
    plain = Objects.read

    def noted(objects: Objects, name: str) -> bytes:
        read.append(name)
        return plain(objects, name)

    monkeypatch.setattr(catalogue, "open_scans", lambda *_: pytest.fail("scans were opened to plan a night"))
    monkeypatch.setattr(Objects, "read", noted)
    (need,) = plan_of(one_well, method, results).needs
    assert (need.need, need.reasons) == (Need.NOTHING, ())
    for change, reason in CHANGES.values():
        (need,) = plan_of(one_well, change(method), results).needs
        assert (need.need, need.reasons) == (Need.COMPUTE, (reason,))
    monkeypatch.setattr("nightwell.__version__", "99.0")
    (need,) = plan_of(one_well, method, results).needs
    assert (need.need, need.reasons) == (Need.COMPUTE, ("another release of nightwell",))
    monkeypatch.undo()
    assert set(read) == {f"{WELL}.zarr/zarr.json"}

    (one_well / f"{WELL}.zarr").rename(one_well / "renamed")
    (need,) = plan_of(one_well, method, results).needs
    assert need.need is Need.NOTHING
    array = one_well / "renamed" / "scans" / "intensity"
    chunk = next(path for path in array.rglob("*") if path.is_file() and path.name != "zarr.json")
    chunk.write_bytes(chunk.read_bytes())
    (need,) = plan_of(one_well, method, results).needs
    assert (need.need, need.reasons) == (Need.COMPUTE, ("new scans",))


def test_yesterdays_method_again_makes_its_analysis_the_newest_and_computes_nothing(
    one_well: Path, method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    other = replace(method, profiles=method.profiles[:-1])
    for chosen in (method, other):
        do(plan_of(one_well, chosen, results), chosen, results)
    archive = ResultsArchive(results, WELL)
    first, second = archive.analyses()
    (need,) = plan_of(one_well, method, results).needs
    assert (need.need, need.reasons, need.known) == (Need.RESTORE, ("other indicator profiles",), first)
    monkeypatch.setattr("nightwell.wells.fleet.well_task.analyse_well", lambda *_, **__: pytest.fail("computed twice"))
    do(plan_of(one_well, method, results), method, results)
    newest = archive.find("latest")
    assert newest.fingerprint == first.fingerprint != second.fingerprint
    assert len(archive.analyses()) == 3
    assert archive.find(first.fingerprint[:8]) == newest, "the same result twice is no ambiguity"
    xr.testing.assert_identical(archive.open().load(), archive.open(first.analysis_id).load())
    assert plan_of(one_well, method, results).needs[0].need is Need.NOTHING


def test_what_cannot_be_planned_is_named_and_the_others_are_planned(
    fleet: Path, method: Method, tmp_path: Path
) -> None:
    scans = tmp_path / "scans"
    shutil.copytree(fleet, scans)
    shutil.copytree(scans / f"{WELL}.zarr", scans / "copy.zarr")
    (scans / "notes").mkdir()
    (scans / "cube").mkdir()
    (scans / "cube" / "zarr.json").write_text('{"attributes": {"contract": "nightwell cube", "well": "x"}}')
    (scans / "broken").mkdir()
    (scans / "broken" / "zarr.json").write_text("{")
    (scans / ".draft").mkdir()
    found = candidates_in(scans)
    assert found.passed_over == ("notes",)
    plan = find_stale(found.candidates, method, tmp_path / "results")
    assert [one.scans.well for one in plan.needs] == ["SIMULATED-00001", "SIMULATED-00002"]
    errors = {type(one.error): one for one in plan.failures}
    assert len(plan.failures) == 3
    assert errors[ConflictError].well == WELL
    assert "nightwell cube" in str([str(one.error) for one in plan.failures if isinstance(one.error, FormatError)])
    with pytest.raises(NotFoundError, match="raw scans of wells"):
        candidates_in(tmp_path / "gone")


def test_scans_that_change_while_they_are_read_are_refused_and_nothing_is_kept(
    one_well: Path, method: Method, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    (need,) = plan_of(one_well, method, results).needs
    # A writer comes between plan and analysis.
    shutil.rmtree(one_well / f"{WELL}.zarr" / "truth")
    outcome = analyse_one(WellJob(need, results, MEMORY_BYTES), method)
    assert outcome.ending is Ending.FAILED
    assert "changed while they were read" in outcome.error["found"]
    assert ResultsArchive(results, WELL).analyses() == ()


def test_scans_on_an_object_store_and_in_a_repository(
    fleet: Path, method: Method, moto_server: StoreLocation, tmp_path: Path
) -> None:
    place = fresh_prefix(moto_server)
    scans = open_scans(fleet / f"{WELL}.zarr").load()
    write_scans(scans, ObjectStore(s3_store(place, "one")))
    storage = icechunk.local_filesystem_storage(str(tmp_path / "scans" / "live"))
    repository = icechunk.Repository.create(storage)
    session = repository.writable_session("main")
    scans.to_zarr(session.store, zarr_format=3, consolidated=False)
    session.commit("scans")
    for where in (place, tmp_path / "scans"):
        results = tmp_path / f"results-{type(where).__name__}"
        do(plan_of(where, method, results), method, results)
        (need,) = plan_of(where, method, results).needs
        assert need.need is Need.NOTHING
    # More scans come, and the repository's newest snapshot is another.
    session = repository.writable_session("main")
    scans["scans"].to_dataset().isel(scan=slice(0, 1)).to_zarr(
        session.store, group="scans", append_dim="scan", consolidated=False
    )
    session.commit("one more scan")
    (need,) = plan_of(tmp_path / "scans", method, tmp_path / "results-PosixPath").needs
    assert (need.need, need.reasons) == (Need.COMPUTE, ("new scans",))
    first, second = (
        ResultsArchive(tmp_path / f"results-{kind}", WELL).open()["trap_gas/species"]["value"].to_numpy()
        for kind in ("StoreLocation", "PosixPath")
    )
    np.testing.assert_array_equal(first, second)
    with pytest.raises(UnreachableError):
        candidates_in(replace(moto_server, bucket="no-such-bucket"))
