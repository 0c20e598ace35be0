"""Rises: gas that goes up and stays up for longer than any window, as when a reservoir is drilled along.

A moving background follows such gas and finds nothing in it. Here the gas is compared with what was above it: the
curve is cut into segments (:mod:`nightwell.wells.contacts`), and a rise begins with a segment whose median is
``least_times`` that of the values in the ``window_m`` above it, and ends where a segment falls below that again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nightwell.wells.contacts import Change
from nightwell.wells.rules import RiseRule

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rise:
    """Rows of a rise (``stop`` not included), and the median above it that it is compared with."""

    start: int
    stop: int
    above: float


def find_rises(depth: Floats, value: Floats, changes: Sequence[Change], rule: RiseRule) -> list[Rise]:
    """Find rises of one curve.

    Parameters
    ----------
    depth
        float64 (depth,), increasing, m.
    value
        float64 (depth,); NaN where not detected.
    changes
        Of this curve, downwards.
    rule
        Thresholds.

    Returns
    -------
    list of Rise
        Downwards. The uppermost segment is never one: nothing is above it.
    """
    edges = [0, *(int(np.searchsorted(depth, one.depth_m)) for one in changes), depth.size]
    rises: list[Rise] = []
    above: float | None = None  # what the rise that is open is compared with
    for start, stop in pairwise(edges):
        level = _median(value[start:stop])
        if above is None:
            usual = value[
                (depth >= depth[min(start, depth.size - 1)] - rule.window_m) & (np.arange(depth.size) < start)
            ]
            enough = np.isfinite(usual).sum() >= rule.least_values
            if enough and level >= max(rule.least_times * _median(usual), rule.least_amount):
                above = _median(usual)
                rises.append(Rise(start, stop, above))
        elif level >= rule.least_times * above:
            rises[-1] = Rise(rises[-1].start, stop, above)
        else:
            above = None
    return [one for one in rises if depth[one.stop - 1] - depth[one.start] >= rule.least_thickness_m]


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")
