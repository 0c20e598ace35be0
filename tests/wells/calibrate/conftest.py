"""A well with every fault planted that a calibration is for, its standards named, and the real quadrupole scan."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import xarray as xr

from nightwell.wells.calibrate.calibration import Calibration
from nightwell.wells.calibrate.learn import CalibrationSettings, calibrate
from nightwell.wells.composition import Zone, published_composition
from nightwell.wells.simulate import Plan, Simulation, simulate_scans
from nightwell.wells.spectra import Imperfections

DEAD_TIME_S = 2e-10
FAULTS = Imperfections(
    drift=0.05,
    tilt_drift=0.03,
    dead_time_s=DEAD_TIME_S,
    pattern_error=0.1,
    sensitivity_error=0.1,
    memory=(
        ("water", 1.0, 20.0),
        ("methane", 1.0, 8.0),
        ("benzene", 1.0, 20.0),
        ("toluene", 1.0, 20.0),
        ("acetic_acid", 1.0, 30.0),
    ),
)

MakeScans = Callable[..., xr.DataTree]


def make_scans_of_zone(faults: Imperfections = FAULTS, *, names_standards: bool = True, seed: int = 1) -> xr.DataTree:
    composition = published_composition(top_m=1800.0, bottom_m=1860.0, zones=(Zone(1815.0, 1845.0, "ekofisk"),))
    plan = Plan(sample_every=8, standard_every_s=3000.0, blank_every_s=1200.0)
    settings = Simulation(seed=seed, plan=plan, imperfections=faults, names_standards=names_standards)
    return simulate_scans(composition, settings=settings)


@pytest.fixture(scope="session")
def make_faulty() -> MakeScans:
    """Return a maker of small wells with planted faults."""
    return make_scans_of_zone


@pytest.fixture(scope="session")
def faulty() -> xr.DataTree:
    """A well of 60 m with a zone of wet gas and all faults; never changed by a test."""
    return make_scans_of_zone()


@pytest.fixture(scope="session")
def calibration(faulty: xr.DataTree) -> Calibration:
    return calibrate(faulty, settings=CalibrationSettings(dead_time_s=DEAD_TIME_S))
