"""A real quadrupole scan of an argon plasma fed with ethanol: what is in it is found without being told."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from real_files import QUADRUPOLE, RealFile

from nightwell.wells.container import make_dataset
from nightwell.wells.contract import CUBE
from nightwell.wells.deconvolve import Deconvolution, make_deconvolver
from nightwell.wells.instrument import Instrument
from nightwell.wells.lack_of_fit import LackOfFit, lack_of_fit
from nightwell.wells.nnls import solve
from nightwell.wells.quadrupole import import_quadrupole
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.species_file import load_library

#: Patterns are those of a library, not of this instrument; and a peak leaks this share of itself to its neighbours.
PATTERN_ERROR, LEAK = 0.1, 0.003
QUAD = Instrument("a Pfeiffer quadrupole", transmission_exponent=0.5)
AIR = ("nitrogen", "oxygen", "water", "carbon_dioxide")


@pytest.fixture(scope="module")
def every() -> SpeciesLibrary:
    return load_library(core=False)


@pytest.fixture
def cube(real_file: RealFile) -> xr.Dataset:
    """The seven cycles; the baseline stands where no ion falls, and what leaks is the same in all of them."""
    scans = import_quadrupole(real_file(QUADRUPOLE)).scans["scans"].to_dataset()
    current, mz = scans["intensity"].to_numpy().astype(np.float64), scans["mz"].to_numpy()
    off = (mz >= 5) & (mz <= 11)
    current -= np.median(current[:, off], axis=1, keepdims=True)
    none = np.zeros((current.shape[0], 1))
    beside = np.maximum(np.append(current[:, 1:], none, axis=1), np.append(none, current[:, :-1], axis=1))
    cycles = current.shape[0]
    values = {
        "intensity": current,
        "variance": current[:, off].std() ** 2 + (LEAK * np.maximum(beside, 0.0)) ** 2,
        "depth": np.arange(float(cycles)),
        "mz": mz,
        "scan_count": np.ones(cycles),
        "depth_error": np.zeros(cycles),
        "shared_share": np.ones(cycles),
        "flag": np.zeros(cycles),
    }
    return make_dataset(CUBE, values)


def examine(cube: xr.Dataset, every: SpeciesLibrary, *names: str) -> LackOfFit:
    bound = make_deconvolver(cube, QUAD, every.select(names), Deconvolution(pattern_error=PATTERN_ERROR))
    return lack_of_fit(cube, bound, every)


def test_argon_is_the_first_that_a_library_of_air_lacks(cube: xr.Dataset, every: SpeciesLibrary) -> None:
    found = examine(cube, every, *AIR)
    assert found.missing[0].name == "argon"
    assert found.missing[0].share > 0.9
    assert found.missing[0].alternatives == ()
    assert {40, 20, 36} <= {peak.mz for peak in found.peaks}  # singly and doubly charged, and an isotope


def test_beside_air_and_argon_the_plasma_s_own_gases_and_organic_ions_are_left(
    cube: xr.Dataset, every: SpeciesLibrary
) -> None:
    """Nitric oxide and hydrogen are made in the plasma; m/z 15, 26, 43 and 45 are ions of carbon with hydrogen.

    Ethanol itself is not named, and may not be: m/z 31 stands in the tail of m/z 32, and m/z 46 is empty.
    """
    found = examine(cube, every, *AIR, "argon")
    named = [one.name for one in found.missing]
    assert named[0] == "nitric_oxide"
    assert "hydrogen" in named
    assert {15, 26, 43, 45} <= {peak.mz for peak in found.peaks if peak.sigmas > 0}
    assert {31, 46} & {peak.mz for peak in found.peaks} == set()
    assert "ethanol" not in named


def test_of_all_species_argon_is_most_and_those_of_air_and_hydrogen_are_surest(
    cube: xr.Dataset, every: SpeciesLibrary
) -> None:
    library, _ = every.covered(cube["mz"].to_numpy())
    settings = Deconvolution(pattern_error=PATTERN_ERROR, max_condition=1e9)  # m/z 1 to 50 tells few species apart
    bound = make_deconvolver(cube, QUAD, library, settings)
    mean, noise = (cube[name].mean("depth").to_numpy().astype(np.float64) for name in ("intensity", "variance"))
    found = solve(bound.design, mean[None], (noise + (PATTERN_ERROR * np.maximum(mean, 0.0)) ** 2)[None])
    sigmas = np.nan_to_num(found.value[0] / found.sigma[0])
    surest = {library.names[at] for at in np.argsort(-sigmas)[:5]}
    assert surest == {"argon", "nitrogen", "oxygen", "water", "hydrogen"}
    amounts = found.value[0]
    assert amounts[library.index("argon")] > 20 * amounts[library.index("nitrogen")]
