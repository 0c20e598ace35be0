"""Two analyses of a well, and two nights: what changed, by how much against the errors, and where."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from nightwell.errors import InputError, NotFoundError
from nightwell.wells.archive import ResultsArchive
from nightwell.wells.fleet.catalogue import candidates_in
from nightwell.wells.fleet.difference import difference, difference_of_analyses
from nightwell.wells.fleet.find_stale import Need, find_stale
from nightwell.wells.fleet.night import Night
from nightwell.wells.fleet.night_difference import difference_of_nights
from nightwell.wells.fleet.well_task import Ending, WellJob, WellOutcome, analyse_one, outcome_of
from nightwell.wells.method import Method


@pytest.fixture
def changed(analysed: xr.DataTree) -> xr.DataTree:
    """Return a copy whose tests may change it."""
    return analysed.copy(deep=True)


def test_an_analysis_does_not_differ_from_itself(analysed: xr.DataTree) -> None:
    same = difference(analysed, analysed.copy(deep=True))
    assert same.empty
    assert same.curves_compared > 100
    assert same.versions == ()


def test_changes_are_measured_against_the_errors(analysed: xr.DataTree, changed: xr.DataTree) -> None:
    species = changed["trap_gas/species"]
    names = species["species"].to_numpy().tolist()
    methane, ethane = names.index("methane"), names.index("ethane")
    sigma = analysed["trap_gas/species"]["sigma"].to_numpy()
    value = species["value"].to_numpy()
    value[3, methane] += 5.0 * sigma[3, methane]
    value[4, methane] += 0.5 * sigma[4, methane]
    value[20:22, ethane] = np.nan
    changed.attrs["library_version"] = "another"
    found = difference(analysed, changed)
    first = found.curves[0]
    assert (first.stream, first.kind, first.name, first.units) == ("trap_gas", "species", "methane", "ppm")
    assert first.max_sigmas == pytest.approx(5.0, rel=1e-3)
    assert first.max_abs == pytest.approx(5.0 * sigma[3, methane], rel=1e-3)
    assert first.max_at_m == analysed["trap_gas/species"]["depth"].to_numpy()[3]
    assert first.beyond_sigma == 1
    expected = np.sqrt((25.0 * sigma[3, methane] ** 2 + 0.25 * sigma[4, methane] ** 2) / first.depths)
    assert first.rms == pytest.approx(expected, rel=1e-3)
    second = next(one for one in found.curves if one.name == "ethane" and one.kind == "species")
    assert (second.vanished, second.appeared, second.max_abs) == (2, 0, 0.0)
    assert found.beyond_sigma == (first,)
    assert [(one.name, one.after) for one in found.versions] == [("library_version", "another")]


def test_zones_that_changed_class_are_named(analysed: xr.DataTree, changed: xr.DataTree) -> None:
    group = changed["trap_gas/interpretation"]
    name = next(str(one) for one in group.data_vars if "flag_masks" in group[str(one)].attrs)
    words = str(group[name].attrs["flag_meanings"]).split()
    codes, depth = group[name].to_numpy(), group["depth"].to_numpy()
    analysed = analysed.copy(deep=True)
    analysed["trap_gas/interpretation"][name].to_numpy()[:] = 1
    codes[:] = 1
    codes[5:9] = 2
    codes[12] = 0
    first, second = difference(analysed, changed).classes
    assert (first.classification, first.top_m, first.bottom_m, first.depths) == (name, depth[5], depth[8], 4)
    assert (first.before, first.after) == (words[0], words[1])
    assert (second.top_m, second.bottom_m, second.after) == (depth[12], depth[12], "none")


def test_depths_and_curves_of_one_alone_are_counted(analysed: xr.DataTree) -> None:
    groups = {
        node.path: node.to_dataset(inherit=False).isel(depth=slice(3, None))
        if "depth" in node.to_dataset(inherit=False).dims
        else node.to_dataset(inherit=False)
        for node in analysed.subtree
    }
    shorter = xr.DataTree.from_dict(groups)
    shorter["trap_gas/species"] = xr.DataTree(shorter["trap_gas/species"].to_dataset().isel(species=slice(1, None)))
    found = difference(analysed, shorter)
    assert found.depths_before == 3 * sum(f"/{s}/species" in groups for s in analysed.children if s != "drilling")
    assert found.depths_after == 0
    assert found.only_before == (f"trap_gas/{analysed['trap_gas/species']['species'].to_numpy()[0]}",)
    assert found.curves == ()


def test_two_wells_are_no_two_analyses(analysed: xr.DataTree, changed: xr.DataTree) -> None:
    changed.attrs["well"] = "another"
    with pytest.raises(InputError, match="two wells"):
        difference(analysed, changed)


def test_two_nights_are_compared_well_by_well(fleet: Path, method: Method, tmp_path: Path) -> None:
    def night(name: str, chosen: Method, wells: slice, failing: str = "") -> Night:
        needs = find_stale(candidates_in(fleet).candidates, chosen, tmp_path).needs[wells]
        outcomes: list[WellOutcome] = []
        for need in needs:
            if need.scans.well == failing:
                failed = analyse_one(WellJob(replace(need, need=Need.COMPUTE), tmp_path, 1), chosen)
                outcomes.append(failed)
            elif need.known is not None:
                outcomes.append(outcome_of(need, need.known, Ending.CURRENT))
            else:
                outcomes.append(analyse_one(WellJob(need, tmp_path, 1 << 30), chosen))
        began = datetime.now(UTC)
        versions = {"profiles_version": str(chosen.as_attributes()["profiles_version"])}
        return Night(name, began, began, versions, tuple(outcomes), ())

    other = replace(method, profiles=method.profiles[:-1])
    first = night("one", method, slice(0, 2))
    second = night("two", other, slice(0, 1))
    third = night("three", other, slice(0, 3), failing="SIMULATED-00001")
    found = difference_of_nights(first, second, tmp_path)
    assert (found.unchanged, found.only_before) == (0, ("SIMULATED-00001",))
    assert [one.name for one in found.versions] == ["profiles_version"]
    (well,) = found.changed
    assert well.difference is not None
    assert {one.rpartition("/")[2] for one in well.difference.only_before} == {method.profiles[-1].name}
    assert not well.difference.curves
    assert [one.name for one in well.versions] == ["profiles_version"]
    found = difference_of_nights(first, third, tmp_path)
    assert found.newly_failed == ("SIMULATED-00001",)
    assert found.only_after == ("SIMULATED-00002",)
    (failed,) = (one.problem for one in found.changed if one.problem)
    assert "scans of 120 m/z" in failed
    again = difference_of_nights(third, third, tmp_path)
    assert (again.unchanged, again.changed) == (3, ())
    archive = ResultsArchive(tmp_path, "SIMULATED-00000")
    assert difference_of_analyses(archive, "latest").empty
    with pytest.raises(NotFoundError):
        difference_of_analyses(archive, "nosuch")
