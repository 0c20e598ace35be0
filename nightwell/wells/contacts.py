"""Contacts: depths where several log-ratios change together.

Each curve is cut by penalised least squares (PELT [Killick2012]_, as ``ruptures`` [Truong2020]_ has it for the linear
kernel), by itself, on medians over short steps; then the curves vote. One curve changes for many reasons; that
several independent ones change at one depth is what a contact, a fault or a seal does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import ruptures  # type: ignore[import-untyped]  # ruptures has no types
from numpy.typing import NDArray

from nightwell.wells.background import MAD_TO_SIGMA
from nightwell.wells.rules import ContactRule

Floats = NDArray[np.float64]

_SMOOTHED = 5  # steps of the running median that outliers are clipped to
_CLIP_SIGMAS = 3.0
_MOST_WANDER = 0.9  # above it a curve is a walk that no mean describes: then only large changes are left


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one curve.

    Parameters
    ----------
    curve
        Its name.
    depth_m
        Where it changes.
    gap_m
        Thickness without a value (or of one step) in which the change lies.
    above, below
        Median of the segment above and of that below, in the curve's units.
    """

    curve: str
    depth_m: float
    gap_m: float
    above: float
    below: float


@dataclass(frozen=True, slots=True)
class Contact:
    """Several curves that change together.

    Parameters
    ----------
    depth_m
        Median of the depths of those that do not lie in a gap without values.
    error_m
        How far the farthest of these is away, and half the distance of the values on both sides of it.
    changes
        One for each curve.
    """

    depth_m: float
    error_m: float
    changes: tuple[Change, ...]


def find_changes(curve: str, depth: Floats, value: Floats, rule: ContactRule) -> list[Change]:
    """Find where one curve changes.

    Parameters
    ----------
    curve
        Its name.
    depth
        float64 (depth,), increasing, m.
    value
        float64 (depth,), above zero where detected and NaN elsewhere: what was not detected takes no part.
    rule
        Thresholds.

    Returns
    -------
    list of Change
        Downwards. A change across undetected depths is said to lie somewhere in the gap.
    """
    known = np.isfinite(value) & (value > 0.0)
    at, x = depth[known], np.log10(value[known])
    centre, level = _steps(at, x, rule.step_m)
    least = max(int(np.ceil(rule.least_segment_m / rule.step_m)), 2)
    if level.size < 2 * least:
        return []
    scatter = max(MAD_TO_SIGMA * float(np.median(np.abs(np.diff(level)))) / np.sqrt(2.0), rule.least_change / 4.0)
    clipped = _clipped(level, _CLIP_SIGMAS * scatter)
    search = ruptures.KernelCPD(kernel="linear", min_size=least)
    wander = wander_of(level)
    factor = max(rule.penalty, rule.wander_penalty * (1.0 + wander) / (1.0 - wander) ** 2)
    penalty = factor * scatter**2 * np.log(level.size)
    cuts = search.fit(clipped[:, None]).predict(pen=penalty)[:-1]
    kept = _large_enough(level, [int(cut) for cut in cuts], rule.least_change)
    edges = [0, *kept, level.size]
    changes = []
    for before, cut, after in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
        above, below = float(np.median(level[before:cut])), float(np.median(level[cut:after]))
        depth_m, gap_m = _refined(at, x, centre[cut - 1], centre[cut], (above, below))
        changes.append(Change(curve, depth_m, gap_m, 10.0**above, 10.0**below))
    return changes


def wander_of(level: Floats) -> float:
    """Return how much a curve wanders: the correlation of neighbouring steps, from 0 to ``_MOST_WANDER``.

    ``median |x(i+2) - x(i)|^2 / median |x(i+1) - x(i)|^2 - 1``, which a few changes of the mean do not disturb
    [Chakar2017]_. Differences of a curve that wanders hide its scatter: the variance of its means over many steps is
    ``(1 + rho) / (1 - rho)^2`` times that which the differences show.
    """
    if level.size < 3:  # noqa: PLR2004 - two steps apart
        return 0.0
    one, two = (float(np.median(np.abs(level[k:] - level[:-k]))) for k in (1, 2))
    return float(np.clip(two**2 / one**2 - 1.0, 0.0, _MOST_WANDER)) if one > 0.0 else 0.0


