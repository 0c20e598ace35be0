"""Spectra to species: accuracy against what was put in, and what is said of spectra that are not whole."""

from __future__ import annotations

from collections.abc import Callable

import dask
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.contract import FLAGS
from nightwell.wells.deconvolve import BLOCK_DEPTHS, Deconvolution, SpeciesFlag, deconvolve
from nightwell.wells.instrument import Instrument
from nightwell.wells.species import SpeciesLibrary

MakeCube = Callable[..., xr.Dataset]

#: What the floors of published accuracy are quoted for [ppm].
MIXTURE = {
    "methane": 10_000.0, "ethane": 1_000.0, "propane": 500.0, "isobutane": 80.0, "n_butane": 150.0, "isopentane": 50.0,
    "n_pentane": 50.0, "benzene": 5.0, "toluene": 5.0, "acetic_acid": 5.0, "hydrogen_sulfide": 5.0,
    "nitrogen": 780_000.0, "oxygen": 209_000.0, "argon": 9_300.0, "water": 5_000.0, "carbon_dioxide": 400.0,
}  # fmt: skip
LIGHT = ("methane", "ethane", "propane", "isobutane", "n_butane", "isopentane", "n_pentane")


def amounts(library: SpeciesLibrary, depths: int, mixture: dict[str, float]) -> NDArray[np.float64]:
    ppm = np.zeros((depths, len(library.names)))
    for name, value in mixture.items():
        ppm[:, library.index(name)] = value
    return ppm


def column(found: xr.Dataset, variable: str, name: str) -> NDArray[np.float64]:
    return found[variable].sel(species=name).to_numpy().astype(np.float64)


@pytest.mark.parametrize("pattern_error", [0.0, 0.03])
def test_c1_to_c5_are_recovered_within_their_stated_errors(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube, pattern_error: float
) -> None:
    """Each depth an instrument of its own, so that pattern errors scatter as the stated sigma says."""
    settings = Deconvolution(pattern_error=max(pattern_error, 0.005))
    ppm = amounts(library, 1, MIXTURE)
    found = [
        deconvolve(make_cube(library, ppm, seed=seed, pattern_error=pattern_error), instrument, library, settings)
        for seed in range(60)
    ]
    together = xr.concat(found, dim="depth")
    for name in LIGHT:
        score = (column(together, "value", name) - MIXTURE[name]) / column(together, "sigma", name)
        relative = column(together, "value", name) / MIXTURE[name] - 1.0
        rms, spread = 100 * np.sqrt(np.mean(relative**2)), np.sqrt(np.mean(score**2))
        print(f"{name}: error {rms:.2f} % rms, {spread:.2f} stated sigmas")  # noqa: T201 - figures for `pytest -s`
        assert spread < 1.6, name
        assert np.abs(np.mean(score)) < 0.8, name
        assert np.mean(np.abs(score) < 3.0) > 0.9, name


