"""A small well analysed once: simulated, with every stream, and the real logs."""

from __future__ import annotations

import pytest
import xarray as xr

from nightwell.wells.analysis import analyse_well
from nightwell.wells.composition import Zone, published_composition
from nightwell.wells.cube import build_cube
from nightwell.wells.simulate import Plan, Simulation, simulate_scans
from nightwell.wells.spectra import Imperfections


@pytest.fixture(scope="session")
def scans() -> xr.DataTree:
    """Scans of a simulated well of 60 m with a zone of wet gas in the middle; never changed by a test."""
    composition = published_composition(top_m=1800.0, bottom_m=1860.0, zones=(Zone(1815.0, 1845.0, "ekofisk"),))
    return simulate_scans(composition, settings=Simulation(plan=Plan(sample_every=8)))


@pytest.fixture(scope="session")
def calibrated_scans() -> xr.DataTree:
    """Scans of a shorter well that name their standards, of an instrument whose patterns are not the library's."""
    composition = published_composition(top_m=1800.0, bottom_m=1830.0, zones=(Zone(1810.0, 1822.0, "ekofisk"),))
    settings = Simulation(
        plan=Plan(sample_every=8), imperfections=Imperfections(pattern_error=0.05), names_standards=True
    )
    return simulate_scans(composition, settings=settings)


@pytest.fixture(scope="session")
def cube(scans: xr.DataTree) -> xr.DataTree:
    """The cubes of that well; never changed by a test."""
    return build_cube(scans)


@pytest.fixture(scope="session")
def result(scans: xr.DataTree) -> xr.DataTree:
    """The analysis of that well; never changed by a test."""
    return analyse_well(scans)
