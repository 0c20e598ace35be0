"""Drawing anew: agrees with the covariance where that is right, covers the truth, and repeats itself."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import dask
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.analysis import analyse_well
from nightwell.wells.deconvolve import ANALYSIS_MEMORY_BYTES, BLOCK_DEPTHS, Deconvolution, deconvolve, make_deconvolver
from nightwell.wells.instrument import Instrument
from nightwell.wells.method import Method
from nightwell.wells.monte_carlo import MonteCarlo, scatter_of
from nightwell.wells.nnls import solve
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.species_file import load_library

MakeCube = Callable[..., xr.Dataset]
Floats = NDArray[np.float64]


def test_far_from_the_bound_it_is_the_covariance() -> None:
    """With one species at each m/z the variance model is exact, so both must say the same."""
    rng = np.random.default_rng(1)
    design = np.kron(np.eye(4), np.array([[1.0], [0.6], [0.3]]))
    truth = np.array([[900.0, 50.0, 400.0, 80.0]])
    clean = truth @ design.T
    counting, error = 0.2 * clean + 1.0, 0.03
    weighed = counting + (error * clean) ** 2
    found = solve(design, clean + rng.standard_normal(clean.shape) * np.sqrt(counting), weighed)
    drawn = scatter_of(design, found.value, weighed, counting, error, MonteCarlo(4000), keys=np.array([1.0]))
    assert drawn.sigma == pytest.approx(found.sigma, rel=0.05)
    assert (drawn.high - drawn.low) / 2 == pytest.approx(found.sigma, rel=0.07)


def test_pattern_error_is_drawn_and_not_only_counts() -> None:
    design = np.array([[1.0], [0.5]])
    value, counting = np.array([[1000.0]]), np.full((1, 2), 1e-6)
    drawn = scatter_of(design, value, np.ones((1, 2)), counting, 0.05, MonteCarlo(2000), keys=np.zeros(1))
    weights = design[:, 0] ** 2 / (design[:, 0] ** 2).sum()
    assert drawn.sigma[0, 0] == pytest.approx(1000.0 * 0.05 * np.sqrt((weights**2).sum()), rel=0.06)


def test_equal_seeds_repeat_whatever_the_blocks(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    ppm = np.full((40, len(library.names)), 50.0)
    cube = make_cube(library, ppm)
    settings = Deconvolution(monte_carlo=MonteCarlo(draws=20, seed=7))
    whole = deconvolve(cube, instrument, library, settings)
    part = deconvolve(cube.isel(depth=slice(33, 36)), instrument, library, settings)
    assert np.allclose(part["sigma"], whole["sigma"][33:36], rtol=1e-5)
    other = deconvolve(cube, instrument, library, Deconvolution(monte_carlo=MonteCarlo(draws=20, seed=8)))
    assert not np.allclose(other["sigma"], whole["sigma"], rtol=1e-3)
    assert (whole["low"] <= whole["high"]).all()
    assert (whole["sigma"] > 0).all()
    assert settings.version != Deconvolution().version


def test_a_well_is_analysed_with_it(scans: xr.DataTree, result: xr.DataTree) -> None:
    few = load_library().select(["methane", "ethane", "carbon_dioxide", "nitrogen", "oxygen", "argon", "water"])
    method = Method.default(few, [], [], deconvolution=Deconvolution(monte_carlo=MonteCarlo(draws=16)))
    found = analyse_well(scans, method=method)
    species = found["trap_gas/species"]
    assert {"low", "high"} <= set(species.data_vars)
    assert "low" not in result["trap_gas/species"].data_vars
    assert "draws=16" in str(found.attrs["deconvolution_settings"])


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(InputError, match="at least 16 draws"):
        MonteCarlo(draws=3)


def test_memory_stays_declared_at_200_mz_and_48_species_with_200_draws(
    instrument: Instrument, make_cube: MakeCube
) -> None:
    library = load_library(core=False).select(load_library(core=False).names[:48])
    cube = make_cube(library, np.full((BLOCK_DEPTHS + 8, 48), 20.0), mz=np.arange(1.0, 201.0))
    settings = Deconvolution(max_condition=1e6, monte_carlo=MonteCarlo(draws=200))
    bound = make_deconvolver(cube, instrument, library, settings)
    few = cube.isel(depth=slice(0, 2))
    bound.solve(few, with_covariance=True)  # what is compiled does not count
    tracemalloc.start()
    try:
        with dask.config.set(scheduler="threads", num_workers=2):
            found = deconvolve(cube.isel(depth=slice(0, 70)), instrument, library, settings)
        _, drawn = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        plain = make_deconvolver(cube, instrument, library, Deconvolution(max_condition=1e6))
        kept = plain.solve(cube.isel(depth=slice(0, BLOCK_DEPTHS)), with_covariance=True)
        _, block = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"draws {drawn / 2**20:.0f} MiB, block {block / 2**20:.0f} MiB")  # noqa: T201 - figures for `pytest -s`
    assert found.sizes["species"] == kept.value.shape[1] == 48
    assert kept.covariance.nbytes < block
    assert 2 * (drawn + block) < ANALYSIS_MEMORY_BYTES  # as if both threads were at their peak at once
