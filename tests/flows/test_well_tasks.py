"""What the tasks of a re-analysis make beside the analysis belongs to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nightwell.wells.analysis import analyse_well
from nightwell.wells.container import open_cube
from nightwell.wells.cube import CubeSettings
from nightwell.wells.fleet.generator import FleetPlan, simulated_well
from nightwell.wells.method import Method
from nightwell.wells.recycled import RecycledGas
from tasks.wells import build_cubes


def test_the_cubes_that_are_written_are_those_of_the_analysis(tmp_path: Path) -> None:
    scans = simulated_well(FleetPlan(1, length_m=25.0, sample_every=25), 0)
    method = Method.default(cube=CubeSettings(step_m=1.0, recycled=RecycledGas(0.3)))
    cube = open_cube(build_cubes.fn(scans, tmp_path / "cube.zarr", method))["trap_gas"]
    result = analyse_well(scans, method=method)
    np.testing.assert_array_equal(cube["depth"], result["trap_gas/species"]["depth"])
    assert cube.attrs["recycled"] == result["trap_gas"].attrs["recycled"]
