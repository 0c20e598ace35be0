"""Numbers to judge a night by: blanks, standards, drift, saturation, negative currents and carry-over in time.

:func:`qc_dataset` lays them out as the group ``/qc`` of a cube and of an analysis; docs/calibration.md has its table.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]

#: Length of the intervals in which scans are counted.
INTERVAL_S = 3600.0


@dataclass(frozen=True, slots=True)
class BlankNumbers:
    """One entry per run of blanks: time (UTC), stream code; float64 (blank, mz) current above the baseline and sigma.

    ``hot`` bool (blank, mz): above the samples that it brackets, by more than three sigmas.
    """

    time: NDArray[np.datetime64]
    stream: NDArray[np.int8]
    current_a: Floats
    sigma_a: Floats
    hot: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class StandardNumbers:
    """One entry per run of standard scans; ``recovery`` (standard, gas) is found over certified, NaN for unknown.

    ``gain`` and ``tilt`` (standard): sensitivity against their mean, and the exponent by which it tilts with
    m/z / 28, each with its sigma.
    """

    time: NDArray[np.datetime64]
    stream: NDArray[np.int8]
    gases: tuple[str, ...]
    recovery: Floats
    recovery_sigma: Floats
    gain: Floats
    gain_sigma: Floats
    tilt: Floats
    tilt_sigma: Floats


@dataclass(slots=True)
class IntervalNumbers:
    """Counts over the scans of each interval, added up block by block."""

    start: np.datetime64
    mz_size: int
    scans: Floats = field(init=False)
    baseline_sum: Floats = field(init=False)
    gain_sum: Floats = field(init=False)
    saturated: Floats = field(init=False)
    negative: Floats = field(init=False)
    carried: Floats = field(init=False)
    size: int = 1

    def __post_init__(self) -> None:
        """Begin with nothing counted."""
        self.scans, self.baseline_sum, self.gain_sum = (np.zeros(self.size) for _ in range(3))
        self.saturated, self.negative, self.carried = (np.zeros((self.size, self.mz_size)) for _ in range(3))

    @classmethod
    def covering(cls, time: NDArray[np.datetime64], mz_size: int) -> IntervalNumbers:
        """Return empty intervals for scans of these times, increasing."""
        span_s = float((time[-1] - time[0]) / np.timedelta64(1, "s")) if time.size else 0.0
        start = time[0] if time.size else np.datetime64("1970-01-01", "ns")
        return cls(start, mz_size, size=int(span_s // INTERVAL_S) + 1)

    def add(
        self,
        time_s: Floats,
        *,
        baseline_a: Floats,
        gain: Floats,
        saturated: NDArray[np.bool_],
        carried: NDArray[np.bool_],
    ) -> None:
        """Count a block of scans: float64 (scan) seconds since the first, baseline, gain; bool (scan, mz) the rest."""
        at = self._place(time_s)
        self.scans += np.bincount(at, minlength=self.size)
        self.baseline_sum += np.bincount(at, weights=baseline_a, minlength=self.size)
        self.gain_sum += np.bincount(at, weights=gain, minlength=self.size)
        self._count(self.saturated, at, saturated)
        self._count(self.carried, at, carried)

    def add_negative(self, time_s: Floats, negative: NDArray[np.bool_]) -> None:
        """Count samples, bool (scan, mz), whose current is far below zero once the blank is gone."""
        self._count(self.negative, self._place(time_s), negative)

    def _place(self, time_s: Floats) -> NDArray[np.intp]:
        return np.clip((time_s // INTERVAL_S).astype(np.intp), 0, self.size - 1)

    @staticmethod
    def _count(total: Floats, at: NDArray[np.intp], seen: NDArray[np.bool_]) -> None:
        rows, columns = np.nonzero(seen)
        np.add.at(total, (at[rows], columns), 1.0)


def qc_dataset(
    mz: Floats,
    intervals: IntervalNumbers,
    blanks: BlankNumbers,
    standards: StandardNumbers | None = None,
    *,
    carry_over: tuple[tuple[str, ...], Floats, Floats] | None = None,
    attributes: dict[str, object] | None = None,
) -> xr.Dataset:
    """Lay the quality numbers of a well out as one dataset.

    Parameters
    ----------
    mz
        float64 (mz).
    intervals, blanks, standards
        What was counted and measured; no standards leaves their dimension empty.
    carry_over
        Species, the share of each that one scan leaves in the next at the usual interval, and its sigma.
    attributes
        Version of the calibration, dead time, shift of the m/z scale, in words and numbers.

    Returns
    -------
    xarray.Dataset
        Dims ``interval``, ``blank``, ``standard``, ``gas``, ``memory``, ``mz``; docs/calibration.md describes each.
    """
    count = np.maximum(intervals.scans, 1.0)
    empty = intervals.scans == 0
    step = (np.arange(intervals.size) * INTERVAL_S * 1e9).astype(np.int64).astype("timedelta64[ns]")
    standards = standards or _no_standards()
    remembered, share, share_sigma = carry_over or ((), np.zeros(0), np.zeros(0))
    codes = {"flag_values": list(range(len(Stream))), "flag_meanings": " ".join(Stream)}
    by_interval = {
        "baseline": (intervals.baseline_sum, "A", "mean current without ions, subtracted"),
        "gain": (intervals.gain_sum, "1", "mean factor that brought the internal standard to that of the blanks"),
    }
    by_interval_mz = {
        "saturated_share": (intervals.saturated, "share of scans above full scale, left out"),
        "negative_share": (intervals.negative, "share of samples more than four sigmas below zero, blank removed"),
        "carry_over_share": (intervals.carried, "share of scans with a carry-over above two sigmas, corrected"),
    }
    variables: dict[str, tuple[object, ...]] = {
        "interval_time": ("interval", intervals.start.astype("datetime64[ns]") + step, _named("start of the interval")),
        "scan_count": ("interval", intervals.scans.astype(np.int32), _named("scans in the interval", "1")),
    }
    for name, (total, unit, meaning) in by_interval.items():
        variables[name] = ("interval", np.where(empty, np.nan, total / count), _named(meaning, unit))
    for name, (total, meaning) in by_interval_mz.items():
        value = np.where(empty[:, None], np.nan, total / count[:, None]).astype(np.float32)
        variables[name] = (("interval", "mz"), value, _named(meaning, "1"))
    wide = ("blank", "mz")
    variables |= {
        "blank_time": ("blank", blanks.time, _named("middle of the run of blanks")),
        "blank_stream": ("blank", blanks.stream, _named("stream") | codes),
        "blank_intensity": (wide, blanks.current_a.astype(np.float32), _named("mean current, baseline removed", "A")),
        "blank_sigma": (wide, blanks.sigma_a.astype(np.float32), _named("one-sigma of that mean", "A")),
        "blank_hot": (wide, blanks.hot.astype(np.int8), _named("1: above the samples it brackets")),
        "carry_over": ("memory", share, _named("share of a scan that the next one still shows", "1")),
        "carry_over_sigma": ("memory", share_sigma, _named("one-sigma of that share", "1")),
        "standard_time": ("standard", standards.time, _named("middle of the run of standard scans")),
        "standard_stream": ("standard", standards.stream, _named("stream") | codes),
    }
    for name in ("recovery", "recovery_sigma"):
        meaning = "amount found over amount certified" if name == "recovery" else "one-sigma of that ratio"
        variables[name] = (("standard", "gas"), getattr(standards, name), _named(meaning, "1"))
    for name, meaning in (
        ("gain", "natural logarithm of the sensitivity over that of the mean of the standards, at m/z 28"),
        ("tilt", "exponent of (m/z / 28) by which it differs from that mean"),
    ):
        variables[f"drift_{name}"] = ("standard", getattr(standards, name), _named(meaning, "1"))
        variables[f"drift_{name}_sigma"] = ("standard", getattr(standards, f"{name}_sigma"), _named("one-sigma", "1"))
    coordinates: dict[str, tuple[object, ...]] = {
        "mz": ("mz", mz, {"units": "1"}),
        "gas": ("gas", np.array(standards.gases, dtype=object)),
    }
    coordinates["memory"] = ("memory", np.array(remembered, dtype=object))
    return xr.Dataset(variables, coords=coordinates, attrs=dict(attributes or {}))


def _named(meaning: str, unit: str = "") -> dict[str, object]:
    attributes: dict[str, object] = {"long_name": meaning}
    return attributes | ({"units": unit} if unit else {})


def _no_standards() -> StandardNumbers:
    nothing, none = np.zeros(0), np.zeros((0, 0))
    time = np.zeros(0, dtype="datetime64[ns]")
    return StandardNumbers(
        time, np.zeros(0, dtype=np.int8), (), none, none, nothing, nothing, nothing, nothing
    )  # fmt: skip
