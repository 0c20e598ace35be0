"""Intervals of one reading as the ratio plots show them: medians of some curves, a colour by depth, a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightwell.report.curves import StreamLog
from nightwell.wells.interpret import find_intervals

Floats = NDArray[np.float64]

#: As many as a legend can hold; those with most gas are kept.
MOST = 12


@dataclass(frozen=True, slots=True)
class Summary:
    """One interval.

    Parameters
    ----------
    top_m, bottom_m
        First and last depth.
    gas_ppm
        Median of the total gas; NaN where it is not known.
    median, low, high
        float64 (curve,): median and quartiles of the curves asked for; NaN where fewer than half of the depths have
        a value.
    reading
        What the Haworth class says.
    """

    top_m: float
    bottom_m: float
    gas_ppm: float
    median: Floats
    low: Floats
    high: Floats
    reading: str

    @property
    def label(self) -> str:
        """Depths and gas in one line."""
        gas = f", {self.gas_ppm:,.0f} ppm" if np.isfinite(self.gas_ppm) else ""
        return f"{self.top_m:,.0f}-{self.bottom_m:,.0f} m{gas}"

    @property
    def middle_m(self) -> float:
        """Depth half-way."""
        return (self.top_m + self.bottom_m) / 2.0


def summaries(log: StreamLog, curves: Sequence[Floats], most: int = MOST) -> tuple[tuple[Summary, ...], int]:
    """Summarise curves over the intervals of one reading.

    Parameters
    ----------
    log
        The stream between two depths.
    curves
        float64 (depth,) each; NaN where not detected.
    most
        How many intervals; those with the largest median gas are kept.

    Returns
    -------
    tuple of Summary
        Downwards.
    int
        How many were left out.
    """
    span = float(log.depth[-1] - log.depth[0])
    found = find_intervals(log.interpretation, log.indicators, min_thickness_m=max(3.0, span / 150))
    known = []
    for one in found:
        rows = (log.depth >= one.top_m) & (log.depth <= one.bottom_m)
        stacked = np.stack([curve[rows] for curve in curves], axis=1)
        quartiles = _quartiles(stacked)
        reading = one.readings.get("Haworth class", "")
        gas = one.values.get("total_gas", float("nan"))
        known.append(Summary(one.top_m, one.bottom_m, gas, quartiles[1], quartiles[0], quartiles[2], reading))
    known = [one for one in known if np.isfinite(one.median).any()]
    kept = sorted(known, key=lambda one: -np.nan_to_num(one.gas_ppm))[:most]
    return tuple(sorted(kept, key=lambda one: one.top_m)), len(known) - len(kept)


def _quartiles(values: Floats) -> Floats:
    """Return (quartile, curve); NaN for a curve with fewer than half of its values."""
    enough = 2 * np.isfinite(values).sum(axis=0) >= max(values.shape[0], 1)
    result = np.full((3, values.shape[1]), np.nan)
    if enough.any():
        result[:, enough] = np.nanpercentile(values[:, enough], (25, 50, 75), axis=0)
    return result
