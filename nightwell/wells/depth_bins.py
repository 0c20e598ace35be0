"""Means and variances by depth bin, added up block by block, so that memory does not grow with the number of scans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]


@dataclass(slots=True)
class DepthBins:
    """Sums over the scans of each bin; NaN currents count for nothing.

    Parameters
    ----------
    depth_m
        float64 (bin), increasing: middles of the bins.
    """

    depth_m: Floats
    total: Floats
    count: Floats
    variance: Floats  # of independent errors: averages down with the number of scans
    shared: Floats  # of errors that all scans of a bin share (their blank): does not
    scans: NDArray[np.int64]
    error_squares: Floats
    flag: NDArray[np.int16]

    @classmethod
    def empty(cls, depth_m: Floats, mz_size: int) -> DepthBins:
        """Return bins without scans."""
        shape = (depth_m.size, mz_size)
        return cls(
            depth_m,
            np.zeros(shape),
            np.zeros(shape),
            np.zeros(shape),
            np.zeros(shape),
            np.zeros(depth_m.size, dtype=np.int64),
            np.zeros(depth_m.size),
            np.zeros(depth_m.size, dtype=np.int16),
        )

    def add(self, bins: NDArray[np.intp], intensity: Floats, variance: Floats, shared: Floats, error: Floats) -> None:
        """Add scans.

        Parameters
        ----------
        bins
            Bin of each scan.
        intensity, variance, shared
            float64 (scan, mz).
        error
            float64 (scan): error of the registered depth, m.
        """
        low, high = int(bins.min()), int(bins.max()) + 1
        rows = slice(low, high)
        pick = sparse.csr_array((np.ones(bins.size), (bins - low, np.arange(bins.size))), shape=(high - low, bins.size))
        known = ~np.isnan(intensity)
        self.total[rows] += pick @ np.where(known, intensity, 0.0)
        self.count[rows] += pick @ known.astype(np.float64)
        self.variance[rows] += pick @ np.where(known, variance, 0.0)
        self.shared[rows] += pick @ np.where(known, shared, 0.0)
        self.error_squares[rows] += np.bincount(bins - low, weights=error**2, minlength=high - low)
        self.scans[rows] += np.bincount(bins - low, minlength=high - low)

    def mark(self, bins: NDArray[np.intp], bit: int) -> None:
        """Set a flag's bit in bins."""
        self.flag[bins] |= np.int16(1 << bit)

    def lose(self, bins: NDArray[np.intp], lost: NDArray[np.bool_]) -> None:
        """Make an m/z of a bin missing for good where a scan of it was above full scale.

        The mean of the scans that were not would be that of the weak ones.
        """
        rows, columns = np.nonzero(lost)
        self.total[bins[rows], columns] = np.nan

    def means(self) -> tuple[Floats, Floats, Floats]:
        """Return mean current, variance of the mean, and depth error; NaN where a bin has no value."""
        with np.errstate(invalid="ignore", divide="ignore"):  # empty bins become NaN, which is what they are
            mean = self.total / self.count
            variance = self.variance / self.count**2 + self.shared / self.count
            error = np.sqrt(self.error_squares / self.scans)
        return mean, variance, error

    def shared_share(self) -> Floats:
        """Return the share of the variance that neighbouring bins have in common, the median over m/z; 0 without any.

        Averages over depths do not get rid of it.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            share = self.shared / (self.variance / self.count + self.shared)
        known = np.isfinite(share).any(axis=1)
        found = np.zeros(self.depth_m.size)
        found[known] = np.nanmedian(share[known], axis=1)
        return found


def regular_bins(depth_m: Floats, step_m: float) -> Floats:
    """Return the middles of the bins that hold given depths: whole multiples of the step."""
    known = depth_m[~np.isnan(depth_m)]
    if known.size == 0:
        return np.zeros(0)
    first, last = round(float(known.min()) / step_m), round(float(known.max()) / step_m)
    return np.asarray(step_m * np.arange(first, last + 1), dtype=np.float64)


def bin_of(depth_m: Floats, middles: Floats) -> NDArray[np.intp]:
    """Return the bin whose middle is nearest to each depth."""
    edges = 0.5 * (middles[1:] + middles[:-1])
    return np.searchsorted(edges, depth_m, side="right").astype(np.intp)
