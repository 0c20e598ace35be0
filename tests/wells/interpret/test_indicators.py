"""Indicators of tables: sigma with and without covariance, detection, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from nightwell.wells.indicators import Curve, Curves, IndicatorFlag, applicable, evaluate, indicator_dataset
from nightwell.wells.profiles import Inputs, load_profiles, newest

PROFILES = newest(load_profiles())


def curve(value: list[float], sigma: float, *, detected: list[bool] | None = None) -> Curve:
    known = np.array(value)
    seen = np.ones(known.size, dtype=bool) if detected is None else np.array(detected)
    return Curve(known, np.full(known.size, sigma), seen)


def test_sigma_of_a_ratio_is_that_of_many_draws() -> None:
    rng = np.random.default_rng(1)
    covariance = np.array([[1.0, -0.7], [-0.7, 1.0]])
    draws = rng.multivariate_normal([100.0, 50.0], covariance, size=200_000)
    expected = (draws[:, 0] / draws[:, 1]).std()
    curves = {"isobutane": curve([100.0], 1.0), "n_butane": curve([50.0], 1.0)}
    inputs = Curves(curves, covariance[None], ("isobutane", "n_butane"))
    assert evaluate(PROFILES["butane_isomers"], inputs).sigma[0] == pytest.approx(expected, rel=0.02)
    independent = evaluate(PROFILES["butane_isomers"], Curves(curves)).sigma[0]
    assert independent == pytest.approx(np.hypot(1 / 50, 100 / 50**2), rel=1e-9)
    assert independent < expected  # butanes are confused with each other: leaving that out would flatter the ratio


def test_undetected_denominators_numerators_and_missing_inputs_are_told_apart() -> None:
    benzene = curve([5.0, 5.0, 0.01, np.nan], 0.1, detected=[True, True, False, False])
    toluene = curve([2.0, 0.01, 2.0, 2.0], 0.1, detected=[True, False, True, True])
    found = evaluate(PROFILES["benzene_toluene"], Curves({"benzene": benzene, "toluene": toluene}))
    assert found.value == pytest.approx([2.5, np.nan, 0.005, np.nan], nan_ok=True)
    assert found.flag.tolist() == [
        0,
        IndicatorFlag.NOT_DETECTED,
        IndicatorFlag.BELOW_DETECTION,
        IndicatorFlag.MISSING_INPUT,
    ]
    assert np.isnan(found.sigma[[1, 3]]).all()


def test_all_missing_is_missing_and_never_zero() -> None:
    nothing = {name: curve([np.nan], 0.1) for name in ("hydrogen_sulfide", "sulfur_dioxide", "thiophene")}
    found = evaluate(PROFILES["sulphur_species"], Curves(nothing))
    assert np.isnan(found.value).all()
    assert found.flag[0] == IndicatorFlag.MISSING_INPUT
    some = nothing | {"thiophene": curve([3.0], 0.1)}
    assert evaluate(PROFILES["sulphur_species"], Curves(some)).value == pytest.approx([3.0])


def test_a_log_without_errors_has_no_sigma() -> None:
    curves = {"methane": Curve.of_log(np.array([800.0, 0.0])), "ethane": Curve.of_log(np.array([100.0, 0.0]))}
    found = evaluate(PROFILES["pixler_c1_c2"], Curves(curves))
    assert found.value == pytest.approx([8.0, np.nan], nan_ok=True)
    assert np.isnan(found.sigma).all()
    assert found.flag[1] == IndicatorFlag.NOT_DETECTED


def test_profiles_without_their_inputs_are_named_and_left_out() -> None:
    curves = Curves({"methane": curve([800.0], 1.0), "ethane": curve([100.0], 1.0)})
    assert applicable(PROFILES["total_gas"], curves.curves)  # a total takes what there is
    found = indicator_dataset(PROFILES.values(), {Inputs.SPECIES: curves}, np.array([1000.0]))
    assert found["indicator"].to_numpy().tolist() == ["total_gas", "pixler_c1_c2", "drill_bit_metamorphism"][:2]
    assert "haworth_wetness@1" in found.attrs["not_computed"]
    assert "paraffin_naphthene_57_55@1" in found.attrs["not_computed"]
