"""Blanks: what stands in a spectrum without the sample, interpolated in time between the blanks that bracket it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BlankSeries:
    """Blanks of one stream, one entry per run of consecutive blank scans.

    Parameters
    ----------
    time_s
        float64 (run), increasing: middle of each run.
    intensity, variance
        float64 (run, mz): mean current of the run, and the variance of that mean; NaN where not measured.
    """

    time_s: Floats
    intensity: Floats
    variance: Floats

    def at(self, time_s: Floats) -> tuple[Floats, Floats]:
        """Return the blank at any time, and its variance.

        Parameters
        ----------
        time_s
            float64 (scan). Between two runs the blank is linear in time; before the first and after the last run
            it is that run's. An m/z that one of the two runs lacks is taken from the other.

        Returns
        -------
        intensity, variance
            float64 (scan, mz).
        """
        place = np.interp(time_s, self.time_s, np.arange(self.time_s.size))
        before = np.minimum(place.astype(np.intp), max(self.time_s.size - 2, 0))
        after = np.minimum(before + 1, self.time_s.size - 1)
        share = np.repeat((place - before)[:, None], self.intensity.shape[1], axis=1)
        first, second = self.intensity[before], self.intensity[after]
        share[np.isnan(first)] = 1.0
        share[np.isnan(second)] = 0.0
        blank = (1.0 - share) * np.nan_to_num(first) + share * np.nan_to_num(second)
        blank[np.isnan(first) & np.isnan(second)] = np.nan
        variance = (1.0 - share) ** 2 * np.nan_to_num(self.variance[before])
        variance += np.where(before == after, 0.0, 1.0)[:, None] * share**2 * np.nan_to_num(self.variance[after])
        return blank, variance


def blank_series(time_s: Floats, scan: NDArray[np.intp], intensity: Floats, variance: Floats) -> BlankSeries:
    """Gather blank scans into runs.

    Parameters
    ----------
    time_s
        float64 (blank), increasing.
    scan
        Position of each blank among the scans of its stream; blanks next to one another are one run.
    intensity, variance
        float64 (blank, mz).
    """
    starts = np.flatnonzero(np.concatenate(([True], np.diff(scan) != 1)))
    known = ~np.isnan(intensity)
    count = np.add.reduceat(known, starts, axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):  # an m/z that no blank of the run has stays NaN
        mean = np.add.reduceat(np.where(known, intensity, 0.0), starts, axis=0) / count
        spread = np.add.reduceat(np.where(known, variance, 0.0), starts, axis=0) / count**2
    size = np.add.reduceat(np.ones(time_s.size), starts)
    return BlankSeries(np.add.reduceat(time_s, starts) / size, mean, spread)