def agree(changes: Mapping[str, list[Change]], rule: ContactRule) -> list[Contact]:
    """Let curves vote: a contact is where at least ``rule.agree`` of them change within ``rule.tolerance_m``.

    A change across depths without a value may lie anywhere among them, so it supports any contact there; it does not
    say where the contact is while a curve with values does. Each change supports one contact, that with most votes
    first.
    """
    left = [change for of_curve in changes.values() for change in of_curve]
    contacts = []
    while left:
        groups = [_group(left, one.depth_m, rule.tolerance_m / 2.0) for one in left]
        groups = [group for group in groups if len(_placed(group, rule)) >= rule.least_placed]
        if not groups:
            break
        best = max(groups, key=lambda group: (len(group), -sum(one.gap_m for one in group)))
        if len(best) < rule.agree:
            break
        contacts.append(_contact(best, rule))
        left = [one for one in left if one not in best]
    return sorted(contacts, key=lambda one: one.depth_m)


def _group(changes: list[Change], depth_m: float, reach_m: float) -> list[Change]:
    """Return the nearest change of each curve that may lie within ``reach_m`` of a depth."""
    group: dict[str, tuple[float, Change]] = {}
    for one in changes:
        away = max(abs(one.depth_m - depth_m) - one.gap_m / 2.0, 0.0)
        if away <= reach_m and (one.curve not in group or away < group[one.curve][0]):
            group[one.curve] = (away, one)
    return [one for _, one in group.values()]


def _placed(group: list[Change], rule: ContactRule) -> list[Change]:
    """Return the changes that say where they are: those that do not lie in a gap wider than two steps."""
    return [one for one in group if one.gap_m <= 2.0 * rule.step_m]


def _contact(group: list[Change], rule: ContactRule) -> Contact:
    placed = _placed(group, rule)
    middle = float(np.median([one.depth_m for one in placed]))
    error = max(abs(one.depth_m - middle) + one.gap_m / 2.0 for one in placed)
    return Contact(middle, error, tuple(sorted(group, key=lambda one: one.curve)))


def _steps(at: Floats, x: Floats, step_m: float) -> tuple[Floats, Floats]:
    """Return the middle and the median of each step that has a value."""
    if at.size == 0:
        return at, x
    number = np.floor((at - at[0]) / step_m).astype(np.int64)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    pieces = np.split(np.arange(at.size), starts[1:])
    return np.array([at[piece].mean() for piece in pieces]), np.array([np.median(x[piece]) for piece in pieces])


def _clipped(level: Floats, reach: float) -> Floats:
    half = _SMOOTHED // 2
    padded = np.pad(level, half, mode="edge")
    running = np.median(np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHED), axis=1)
    clipped: Floats = np.clip(level, running - reach, running + reach)
    return clipped


def _large_enough(level: Floats, cuts: list[int], least_change: float) -> list[int]:
    """Take out the smallest change until all are large enough."""
    kept = list(cuts)
    while kept:
        edges = [0, *kept, level.size]
        medians = [float(np.median(level[a:b])) for a, b in pairwise(edges)]
        sizes = np.abs(np.diff(medians))
        smallest = int(np.argmin(sizes))
        if sizes[smallest] >= least_change:
            break
        del kept[smallest]
    return kept


def _refined(at: Floats, x: Floats, top: float, bottom: float, levels: tuple[float, float]) -> tuple[float, float]:
    """Place a change among the values of two steps: where least absolute deviation from both levels puts it."""
    first, last = int(np.searchsorted(at, top)), int(np.searchsorted(at, bottom))
    first, last = max(first - 1, 0), min(last + 1, at.size)
    around, values = at[first:last], x[first:last]
    above = np.concatenate(([0.0], np.cumsum(np.abs(values - levels[0]))))
    below = np.concatenate((np.cumsum(np.abs(values - levels[1])[::-1])[::-1], [0.0]))
    cut = int(np.clip(np.argmin(above + below), 1, around.size - 1))
    return float(around[cut - 1] + around[cut]) / 2.0, float(around[cut] - around[cut - 1])
