"""Change points, and the vote that makes a contact of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nightwell.wells.contacts import Change, agree, find_changes
from nightwell.wells.rises import find_rises
from nightwell.wells.rules import load_rules

Floats = NDArray[np.float64]
RULE = load_rules().contact
DEPTH = np.arange(1000.0, 1300.0, 0.5)


def steps(*levels: tuple[float, float], scatter: float = 0.03, seed: int = 1) -> Floats:
    """Return a curve that takes each level from its depth on."""
    value = np.zeros(DEPTH.size)
    for from_m, level in levels:
        value[from_m <= DEPTH] = level
    noise = np.random.default_rng(seed).standard_normal(DEPTH.size)
    noisy: Floats = value * 10.0 ** (scatter * noise)
    return noisy


def test_changes_are_where_they_were_put() -> None:
    found = find_changes("a", DEPTH, steps((0, 10.0), (1100, 20.0), (1220.5, 5.0)), RULE)
    assert [one.depth_m for one in found] == pytest.approx([1099.75, 1220.25], abs=1.1)
    levels = [level for one in found for level in (one.above, one.below)]
    assert levels == pytest.approx([10.0, 20.0, 20.0, 5.0], rel=0.05)
    assert all(one.gap_m == 0.5 for one in found)


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_single_bad_values_are_no_change(seed: int) -> None:
    noise = steps((0, 10.0), scatter=0.15, seed=seed)
    noise[100], noise[400] = 1e6, 1e-6
    assert find_changes("a", DEPTH, noise, RULE) == []


@settings(deadline=None, max_examples=15)
@given(st.floats(1e-3, 1e3))
def test_changes_do_not_depend_on_units_and_turn_with_the_ratio(scale: float) -> None:
    curve = steps((0, 10.0), (1100, 20.0))
    (one,) = find_changes("a", DEPTH, curve, RULE)
    (scaled,) = find_changes("a", DEPTH, scale * curve, RULE)
    (inverse,) = find_changes("a", DEPTH, 1.0 / curve, RULE)
    assert scaled.depth_m == inverse.depth_m == one.depth_m
    assert scaled.below == pytest.approx(scale * one.below)
    assert inverse.below == pytest.approx(1.0 / one.below)


def test_a_change_across_undetected_depths_lies_somewhere_in_them() -> None:
    curve = steps((0, 10.0), (1100, 20.0))
    curve[(DEPTH > 1080) & (DEPTH < 1130)] = np.nan
    (one,) = find_changes("a", DEPTH, curve, RULE)
    assert one.gap_m == pytest.approx(50.0)
    assert one.depth_m == pytest.approx(1105.0)


@pytest.mark.parametrize("curve", [np.full(DEPTH.size, np.nan), np.zeros(DEPTH.size), np.full(DEPTH.size, -1.0)])
def test_what_was_never_detected_has_no_change(curve: Floats) -> None:
    assert find_changes("a", DEPTH, curve, RULE) == []
    assert find_changes("a", DEPTH[:3], curve[:3], RULE) == []
    assert find_changes("a", DEPTH[:0], curve[:0], RULE) == []


def change(curve: str, depth_m: float, gap_m: float = 0.5) -> Change:
    return Change(curve, depth_m, gap_m, 1.0, 2.0)


def vote(*changes: Change) -> list[tuple[float, int]]:
    by_curve: dict[str, list[Change]] = {}
    for one in changes:
        by_curve.setdefault(one.curve, []).append(one)
    return [(one.depth_m, len(one.changes)) for one in agree(by_curve, RULE)]


def test_a_contact_needs_several_curves_near_each_other() -> None:
    assert vote(change("a", 100), change("b", 101), change("c", 102)) == [(101.0, 3)]
    assert vote(change("a", 100), change("b", 101)) == []
    assert vote(change("a", 100), change("a", 101), change("a", 102)) == []  # one curve has one vote
    assert vote(change("a", 100), change("b", 101), change("c", 120)) == []
    assert vote(
        change("a", 100), change("b", 101), change("c", 102), change("a", 200), change("b", 200), change("c", 201)
    ) == [(101.0, 3), (200.0, 3)]


def test_curves_with_a_gap_support_a_contact_and_do_not_place_it() -> None:
    assert vote(change("a", 100), change("b", 101), change("c", 120, 50.0)) == [(100.5, 3)]
    assert vote(change("a", 100), change("b", 120, 60.0), change("c", 120, 60.0)) == []


def test_a_rise_is_found_where_no_window_would_see_it() -> None:
    rule = replace(load_rules().rise, window_m=60.0)
    value = steps((0, 50.0), (1080, 5000.0), (1150, 900.0), (1200, 7000.0), (1280, 60.0))
    rises = find_rises(DEPTH, value, find_changes("a", DEPTH, value, RULE), rule)
    assert [DEPTH[row] for one in rises for row in (one.start, one.stop - 1)] == pytest.approx([1080, 1279.5], abs=1.5)
    assert rises[0].above == pytest.approx(50.0, rel=0.05)
    flat = steps((0, 5000.0))
    assert find_rises(DEPTH, flat, find_changes("a", DEPTH, flat, RULE), rule) == []  # nothing above the first segment
