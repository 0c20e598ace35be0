"""Backgrounds and runs: what stands out, what may not, and what does not depend on units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nightwell.wells.background import Background, find_background, find_runs

Floats = NDArray[np.float64]
DEPTH = np.arange(0.0, 1000.0, 1.0)


def gas(seed: int = 1) -> Floats:
    """100 ppm with 20 % of scatter, and 50 times as much from 500 to 540 m."""
    values: Floats = 100.0 * 10.0 ** (0.08 * np.random.default_rng(seed).standard_normal(DEPTH.size))
    values[500:540] *= 50.0
    return values


def background(
    value: Floats, detected: NDArray[np.bool_] | None = None, *, bound: Floats | None = None, least: int = 20
) -> Background:
    seen = np.isfinite(value) if detected is None else detected
    given_ = value if bound is None else bound
    return find_background(
        DEPTH, given_, np.isfinite(given_), seen, window_m=200.0, least_values=least, least_scatter=0.05
    )


def test_a_show_stands_out_and_nothing_else_does() -> None:
    found = background(gas())
    assert (found.z[500:540] > 10).all()
    assert np.mean(np.abs(found.z[:480]) < 3) > 0.98
    assert found.median[250] == pytest.approx(2.0, abs=0.03)
    assert found.scatter[250] == pytest.approx(0.08, rel=0.25)


def test_bad_values_do_not_become_the_background() -> None:
    dirty = gas()
    dirty[::7] = 28_045_800.0
    assert background(dirty).median[250] == pytest.approx(2.0, abs=0.04)
    assert (background(dirty).z[500:540] > 8).sum() >= 34


@settings(deadline=None, max_examples=20)
@given(st.floats(1e-6, 1e6))
def test_z_does_not_depend_on_units(scale: float) -> None:
    assert background(scale * gas()).z == pytest.approx(background(gas()).z, abs=1e-6)


@pytest.mark.parametrize("limit", [60.0, 80.0, 100.0, 125.0])
def test_what_was_not_detected_does_not_make_a_show_larger(limit: float) -> None:
    """Values piled up at a limit would narrow the scatter, and so make every show a greater one."""
    value = gas()
    detected = value > limit
    censored = background(value, detected, bound=np.where(detected, value, limit))
    assert (censored.z[500:540] <= 1.1 * background(value).z[500:540]).all()
    assert (censored.median[:400] >= background(value).median[:400] - 1e-9).all()
    assert np.isnan(censored.z[~detected]).all()


def test_above_a_background_of_limits_twice_the_limit_is_little_and_ten_times_is_much() -> None:
    detected = np.zeros(DEPTH.size, dtype=bool)
    detected[[300, 600]] = True
    bound = np.full(DEPTH.size, 5.0)
    bound[300], bound[600] = 10.0, 50.0
    found = background(bound, detected, bound=bound)
    assert found.z[300] == pytest.approx(np.log10(2.0) * 3.29 * np.log(10.0), rel=1e-3)
    assert found.z[300] < 4 < found.z[600]


def test_without_values_there_is_no_background_and_no_number() -> None:
    nothing = np.full(DEPTH.size, np.nan)
    for found in (background(nothing), background(np.zeros(DEPTH.size)), background(gas(), least=2000)):
        assert np.isnan(found.median).all()
        assert np.isnan(found.z).all()
    half = np.where(DEPTH < 300, gas(), np.nan)
    assert np.isfinite(background(half).median[:300]).all()
    assert np.isnan(background(half).median[450:]).all()  # none is carried to where none is


@pytest.mark.parametrize(
    ("holds", "least", "join", "runs"),
    [
        ("..###..#..", 2.0, 1.5, [(2, 5)]),
        ("..###..#..", 2.0, 3.0, [(2, 8)]),
        ("#........#", 2.0, 3.0, []),
        ("#........#", 0.0, 3.0, [(0, 1), (9, 10)]),
        ("##########", 3.0, 1.0, [(0, 10)]),
        ("..........", 0.0, 1.0, []),
    ],
)
def test_runs(holds: str, least: float, join: float, runs: list[tuple[int, int]]) -> None:
    mask = np.array([one == "#" for one in holds])
    assert find_runs(mask, np.arange(10.0), least_thickness_m=least, join_m=join) == runs
