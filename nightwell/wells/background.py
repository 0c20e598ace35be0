"""Background and anomaly: robust z-scores of log amounts and log ratios against a moving window.

With ``x = log10(value)``, ``m`` the median of x within the window and ``s = 1.4826 * median(|x - m|)``,
``z = (x - m) / max(s, least scatter)``. Medians, because shows and bad values must not become their own background
[RousseeuwCroux1993]_. An amount that was not detected takes part in m at its detection limit, which can only raise m.
It must not narrow s: where there are such amounts, ``s = 2.3218 * (q - m)`` with q the quantile of two thirds, the
same for a normal scatter; and where they are most of the window, s is at least the error of a value at its limit
(Currie's 3.29 sigma). A ratio that was not detected is no number and takes no part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightwell.wells.nnls import DETECTION_SIGMAS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Standard deviations of a normal distribution per median absolute deviation.
MAD_TO_SIGMA = 1.4826

#: Standard deviations of a normal distribution per distance of its quantile of two thirds from its median.
_THIRD_TO_SIGMA = 2.3218

_NODES_PER_WINDOW = 20

#: One-sigma of log10 of a value at its detection limit, which stands 3.29 sigma above nothing.
_SCATTER_AT_LIMIT = 1.0 / (DETECTION_SIGMAS * np.log(10.0))


@dataclass(frozen=True, slots=True)
class Background:
    """What is usual around each depth.

    Parameters
    ----------
    median, scatter
        float64 (depth,), log10 units; NaN where there are too few values.
    z
        float64 (depth,); NaN where the value is missing or not detected, or there is no background.
    """

    median: Floats
    scatter: Floats
    z: Floats


def find_background(
    depth: Floats,
    value: Floats,
    usable: Bools,
    detected: Bools,
    *,
    window_m: float,
    least_values: int,
    least_scatter: float,
) -> Background:
    """Find the background of one curve.

    Parameters
    ----------
    depth
        float64 (depth,), increasing, m.
    value
        float64 (depth,); of an amount that was not detected, its upper bound.
    usable
        bool (depth,): rows that take part; anything not above zero is left out besides.
    detected
        bool (depth,): rows that may stand out.
    window_m, least_values, least_scatter
        As :class:`~nightwell.wells.rules.BackgroundRule`.

    Returns
    -------
    Background
        The window is evaluated at nodes a twentieth of it apart, and interpolated between them.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        taking_part = usable & np.isfinite(value) & (value > 0.0)
        x = np.where(taking_part, np.log10(np.where(taking_part, value, 1.0)), np.nan)
    at, known, seen = depth[taking_part], x[taking_part], detected[taking_part]
    if known.size < least_values:
        nothing = np.full(depth.size, np.nan)
        return Background(nothing, nothing.copy(), nothing.copy())
    nodes = np.linspace(depth[0], depth[-1], max(int((depth[-1] - depth[0]) / window_m * _NODES_PER_WINDOW), 1) + 1)
    starts = np.searchsorted(at, nodes - window_m / 2.0, side="left")
    stops = np.searchsorted(at, nodes + window_m / 2.0, side="right")
    median, scatter = np.full(nodes.size, np.nan), np.full(nodes.size, np.nan)
    for node, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        if stop - start >= least_values:
            median[node], scatter[node] = _centre(known[start:stop], seen[start:stop])
    on_depth = _interpolated(depth, nodes, median)
    spread = np.maximum(_interpolated(depth, nodes, scatter), least_scatter)
    return Background(on_depth, spread, np.where(detected, (x - on_depth) / spread, np.nan))


def _centre(x: Floats, seen: Bools) -> tuple[float, float]:
    """Return median and scatter of one window; ``seen`` tells which values are not limits."""
    middle = float(np.median(x))
    if seen.all():
        return middle, MAD_TO_SIGMA * float(np.median(np.abs(x - middle)))
    scatter = (float(np.quantile(x, 2.0 / 3.0)) - middle) * _THIRD_TO_SIGMA
    return middle, max(scatter, _SCATTER_AT_LIMIT if seen.mean() <= 0.5 else 0.0)  # noqa: PLR2004 - most of them


def find_runs(holds: Bools, depth: Floats, *, least_thickness_m: float, join_m: float) -> list[tuple[int, int]]:
    """Find intervals where something holds.

    Parameters
    ----------
    holds
        bool (depth,).
    depth
        float64 (depth,), increasing, m.
    least_thickness_m, join_m
        Intervals at most ``join_m`` apart become one; thinner ones are then left out. Each depth stands for half the
        way to its neighbours; but one depth alone has a thickness of zero.

    Returns
    -------
    list of (start, stop)
        Rows, ``stop`` not included.
    """
    if not holds.any():
        return []
    edges = np.flatnonzero(np.diff(np.concatenate(([False], holds, [False])).astype(np.int8)))
    joined: list[tuple[int, int]] = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if joined and depth[start] - depth[joined[-1][1] - 1] <= join_m:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    step = float(np.median(np.diff(depth))) if depth.size > 1 else 0.0
    thickness = {run: depth[run[1] - 1] - depth[run[0]] + (step if run[1] - run[0] > 1 else 0.0) for run in joined}
    return [run for run in joined if thickness[run] >= least_thickness_m]


def _interpolated(depth: Floats, nodes: Floats, values: Floats) -> Floats:
    known = np.isfinite(values)
    if not known.any():
        return np.full(depth.size, np.nan)
    between: Floats = np.interp(depth, nodes[known], values[known])
    # No background is carried to where none is: a node without one leaves its surroundings without one.
    return np.where(np.interp(depth, nodes, known.astype(np.float64)) > 0.0, between, np.nan)