def test_without_pattern_error_light_gas_is_within_a_few_percent(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    found = deconvolve(
        make_cube(library, amounts(library, 200, MIXTURE)), instrument, library, Deconvolution(pattern_error=0.002)
    )
    most_percent = {"methane": 0.5, "ethane": 3.0, "propane": 3.0, "isobutane": 12.0, "n_butane": 12.0}
    for name, percent in most_percent.items():
        relative = column(found, "value", name) / MIXTURE[name] - 1.0
        assert 100 * np.sqrt(np.mean(relative**2)) < percent, name
    assert 0.7 < float((found["chi2"] / found["freedom"]).median()) < 1.3


def test_an_absent_species_is_below_detection_and_its_limit_holds(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    absent = {name: ppm for name, ppm in MIXTURE.items() if name not in {"benzene", "helium"}}
    found = deconvolve(make_cube(library, amounts(library, 300, absent)), instrument, library)
    for name in ("benzene", "helium"):
        assert np.mean(column(found, "value", name) > column(found, "detection_limit", name)) < 0.05
        undetected = found["flag"].sel(species=name).to_numpy() & SpeciesFlag.BELOW_DETECTION
        assert np.mean(undetected != 0) > 0.95
        assert (column(found, "sigma", name) > 0).all()


def test_a_depth_without_a_spectrum_is_missing_and_never_zero(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    cube = make_cube(library, amounts(library, 5, MIXTURE))
    cube["intensity"][2] = np.nan
    cube["variance"][2] = np.nan
    found = deconvolve(cube, instrument, library)
    assert np.isnan(found["value"][2]).all()
    assert np.isnan(found["sigma"][2]).all()
    assert np.isnan(found["residual"][2]).all()
    assert np.isnan(found["chi2"][2])
    assert ((found["flag"][2].to_numpy() & SpeciesFlag.MISSING_INPUT) != 0).all()
    assert np.isfinite(found["value"][[0, 1, 3, 4]]).all()


def test_a_saturated_peak_is_flagged_and_minor_peaks_take_over(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    cube = make_cube(library, amounts(library, 20, MIXTURE))
    at = int(np.flatnonzero(cube["mz"].to_numpy() == 28)[0])
    cube["intensity"][:10, at] = np.nan
    cube["variance"][:10, at] = np.nan
    cube["flag"][:10] = 1 << FLAGS.index("saturated")
    found = deconvolve(cube, instrument, library)
    flag = found["flag"].sel(species="nitrogen").to_numpy()
    assert ((flag[:10] & SpeciesFlag.SATURATED) != 0).all()
    assert ((flag[10:] & SpeciesFlag.SATURATED) == 0).all()
    relative = column(found, "value", "nitrogen") / MIXTURE["nitrogen"] - 1.0
    assert np.abs(relative).max() < 0.1


def test_a_main_peak_far_below_zero_is_flagged(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    cube = make_cube(library, amounts(library, 4, MIXTURE))
    at = int(np.flatnonzero(cube["mz"].to_numpy() == 91)[0])
    cube["intensity"][1, at] = -1e-11
    flag = deconvolve(cube, instrument, library)["flag"].sel(species="toluene").to_numpy()
    assert (flag & SpeciesFlag.NEGATIVE_INPUT != 0).tolist() == [False, True, False, False]


def test_an_mz_range_that_lacks_a_species_is_refused(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    short = np.arange(1.0, 51.0)
    cube = make_cube(library, amounts(library, 2, MIXTURE), mz=short)
    with pytest.raises(InputError, match="benzene needs m/z") as raised:
        deconvolve(cube, instrument, library)
    assert "scan the missing m/z" in raised.value.next_step
    enough = library.select(["methane", "ethane", "carbon_dioxide", "nitrogen", "oxygen", "argon", "water"])
    assert np.isfinite(deconvolve(cube, instrument, enough)["value"]).all()


def test_an_unknown_sensitivity_gives_relative_amounts(library: SpeciesLibrary, make_cube: MakeCube) -> None:
    cube = make_cube(library, amounts(library, 2, MIXTURE))
    found = deconvolve(cube, Instrument("bench", transmission_exponent=0.5), library)
    assert found["value"].attrs["units"] == "relative"


def test_blocks_and_dask_change_nothing(library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube) -> None:
    depths = BLOCK_DEPTHS + 40
    ppm = amounts(library, depths, MIXTURE) * np.linspace(0.5, 1.5, depths)[:, None]
    cube = make_cube(library, ppm)
    whole = deconvolve(cube, instrument, library)
    assert whole.sizes["depth"] == depths
    with dask.config.set(scheduler="synchronous"):
        again = deconvolve(cube.chunk(depth=100), instrument, library)
    xr.testing.assert_allclose(whole, again, rtol=1e-5)
    one = deconvolve(cube.isel(depth=slice(BLOCK_DEPTHS, BLOCK_DEPTHS + 1)), instrument, library)
    assert np.allclose(one["value"][0], whole["value"][BLOCK_DEPTHS], rtol=1e-5)


def test_an_axis_with_half_masses_is_refused_and_one_with_gaps_serves_what_it_shows(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    cube = make_cube(library, amounts(library, 3, MIXTURE))
    halves = cube.assign_coords(mz=cube["mz"].to_numpy() + 0.5 * (cube["mz"].to_numpy() == 28))
    with pytest.raises(InputError, match=r"m/z 28\.5"):
        deconvolve(halves, instrument, library)
    gaps = cube.isel(mz=np.flatnonzero(~np.isin(cube["mz"], [28, 32])))
    with pytest.raises(InputError, match="nitrogen needs m/z 28"):
        deconvolve(gaps, instrument, library)
    enough, lost = library.covered(gaps["mz"].to_numpy())
    assert {"nitrogen", "oxygen"} <= set(lost)
    found = deconvolve(gaps, instrument, enough)
    assert column(found, "value", "hydrogen_sulfide").shape == (3,)


def test_amounts_that_take_the_peaks_of_a_species_the_library_lacks_are_flagged(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    """Without nitrogen and oxygen, methane takes m/z 14 and 16 of the air: a wrong number, and it says so."""
    cube = make_cube(library, amounts(library, 20, MIXTURE))
    whole = deconvolve(cube, instrument, library)
    short = deconvolve(cube, instrument, library.without(["nitrogen", "oxygen"]))
    assert (column(short, "value", "methane") > 2 * MIXTURE["methane"]).all()
    flags = {
        name: found["flag"].sel(species="methane").to_numpy() for name, found in (("all", whole), ("short", short))
    }
    assert ((flags["short"] & SpeciesFlag.UNEXPLAINED) != 0).all()
    assert ((flags["all"] & SpeciesFlag.UNEXPLAINED) == 0).all()
    assert np.mean((whole["flag"].to_numpy() & SpeciesFlag.UNEXPLAINED) != 0) < 0.001


def test_spectra_below_zero_give_nothing_and_say_so(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    cube = make_cube(library, amounts(library, 3, MIXTURE))
    cube["intensity"][1] = -np.abs(cube["intensity"][1])
    found = deconvolve(cube, instrument, library)
    flag = found["flag"][1].to_numpy()
    assert ((flag & SpeciesFlag.BELOW_DETECTION) != 0).all()
    assert (flag[library.index("methane")] & SpeciesFlag.NEGATIVE_INPUT) != 0
    assert (found["value"][1] >= 0.0).all()
    assert float(found["chi2"][1]) > 100 * float(found["freedom"][1])


def test_a_library_that_cannot_be_solved_is_refused_by_its_most_alike_species(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    cube = make_cube(library, amounts(library, 2, MIXTURE))
    twice = library.with_pattern("n_butane", dict(library.species[library.index("isobutane")].peaks), source="a copy")
    with pytest.raises(InputError, match="isobutane and n_butane") as raised:
        deconvolve(cube, instrument, twice)
    assert "condition number" in raised.value.expected
