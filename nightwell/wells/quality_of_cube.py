"""Count, while a cube is made, what the group ``/qc`` says of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import sparse

from nightwell.wells.blank import BlankSeries
from nightwell.wells.calibrate.calibration import Calibration
from nightwell.wells.clean_scans import Cleaned
from nightwell.wells.corrections import Corrections
from nightwell.wells.quality import BlankNumbers, IntervalNumbers, StandardNumbers, qc_dataset
from nightwell.wells.raw_scans import RawScans
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]

#: Where air and moisture show: a sample dilutes them, so there a blank may stand above its sample.
AIR_MZ = (1, 2, 12, 14, 16, 17, 18, 19, 20, 22, 28, 29, 32, 33, 34, 36, 38, 40, 44, 45, 46)

_NEGATIVE_SIGMAS = 4.0
_HOT_SIGMAS = 3.0
_HOT_SHARE = 0.02  # of the blank: below it, a slow drift of the blank between two runs explains it


@dataclass(slots=True)
class QualityCounter:
    """Sums over the scans; blanks are judged by the samples nearest to them in time."""

    intervals: IntervalNumbers
    blanks: dict[Stream, _BlankCounter]

    @classmethod
    def start(cls, scans: RawScans, correction: Corrections) -> QualityCounter:
        """Return a counter of nothing."""
        intervals = IntervalNumbers.covering(scans.dataset["time"].to_numpy(), scans.mz.size)
        return cls(intervals, {stream: _BlankCounter.start(series) for stream, series in correction.blanks.items()})

    def add(self, scans: RawScans, cleaned: Cleaned, correction: Corrections) -> None:
        """Count a block of scans of any kind."""
        self.intervals.add(
            scans.time_s[cleaned.block],
            baseline_a=cleaned.baseline,
            gain=correction.gain[cleaned.block],
            saturated=cleaned.saturated,
            carried=cleaned.carried,
        )

    def add_samples(self, stream: Stream, time_s: Floats, difference: Floats, variance: Floats, shared: Floats) -> None:
        """Count samples, float64 (scan, mz): current less its blank, and the variances of both."""
        with np.errstate(invalid="ignore"):
            self.intervals.add_negative(time_s, difference < -_NEGATIVE_SIGMAS * np.sqrt(variance + shared))
        if stream in self.blanks:
            self.blanks[stream].add(time_s, difference, variance)

    def dataset(self, scans: RawScans, correction: Corrections) -> xr.Dataset:
        """Return the group ``/qc``."""
        calibration = correction.calibration
        attributes: dict[str, object] = {"calibration_version": "none", "dead_time": "not corrected", "mz_scale": ""}
        carry_over: tuple[tuple[str, ...], Floats, Floats] | None = None
        if calibration is not None:
            attributes = calibration.summary()
            step = np.diff(scans.time_s)
            usual_s = np.array([float(np.median(step)) if step.size else 0.0])
            share, sigma = calibration.carry_over.shares(usual_s)
            carry_over = (calibration.carry_over.species, share[0], sigma[0])
        return qc_dataset(
            scans.mz,
            self.intervals,
            self._blank_numbers(scans),
            None if calibration is None else _standards(calibration),
            carry_over=carry_over,
            attributes=attributes,
        )

    def _blank_numbers(self, scans: RawScans) -> BlankNumbers:
        empty = np.zeros((0, scans.mz.size))
        series = [(stream, one.series, one.hot(scans.mz)) for stream, one in self.blanks.items()]
        time_s = np.concatenate([np.zeros(0), *(one.time_s for _, one, _ in series)])
        order = np.argsort(time_s, kind="stable")
        codes = [np.full(one.time_s.size, stream.code, dtype=np.int8) for stream, one, _ in series]
        return BlankNumbers(
            _times(scans.start_s + time_s[order]),
            np.concatenate([np.zeros(0, dtype=np.int8), *codes])[order],
            np.concatenate([empty, *(one.intensity for _, one, _ in series)])[order],
            np.sqrt(np.concatenate([empty, *(one.variance for _, one, _ in series)]))[order],
            np.concatenate([empty.astype(np.bool_), *(hot for _, _, hot in series)])[order],
        )


@dataclass(slots=True)
class _BlankCounter:
    series: BlankSeries
    total: Floats  # (run, mz)
    variance: Floats
    count: Floats

    @classmethod
    def start(cls, series: BlankSeries) -> _BlankCounter:
        return cls(series, *(np.zeros_like(series.intensity) for _ in range(3)))

    def add(self, time_s: Floats, difference: Floats, variance: Floats) -> None:
        known = np.isfinite(difference)
        middles = 0.5 * (self.series.time_s[1:] + self.series.time_s[:-1])
        run = np.searchsorted(middles, time_s)
        low, high = int(run.min()), int(run.max()) + 1
        ones = np.ones(run.size)
        pick = sparse.csr_array((ones, (run - low, np.arange(run.size))), shape=(high - low, run.size))
        self.total[low:high] += pick @ np.where(known, difference, 0.0)
        self.variance[low:high] += pick @ np.where(known, variance, 0.0)
        self.count[low:high] += pick @ known.astype(np.float64)

    def hot(self, mz: Floats) -> NDArray[np.bool_]:
        """Tell where the blank is above the mean of the samples nearest to it: bool (run, mz)."""
        count = np.maximum(self.count, 1.0)
        sigma = np.sqrt(self.variance / count**2 + np.nan_to_num(self.series.variance))
        below = -self.total / count
        with np.errstate(invalid="ignore"):
            found: NDArray[np.bool_] = (
                (below > _HOT_SIGMAS * sigma) & (below > _HOT_SHARE * self.series.intensity) & ~np.isin(mz, AIR_MZ)
            )
        return found


def _standards(calibration: Calibration) -> StandardNumbers | None:
    """Lay the recoveries and the drift of a calibration out by run of standards."""
    seen = sorted({(one.time_s, one.stream) for one in calibration.recoveries})
    if not seen:
        return None
    gases = tuple(dict.fromkeys(one.gas for one in calibration.recoveries))
    ratio, sigma = (np.full((len(seen), len(gases)), np.nan) for _ in range(2))
    for one in calibration.recoveries:
        place = seen.index((one.time_s, one.stream)), gases.index(one.gas)
        ratio[place], sigma[place] = one.ratio, one.sigma
    drift = {name: np.full(len(seen), np.nan) for name in ("gain", "gain_sigma", "tilt", "tilt_sigma")}
    for series in (calibration.raw_drift, calibration.steadied_drift):  # the latter where a stream has both
        for at, time_s in enumerate(series.time_s):
            row = [place for place, (seen_s, _) in enumerate(seen) if abs(seen_s - time_s) < 1e-3]  # noqa: PLR2004 - the same run
            for name, column in drift.items():
                column[row] = getattr(series, name)[at]
    return StandardNumbers(
        time=_times(np.array([time_s for time_s, _ in seen])),
        stream=np.array([Stream(stream).code for _, stream in seen], dtype=np.int8),
        gases=gases,
        recovery=ratio,
        recovery_sigma=sigma,
        **drift,
    )


def _times(seconds: Floats) -> NDArray[np.datetime64]:
    times: NDArray[np.datetime64] = np.round(seconds * 1e9).astype(np.int64).astype("datetime64[ns]")
    return times
