"""The simulated fleet: the same plan gives the same wells, each another, and all of them say what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from nightwell.errors import ConflictError, InputError
from nightwell.wells.fleet.generator import FleetPlan, simulated_fleet, simulated_well, write_fleet

PLAN = FleetPlan(3, length_m=20.0)


def test_wells_differ_and_the_same_plan_gives_the_same() -> None:
    first, second, third = simulated_fleet(PLAN)
    assert [one.attrs["well"] for one in (first, second, third)] == [f"SIMULATED-{n:05d}" for n in range(3)]
    xr.testing.assert_identical(second, simulated_well(PLAN, 1))
    assert first["scans/intensity"].sum() != second["scans/intensity"].sum() != third["scans/intensity"].sum()


def test_every_well_says_that_it_is_simulated() -> None:
    for well in simulated_fleet(PLAN):
        assert well.attrs["simulated"] == 1
        assert "Everything is simulated" in well.attrs["provenance"]


def test_what_stands_there_is_not_touched(fleet: Path) -> None:
    before = sorted(path.stat().st_mtime_ns for path in fleet.rglob("*"))
    with pytest.raises(ConflictError, match="SIMULATED-00000"):
        write_fleet(PLAN, fleet)
    assert sorted(path.stat().st_mtime_ns for path in fleet.rglob("*")) == before


@pytest.mark.parametrize(("field", "value"), [("wells", 0), ("length_m", 1.0), ("sample_every", 0), ("seed", -1)])
def test_a_plan_that_makes_no_fleet_is_refused(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"'{field}' of a simulated fleet"):
        FleetPlan(**{"wells": 1} | {field: value})  # type: ignore[arg-type]  # that is what is tried
