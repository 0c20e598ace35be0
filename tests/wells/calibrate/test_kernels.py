"""The kernels of calibration on plain arrays: each finds what was planted, and refuses what it cannot know."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.calibrate.dead_time import DeadTime, fit_dead_time, restore_lost
from nightwell.wells.calibrate.drift import Drift, fit_drift
from nightwell.wells.calibrate.fragments import Observation, learn_responses
from nightwell.wells.calibrate.internal_standard import air_fraction
from nightwell.wells.calibrate.mass_scale import check_bars, find_shift, heights
from nightwell.wells.calibrate.saturation import fallback_peaks
from nightwell.wells.carry_over import Steps, fit_carry_over, fit_decay, remove_carry_over
from nightwell.wells.species_file import load_library

Floats = NDArray[np.float64]


def test_dead_time_gives_back_what_arrived_and_refuses_what_is_half_gone() -> None:
    arriving = np.array([[1e-9, 1e-7, 1e-6, 5e-6]])
    loss = 3e5
    seen = arriving / (1.0 + loss * arriving)
    restored, variance = restore_lost(seen, DeadTime(loss, 3e3))
    np.testing.assert_allclose(restored[0, :3], arriving[0, :3])
    assert np.isnan(restored[0, 3])
    np.testing.assert_allclose(np.sqrt(variance[0, 2]), 3e3 * arriving[0, 2] ** 2)


def isotopes(loss: float, low: float, *, rng: np.random.Generator) -> tuple[Floats, Floats, Floats, Floats]:
    arriving = np.concatenate([np.full(40, 7e-7), np.full(40, low)])
    pair = np.stack([arriving, 0.0073 * arriving])
    seen = pair / (1.0 + loss * pair)
    variance = 1e-14 * seen
    seen = seen + rng.standard_normal(seen.shape) * np.sqrt(variance)
    big, small = np.asarray(seen, dtype=np.float64)
    return big, small, variance[0], variance[1]


def test_dead_time_is_fitted_from_isotopes_and_only_with_range() -> None:
    rng = np.random.default_rng(4)
    found = fit_dead_time({(28, 29): isotopes(1.2e5, 7e-10, rng=rng)})
    assert abs(found.loss_per_a - 1.2e5) < 3.0 * found.sigma_per_a
    assert found.sigma_per_a < 0.2 * 1.2e5
    assert fit_dead_time({(28, 29): isotopes(0.0, 7e-10, rng=rng)}).source.startswith("none seen")
    assert "enough range" in fit_dead_time({(28, 29): isotopes(1.2e5, 6e-7, rng=rng)}).source


def test_carry_over_is_learned_from_steps_and_two_terms_need_several_purges() -> None:
    rng = np.random.default_rng(2)
    purge_s = np.repeat([5.0, 10.0, 20.0, 40.0, 80.0, 160.0], 40)
    mu = 0.3 * np.exp(-purge_s / 6.0) + 0.05 * np.exp(-purge_s / 200.0)
    before = rng.uniform(100.0, 1000.0, purge_s.size)
    after = (1.0 - mu) * 10.0 + mu * before + 0.05 * rng.standard_normal(purge_s.size)
    clean = 10.0 + 0.05 * rng.standard_normal(purge_s.size)
    found = fit_carry_over(
        ("acetic_acid", "nitrogen"), steps_of(np.stack([before, before]), np.stack([after, clean]), 0.05, purge_s)
    )
    assert found.species == ("acetic_acid",)
    np.testing.assert_allclose(found.amplitude[0], (0.3, 0.05), rtol=0.05)
    np.testing.assert_allclose(found.tau_s[0], (6.0, 200.0), rtol=0.1)
    amplitude, tau_s = fit_decay(np.array([30.0]), np.array([0.25]), np.array([0.01]))
    assert amplitude == (1.0,)
    assert tau_s[0] == pytest.approx(30.0 / np.log(4.0))


def steps_of(before: Floats, after: Floats, sigma: float, purge_s: Floats) -> Steps:
    """Return steps of one group; ``before`` and ``after`` are (species, step)."""
    variance = np.full(after.T.shape, sigma**2)
    return Steps(before.T, after.T, variance, variance, purge_s, np.zeros(purge_s.size, dtype=np.intp))


def test_neither_drift_nor_noise_is_taken_for_carry_over() -> None:
    rng = np.random.default_rng(6)
    size, mu, sigma = 400, 0.3, 1.0
    gain = 1.0 + 0.05 * np.sin(np.arange(size) / 60.0)
    nitrogen = np.stack([gain * rng.uniform(700.0, 780.0, size), gain * 780.0])  # blanks of air, scans nearly so
    nothing = np.zeros((2, size))
    faint = rng.uniform(0.0, 14.0, size)  # some three times the noise of a step
    carried = np.stack([faint, mu * faint])
    before, after = np.stack([nitrogen, nothing, carried], axis=1) + sigma * rng.standard_normal((2, 3, size))
    found = fit_carry_over(("nitrogen", "octane", "toluene"), steps_of(before, after, sigma, np.full(size, 20.0)))
    assert found.species == ("toluene",)
    share, share_sigma = found.shares(np.array([20.0]))
    assert abs(share[0, 0] - mu) < 3.0 * share_sigma[0, 0] < 0.15


def test_carry_over_is_removed_with_its_variance_and_flagged() -> None:
    rng = np.random.default_rng(3)
    size, mu, mu_sigma, sigma = 4000, 0.2, 0.01, 0.5
    estimator, signature = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]])
    clean, previous = np.array([50.0, 7.0]), np.array([90.0, 7.0])
    before = previous + sigma * rng.standard_normal((size, 2))
    true_mu = mu + mu_sigma * rng.standard_normal((size, 1))
    share = np.hstack([true_mu, np.zeros((size, 1))])
    seen = (1.0 - share) * clean + share * previous + sigma * rng.standard_normal((size, 2))
    flat = np.full((size, 2), sigma**2)
    shares = (np.full((size, 1), mu), np.full((size, 1), mu_sigma))
    found = remove_carry_over(seen, flat, before, flat, shares, (estimator, signature))
    assert found.current.mean(axis=0) == pytest.approx(clean, abs=0.05)
    stated = np.sqrt((found.variance + found.shared).mean(axis=0))
    np.testing.assert_allclose(found.current.std(axis=0), stated, rtol=0.05)
    assert found.flagged[:, 0].all()
    assert not found.flagged[:, 1].any()
    unknown = remove_carry_over(seen[:1], flat[:1], before[:1] * np.nan, flat[:1], (shares[0][:1], shares[1][:1]),
                                (estimator, signature))  # fmt: skip
    np.testing.assert_array_equal(unknown.current, seen[:1])
    assert unknown.flagged[0].tolist() == [True, False]


def test_drift_follows_gain_and_tilt_and_doubts_what_no_standard_brackets() -> None:
    rng = np.random.default_rng(5)
    mz, time_s = np.array([4.0, 15.0, 28.0, 44.0, 58.0]), np.arange(6) * 3600.0
    gain, tilt = 0.05 * rng.standard_normal(6), 0.03 * rng.standard_normal(6)
    signal: Floats = 1e-8 * np.exp(gain[:, None] + tilt[:, None] * np.log(mz / 28.0))
    variance: Floats = (1e-3 * signal) ** 2
    times: Floats = np.asarray(time_s, dtype=np.float64)
    found = fit_drift(times, mz, signal * (1.0 + 1e-3 * rng.standard_normal(signal.shape)), variance)
    steps = np.diff(np.array(found.gain))
    np.testing.assert_allclose(steps, np.diff(gain), atol=4e-3)
    np.testing.assert_allclose(np.diff(np.array(found.tilt)), np.diff(tilt), atol=4e-3)
    _, uncertain = found.at(np.array([3600.0, 5400.0, 30 * 3600.0]), mz)
    assert (uncertain[0] < uncertain[1]).all()
    assert (uncertain[1] < uncertain[2]).all()
    assert fit_drift(times[:1], mz, signal[:1], variance[:1]) == Drift()


def test_fragments_that_stand_alone_are_learned_and_hidden_ones_stay_in_doubt() -> None:
    design = np.array([[1.0, 0.0], [0.14, 0.5], [0.0, 0.3]])  # the middle m/z is shared
    true = np.array([[1.1, 0.0], [0.07, 0.5], [0.0, 0.36]])
    amounts = np.array([1000.0, 1000.0])
    one = Observation(true @ amounts, np.full(3, 1e-2), amounts, np.zeros(2))
    found = learn_responses(design, np.array([0.15, 0.15]), [one])
    assert found.response[0, 0] == pytest.approx(1.1, rel=0.01)
    assert found.response[2, 1] == pytest.approx(0.36, rel=0.01)
    assert found.learned[[0, 2], [0, 1]].all()
    doubt = found.sigma[1] / found.response[1]
    assert (doubt > 0.05).all()
    assert (np.abs(found.response[1] - true[1]) < 3.0 * found.sigma[1]).all()
    alone = Observation(true @ [1000.0, 0.0], np.full(3, 1e-2), np.array([np.nan, 0.0]), np.zeros(2))
    ratio = learn_responses(design, np.array([0.15, 0.15]), [alone])
    assert ratio.response[1, 0] / ratio.response[0, 0] == pytest.approx(0.07 / 1.1, rel=0.02)  # amount not needed


def test_the_share_of_air_follows_from_all_amounts() -> None:
    true_ppm = np.array([[0.0, 0.0], [150_000.0, 50_000.0]])
    fraction = 1.0 - true_ppm.sum(axis=1) / 1e6
    covariance = np.broadcast_to(np.diag([100.0**2, 50.0**2]), (2, 2, 2))
    found, sigma = air_fraction(true_ppm / fraction[:, None], covariance)
    np.testing.assert_allclose(found, fraction)
    assert sigma[1] == pytest.approx(0.8**2 * np.hypot(100.0, 50.0) / 1e6)


def profile(shift: float, slope: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    mz = np.arange(10.0, 50.0, 0.1)
    peaks = {18: 3e-9, 28: 7e-7, 32: 2e-7, 40: 9e-9, 44: 1e-9}
    spectrum = sum(height * np.exp(-0.5 * ((mz - at - shift - slope * at) / 0.2) ** 2) for at, height in peaks.items())
    return mz, np.asarray(spectrum)


def test_the_mass_scale_is_found_and_corrected_or_refused() -> None:
    mz, spectrum = profile(0.15, 0.001)
    scale = find_shift(mz, spectrum)
    assert scale.offset + 28.0 * scale.slope == pytest.approx(0.178, abs=0.01)
    read = heights(mz, spectrum, np.array([28.0, 32.0, 60.0]), scale)
    np.testing.assert_allclose(read[0, :2], [7e-7, 2e-7], rtol=0.03)  # linear between points
    assert np.isnan(read[0, 2])
    with pytest.raises(InputError, match=r"peaks 0\.4"):
        find_shift(*profile(0.45))


def test_peak_heights_on_the_wrong_column_are_refused() -> None:
    mz = np.arange(1.0, 51.0)
    mean, sigma = np.full(50, 1e-12), np.full(50, 1e-13)
    mean[[17, 27, 31, 39]] = [3e-9, 7e-7, 2e-7, 9e-9]
    assert check_bars(mz, mean, sigma).peaks == (18, 28, 32, 40)
    with pytest.raises(InputError, match=r"found at \+1"):
        check_bars(mz, np.roll(mean, 1), sigma)


def test_minor_peaks_are_named_for_what_is_saturated() -> None:
    library, mz = load_library(), np.arange(1.0, 121.0)
    found = fallback_peaks(library, mz, np.isin(mz, [28, 32, 40, 44, 15, 16]))
    assert found["nitrogen"] == (14, 29)
    assert found["oxygen"] == (34, 33)
    assert found["argon"][:2] == (20, 36)
    assert 45 in found["carbon_dioxide"]
    assert 13 in found["methane"]
    assert "helium" not in found
