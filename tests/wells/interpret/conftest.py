"""A small well analysed once, cubes without depth registration, and the real logs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from nightwell.wells.analysis import analyse_well
from nightwell.wells.composition import Zone, published_composition
from nightwell.wells.container import make_dataset
from nightwell.wells.contract import CUBE
from nightwell.wells.instrument import Instrument
from nightwell.wells.simulate import Plan, Simulation, simulate_scans
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.species_file import load_library
from nightwell.wells.spectra import simulated_instrument

MakeCube = Callable[..., xr.Dataset]


@pytest.fixture(scope="session")
def scans() -> xr.DataTree:
    """Raw scans of a simulated well of 60 m with a zone of wet gas in the middle; never changed by a test."""
    composition = published_composition(top_m=1800.0, bottom_m=1860.0, zones=(Zone(1815.0, 1845.0, "ekofisk"),))
    return simulate_scans(composition, settings=Simulation(plan=Plan(sample_every=8)))


@pytest.fixture(scope="session")
def result(scans: xr.DataTree) -> xr.DataTree:
    """The analysis of that well; never changed by a test."""
    return analyse_well(scans)


@pytest.fixture(scope="session")
def library() -> SpeciesLibrary:
    return load_library()


@pytest.fixture(scope="session")
def instrument() -> Instrument:
    return simulated_instrument()


@pytest.fixture(scope="session")
def make_cube(instrument: Instrument) -> MakeCube:
    """Return a maker of one stream of a cube from amounts, with counting noise and no depth error."""

    def make(
        library: SpeciesLibrary,
        ppm: NDArray[np.float64],
        *,
        seed: int = 1,
        scans: int = 4,
        pattern_error: float = 0.0,
        mz: NDArray[np.float64] | None = None,
    ) -> xr.Dataset:
        rng = np.random.default_rng(seed)
        axis = np.arange(1.0, 121.0) if mz is None else mz
        facts = instrument
        matrix = library.pattern_matrix(axis) * library.sensitivities * (28.0 / axis[:, None]) ** 0.5
        matrix *= 1.0 + pattern_error * rng.standard_normal(matrix.shape)
        clean = ppm @ matrix.T * (facts.nitrogen_sensitivity_a_per_ppm or 1.0)
        shot = (facts.excess_noise or 1.0) * (facts.ion_charge_c or 0.0) / (facts.dwell_s or 1.0)
        floor = (facts.noise_floor_a or 0.0) ** 2
        intensity = clean + rng.standard_normal(clean.shape) * np.sqrt((shot * clean + floor) / scans)
        variance = (shot * np.maximum(intensity, 0.0) + floor) / scans
        depths = ppm.shape[0]
        return make_dataset(
            CUBE,
            {
                "intensity": intensity,
                "variance": variance,
                "depth": 1000.0 + 0.5 * np.arange(depths),
                "mz": axis,
                "scan_count": np.full(depths, scans),
                "depth_error": np.zeros(depths),
                "flag": np.zeros(depths),
            },
            {"blank": "none"},
        )

    return make
