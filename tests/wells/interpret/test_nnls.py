"""The kernel against scipy on the same weighted problems, and its errors against brute force."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nightwell.wells.lanes import forget_stale
from nightwell.wells.nnls import DETECTION_SIGMAS, solve
from nightwell.wells.species import SpeciesLibrary

Floats = NDArray[np.float64]


def reference(design: Floats, spectra: Floats, variance: Floats) -> Floats:
    """Solve spectrum by spectrum with scipy; columns are scaled, which does not move the solution."""
    rows = []
    for y, v in zip(spectra, variance, strict=True):
        weighted = design / np.sqrt(v)[:, None]
        length = np.linalg.norm(weighted, axis=0)
        rows.append(scipy.optimize.nnls(weighted / length, y / np.sqrt(v), maxiter=3000)[0] / length)
    return np.array(rows)


def relative_error(found: Floats, expected: Floats) -> float:
    return float(np.max(np.abs(found - expected) / np.maximum(np.abs(expected).max(axis=1, keepdims=True), 1e-300)))


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    mz=st.integers(12, 60),
    species=st.integers(1, 12),
    share=st.floats(0.2, 1.0),
    spread=st.floats(0.0, 6.0),
)
def test_equals_scipy_on_weighted_problems(seed: int, mz: int, species: int, share: float, spread: float) -> None:
    rng = np.random.default_rng(seed)
    design = rng.random((mz, species)) * (rng.random((mz, species)) < share)
    design[rng.integers(0, mz, species), np.arange(species)] = 1.0  # each species has a peak
    truth = 10.0 ** rng.uniform(-3, 3, (7, species)) * (rng.random((7, species)) < 0.6)
    variance = 10.0 ** rng.uniform(-spread / 2, spread / 2, (7, mz))
    spectra = truth @ design.T + rng.standard_normal((7, mz)) * np.sqrt(variance)
    unit = design / np.linalg.norm(design, axis=0)
    if np.linalg.cond(unit) > 1e4:  # the worst have a test of their own
        return
    assert relative_error(solve(design, spectra, variance).value, reference(design, spectra, variance)) < 1e-9


def test_equals_scipy_on_the_whole_library(library: SpeciesLibrary) -> None:
    rng = np.random.default_rng(3)
    design = library.design_matrix(np.arange(1.0, 121.0), transmission_exponent=0.5)
    truth = 10.0 ** rng.uniform(-2, 4, (200, design.shape[1])) * (rng.random((200, design.shape[1])) < 0.6)
    clean = truth @ design.T
    variance = 0.1 * clean + 0.01 + (0.02 * clean) ** 2
    spectra = clean + rng.standard_normal(clean.shape) * np.sqrt(variance)
    assert relative_error(solve(design, spectra, variance).value, reference(design, spectra, variance)) < 1e-9


@pytest.mark.parametrize("alike", [1e-2, 1e-3, 1e-4])
def test_equals_scipy_when_two_patterns_are_nearly_the_same(alike: float) -> None:
    rng = np.random.default_rng(4)
    design = rng.random((40, 6))
    design[:, 5] = design[:, 4] + alike * rng.standard_normal(40)
    assert np.linalg.cond(design) > 1.0 / alike  # as ill-conditioned as it is meant to be
    variance = 10.0 ** rng.uniform(-2, 2, (50, 40))
    spectra = rng.random((50, 6)) @ np.abs(design).T + 0.01 * rng.standard_normal((50, 40))
    assert relative_error(solve(design, spectra, variance).value, reference(design, spectra, variance)) < 1e-9


def test_the_neighbour_does_not_change_the_answer() -> None:
    rng = np.random.default_rng(5)
    design = rng.random((30, 8))
    spectra = rng.standard_normal((40, 30)) + 1.0
    together = solve(design, spectra, np.ones((40, 30))).value
    alone = np.concatenate([solve(design, row[None], np.ones((1, 30))).value for row in spectra])
    assert np.allclose(together, alone, rtol=1e-12, atol=1e-13)


def test_signed_species_may_be_negative() -> None:
    rng = np.random.default_rng(6)
    design = rng.random((30, 5))
    signed = np.array([True, False, False, True, False])
    truth = np.array([-2.0, 1.0, 0.5, -1.0, 0.0])
    spectra = truth @ design.T + 0.01 * rng.standard_normal((20, 30))
    found = solve(design, spectra, np.full((20, 30), 1e-4), signed=signed).value
    twins = reference(np.hstack([design, -design[:, signed]]), spectra, np.full((20, 30), 1e-4))
    twins[:, [0, 3]] -= twins[:, 5:]
    assert np.allclose(found, twins[:, :5], rtol=0, atol=1e-8)
    assert (found[:, 0] < -1.8).all()


def test_covariance_is_that_of_least_squares_where_nothing_is_at_the_bound() -> None:
    rng = np.random.default_rng(7)
    design = rng.random((30, 4))
    variance = rng.uniform(0.5, 2.0, (5, 30))
    spectra = np.full(4, 100.0) @ design.T + rng.standard_normal((5, 30)) * np.sqrt(variance)
    found = solve(design, spectra, variance, with_covariance=True)
    for row in range(5):
        expected = np.linalg.inv(design.T @ (design / variance[row][:, None]))
        assert np.allclose(found.covariance[row], expected, rtol=1e-9)
        assert np.allclose(found.sigma[row], np.sqrt(np.diag(expected)), rtol=1e-9)


def test_sigma_covers_the_scatter_of_many_noisy_spectra() -> None:
    rng = np.random.default_rng(8)
    design = rng.random((40, 6))
    truth = np.array([50.0, 5.0, 20.0, 0.0, 0.5, 10.0])  # one absent, one near the bound
    spectra = truth @ design.T + rng.standard_normal((4000, 40))
    found = solve(design, spectra, np.ones((4000, 40)))
    scatter = np.sqrt(np.mean((found.value - truth) ** 2, axis=0))
    ratio = found.sigma.mean(axis=0) / scatter
    assert (ratio > 0.9).all()
    assert (ratio < 2.0).all()


def test_detection_limit_is_the_scatter_of_the_empty_spectrum() -> None:
    """Leave the species out, let its own variance go with it: the scatter of its amount is what the limit promised."""
    rng = np.random.default_rng(9)
    design = rng.random((40, 4))
    design[-1] = 0.0  # an m/z without ions shows the noise of the electrometer
    truth = np.array([200.0, 50.0, 20.0, 80.0])
    shot, floor, own = 0.5, 1.0, 0.03
    clean = truth @ design.T
    variance = shot * clean + floor + ((own * design * truth) ** 2).sum(axis=1)
    found = solve(design, clean[None], variance[None], own_shot=np.full((1, 40), shot), own_relative=own)
    for species in range(4):
        without = truth.copy()
        without[species] = 0.0
        empty = without @ design.T
        empty_variance = shot * empty + floor + ((own * design * without) ** 2).sum(axis=1)
        sigma = np.sqrt(np.linalg.inv(design.T @ (design / empty_variance[:, None]))[species, species])
        assert found.limit[0, species] == pytest.approx(DETECTION_SIGMAS * sigma, rel=0.02)


def test_what_was_not_measured_has_no_weight_and_no_value() -> None:
    design = np.array([[1.0, 0.0], [0.5, 1.0], [0.0, 0.3]])
    spectra = np.array([[2.0, np.nan, np.nan], [np.nan, np.nan, np.nan], [2.0, 4.0, 0.9]])
    found = solve(design, spectra, np.ones((3, 3)))
    assert found.value[0, 0] == pytest.approx(2.0)
    assert np.isnan(found.value[0, 1])
    assert np.isnan(found.value[1]).all()
    assert np.isnan(found.sigma[1]).all()
    assert found.value[2] == pytest.approx([2.0, 3.0])


def test_identical_patterns_do_not_break_the_solver() -> None:
    design = np.array([[1.0, 1.0], [2.0, 2.0], [0.0, 0.0]])
    found = solve(design, np.array([[1.0, 2.0, 0.0]]), np.ones((1, 3)))
    assert found.value.sum() == pytest.approx(1.0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), mz=st.integers(3, 20), species=st.integers(1, 24), share=st.floats(0.1, 1.0))
def test_degenerate_problems_reach_the_same_least_squares(seed: int, mz: int, species: int, share: float) -> None:
    """Without noise, with doubled and empty patterns, with more species than m/z: the fit is the same."""
    rng = np.random.default_rng(seed)
    design = rng.random((mz, species)) * (rng.random((mz, species)) < share)
    design[:, species // 2] = design[:, 0]  # the same pattern twice
    spectra = np.stack([design.sum(axis=1), np.zeros(mz), rng.standard_normal(mz), -design.sum(axis=1)])
    variance = 10.0 ** rng.uniform(-1, 1, spectra.shape)
    found = solve(design, spectra, variance)
    for row in range(4):
        root = np.sqrt(variance[row])
        _, rest = scipy.optimize.nnls(design / root[:, None], spectra[row] / root, maxiter=3000)
        assert found.chi2[row] == pytest.approx(rest**2, rel=1e-9, abs=1e-12)
    assert (np.nan_to_num(found.value) >= 0.0).all()
    assert np.isnan(found.value[:, (design == 0.0).all(axis=0)]).all()


def test_equal_weights_share_a_matrix_and_change_nothing() -> None:
    """Rows of equal weights go another road: it must lead to the same place, and so must the way back."""
    rng = np.random.default_rng(11)
    design = rng.random((30, 9))
    spectra = rng.standard_normal((60, 30)) + 1.0
    variance = np.repeat(rng.uniform(0.5, 2.0, (6, 30)), 10, axis=0)
    spectra[25, 3] = np.nan
    together = solve(design, spectra, variance)
    for row in range(60):
        alone = solve(design, spectra[row : row + 1], variance[row : row + 1])
        assert np.allclose(together.value[row], alone.value[0], rtol=1e-11, atol=1e-13)
        assert np.allclose(together.sigma[row], alone.sigma[0], rtol=1e-8)
        assert np.allclose(together.limit[row], alone.limit[0], rtol=1e-8)


def test_other_threads_go_on_while_spectra_are_solved() -> None:
    rng = np.random.default_rng(12)
    design = rng.random((60, 24))
    spectra, variance = rng.random((4000, 60)), rng.uniform(0.5, 2.0, (4000, 60))
    solve(design, spectra[:1], variance[:1])  # compiled
    worker = threading.Thread(target=solve, args=(design, spectra, variance))
    waits = 0
    worker.start()
    while worker.is_alive():
        worker.join(0.001)
        waits += 1
    assert waits > 15  # holding the interpreter lock it would be waited for once or twice


def test_lanes_share_nothing() -> None:
    """Spectra that are solved side by side, one without signal and one that is solved another way among them."""
    rng = np.random.default_rng(13)
    design = rng.random((30, 8))
    design[:, 7] = design[:, 6]  # no passive set may hold both
    spectra = rng.standard_normal((19, 30)) + 1.0
    spectra[3], spectra[8] = 0.0, np.nan
    spectra[5] = design[:, 6] * 4.0
    variance = 10.0 ** rng.uniform(-1, 1, (19, 30))
    together = solve(design, spectra, variance)
    for row in range(19):
        alone = solve(design, spectra[row : row + 1], variance[row : row + 1])
        assert np.allclose(together.fit[row], alone.fit[0], rtol=1e-10, atol=1e-12)
        assert together.chi2[row] == pytest.approx(alone.chi2[0], rel=1e-10, abs=1e-12)
        assert np.array_equal(np.isnan(together.value[row]), np.isnan(alone.value[0]))


def test_a_change_of_one_file_makes_all_that_was_compiled_with_it_stale(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    files = {
        name: tmp_path / name
        for name in ("lanes.py", "nnls_a.py", "nnls_b.py", "__pycache__/nnls_a.x.nbi", "__pycache__/other.x.nbi")
    }
    for at, file in enumerate(files.values()):
        file.touch()
        os.utime(file, (at, at))
    forget_stale(tmp_path)
    assert all(file.exists() for file in files.values())
    os.utime(files["nnls_b.py"], (9, 9))
    forget_stale(tmp_path)
    assert [name for name, file in files.items() if not file.exists()] == ["__pycache__/nnls_a.x.nbi"]
