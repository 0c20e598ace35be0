"""Normalised gas: the published formulas, and what drilling can no longer change."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from nightwell.errors import InputError
from nightwell.wells.analysis import analyse_well
from nightwell.wells.composition import published_composition
from nightwell.wells.cube import CubeSettings
from nightwell.wells.method import Method
from nightwell.wells.normalise import Normalisation, c1n, gas_factor, normalised_dataset
from nightwell.wells.simulate import Plan, Simulation, simulate_scans

GALLON_MINUTE = 3.785411784e-3 / 60
FOOT, INCH = 0.3048, 0.0254


def one(value: float) -> np.ndarray:
    return np.array([value])


def test_c1n_is_the_published_formula_in_its_own_units() -> None:
    found = c1n(one(2500.0), one(50 * FOOT), one(600 * GALLON_MINUTE), one(12.25 * INCH))
    assert found[0] == pytest.approx(11.6 * 2500 * 600 / (50 * 12.25**2))


def test_gas_factor_is_the_published_formula() -> None:
    factor = gas_factor(one(40.0), one(0.05), one(0.3), reference=(20.0, 0.04, 0.2))
    assert factor[0] == pytest.approx((20 / 40) * (0.2 / 0.3) ** 2 * (0.05 / 0.04))


def test_the_same_rock_gives_the_same_gas_however_it_is_drilled() -> None:
    """Gas in the mud is rock cut a second, over mud pumped a second."""
    rop, flow, hole = (np.array(row) for row in ([10.0, 30, 60], [0.03, 0.05, 0.06], [0.2, 0.3, 0.3]))
    gas = 7e4 * rop * hole**2 / flow
    assert np.ptp(gas * gas_factor(rop, flow, hole, reference=(20.0, 0.05, 0.3))) < 1e-6 * gas.max()
    assert np.ptp(c1n(gas, rop, flow, hole)) < 1e-6 * gas.max()


@pytest.mark.parametrize(
    ("rop", "flow", "hole"), [(0.0, 0.05, 0.3), (0.01, 0.05, 0.3), (20.0, 0.0, 0.3), (20.0, 0.05, np.nan)]
)
def test_what_was_not_drilled_is_missing_and_never_infinite(rop: float, flow: float, hole: float) -> None:
    assert np.isnan(c1n(one(100.0), one(rop), one(flow), one(hole))[0])
    assert np.isnan(gas_factor(one(rop), one(flow), one(hole), reference=(1.0, 1.0, 1.0))[0])


def made() -> tuple[xr.Dataset, xr.Dataset]:
    depth = np.arange(4.0)
    coords = {"depth": depth, "species": np.array(["methane", "propane"], dtype=object)}
    value = np.array([[100.0, 10.0], [200, 20], [np.nan, 30], [400, 40]])
    dims = ("depth", "species")
    species = xr.Dataset({"value": (dims, value, {"units": "ppm"}), "sigma": (dims, 0.1 * value)}, coords=coords)
    names = {"rop": [10.0, 20, 20, 0], "flow": [0.05] * 4, "hole_diameter": [0.3] * 4}
    return species, xr.Dataset(
        {name: ("depth", np.array(rows)) for name, rows in names.items()}, coords={"depth": depth}
    )


def test_amounts_sigmas_and_trap_efficiency() -> None:
    species, drilling = made()
    settings = Normalisation(trap_efficiency=0.8, efficiencies=(("propane", 0.4),))
    found = normalised_dataset(species, drilling, settings)
    assert found is not None
    np.testing.assert_allclose(found.value, np.array([[250, 50], [250, 50], [np.nan, 75], [np.nan, np.nan]]))
    np.testing.assert_allclose(found.sigma, 0.1 * found.value, rtol=1e-6)
    assert (found.attrs["rop_ref_m_h"], found.attrs["trap_efficiency"]) == (20.0, 0.8)  # median of the drilled rows
    assert found.value.attrs["units"] == "ppm"
    np.testing.assert_allclose(found.c1n[1], c1n(one(200.0), one(20.0), one(0.05), one(0.3))[0], rtol=1e-6)


def test_a_well_that_never_drilled_has_no_normalised_gas() -> None:
    species, drilling = made()
    drilling["rop"] = drilling.rop * 0
    assert normalised_dataset(species, drilling, Normalisation()) is None


@pytest.mark.parametrize(
    "wrong", [Normalisation, lambda trap_efficiency: Normalisation(efficiencies=(("c", trap_efficiency),))]
)
@pytest.mark.parametrize("efficiency", [80.0, 0.0, -1.0])
def test_an_efficiency_in_percent_is_refused(wrong: type[Normalisation], efficiency: float) -> None:
    with pytest.raises(InputError, match="up to 1"):
        wrong(trap_efficiency=efficiency)


def test_an_analysis_carries_normalised_gas_of_the_trap() -> None:
    composition = published_composition(top_m=1800.0, bottom_m=1830.0)
    scans = simulate_scans(composition, settings=Simulation(plan=Plan(sample_every=8)))
    cube = CubeSettings(normalisation=Normalisation(rop_m_h=10.0, trap_efficiency=0.5))
    result = analyse_well(scans, method=Method.default(cube=cube))
    plain, found = result["trap_gas/species"].to_dataset(), result["trap_gas/normalised"].to_dataset()
    known = ~np.isnan(found.factor.to_numpy()) & ~np.isnan(plain.value.sel(species="methane").to_numpy())
    assert known.sum() > 20
    ratio = (found.value / plain.value).sel(species="methane").to_numpy()[known]
    rop = result["drilling"].rop.to_numpy()[known]
    np.testing.assert_allclose(ratio, 10.0 / rop / 0.5, rtol=1e-4)  # flow and hole are constant in this well
    assert "trap_efficiency=0.5" in result.attrs["cube_settings"]
