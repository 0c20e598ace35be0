"""The mud that the pumps have moved, from the drilling series: the clock of everything that travels with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError

Floats = NDArray[np.float64]

_STEP_S = 5.0
_MAX_STEPS = 1_000_000  # 58 days at 5 s; beyond, steps grow and memory does not


@dataclass(frozen=True, slots=True)
class Pumped:
    """A drilling series on a clock fine enough to add up its flow.

    Parameters
    ----------
    start
        Time of the first row.
    clock_s
        float64 (step): seconds since ``start``.
    flow, bit_m, rop
        float64 (step): m3/s, m, m/h.
    volume_m3
        float64 (step): pumped since ``start``; never falls.
    """

    start: np.datetime64
    clock_s: Floats
    flow: Floats
    bit_m: Floats
    rop: Floats
    volume_m3: Floats

    def seconds(self, time: NDArray[np.datetime64]) -> Floats:
        """Return times as seconds since ``start``; NaT is NaN."""
        since = (time - self.start).astype("timedelta64[ns]")
        return np.where(np.isnat(since), np.nan, since.astype(np.int64) / 1e9)

    def times(self, seconds: Floats) -> NDArray[np.datetime64]:
        """Return seconds since ``start`` as times; NaN is NaT."""
        known = ~np.isnan(seconds)
        since = (np.where(known, seconds, 0.0) * 1e9).round().astype(np.int64).astype("timedelta64[ns]")
        times: NDArray[np.datetime64] = np.where(known, self.start + since, np.datetime64("NaT", "ns"))
        return times

    def volume_at(self, seconds: Floats) -> Floats:
        """Return the volume pumped by a moment [m3]; NaN outside the series."""
        return np.asarray(np.interp(seconds, self.clock_s, self.volume_m3, left=np.nan, right=np.nan), dtype=np.float64)

    def bit_at(self, seconds: Floats) -> Floats:
        """Return the depth of the bit at a moment [m]; NaN outside the series."""
        return np.asarray(np.interp(seconds, self.clock_s, self.bit_m, left=np.nan, right=np.nan), dtype=np.float64)

    def when(self, volume_m3: Floats) -> Floats:
        """Return the last moment by which no more than a volume had been pumped [s]; NaN before the series."""
        rising = np.concatenate((self.volume_m3[1:] > self.volume_m3[:-1], [True]))
        found = np.interp(volume_m3, self.volume_m3[rising], self.clock_s[rising], left=np.nan)
        return np.asarray(found, dtype=np.float64)


def pumped_of(drilling: xr.Dataset) -> Pumped:
    """Return the mud that the pumps of a drilling series have moved.

    Parameters
    ----------
    drilling
        Group ``/drilling``. Missing flow counts as none; missing bit depth is interpolated.

    Raises
    ------
    InputError
        The series is too short, or its flow never moves the mud.
    """
    times = drilling["time"].to_numpy()
    if times.size < 2:  # noqa: PLR2004 - an interval needs two ends
        raise InputError(
            "group '/drilling'",
            expected="a series of at least two rows",
            found=f"{times.size}",
            cause="the drilling parameters were cut to another interval",
            next_step="import the drilling parameters of the interval",
        )
    rows_s = (times - times[0]).astype("timedelta64[ns]").astype(np.int64) / 1e9
    clock_s = _refined(rows_s)
    flow = np.interp(clock_s, rows_s, np.nan_to_num(drilling["flow"].to_numpy(), nan=0.0))
    volume = np.concatenate(([0.0], np.cumsum(0.5 * (flow[1:] + flow[:-1]) * np.diff(clock_s))))
    if volume[-1] <= 0.0:
        raise _no_flow(float(flow.max(initial=0.0)))
    return Pumped(
        start=times[0],
        clock_s=clock_s,
        flow=flow,
        bit_m=np.interp(clock_s, rows_s, _filled(rows_s, drilling["bit_depth"].to_numpy())),
        rop=np.interp(clock_s, rows_s, np.nan_to_num(drilling["rop"].to_numpy(), nan=0.0)),
        volume_m3=volume,
    )


def _refined(rows_s: Floats) -> Floats:
    """Add rows where the series is sparse: the volume pumped is curved between rows whose flows differ."""
    step_s = max(_STEP_S, (rows_s[-1] - rows_s[0]) / _MAX_STEPS)
    return np.union1d(rows_s, np.arange(rows_s[0], rows_s[-1], step_s))


def _filled(clock_s: Floats, values: Floats) -> Floats:
    known = ~np.isnan(values)
    return values if known.all() or not known.any() else np.interp(clock_s, clock_s[known], values[known])


def _no_flow(largest: float) -> InputError:
    return InputError(
        "variable 'flow' of group '/drilling'",
        expected="mud that moves",
        found=f"a largest flow of {largest:g} m3/s",
        cause="the pump sensor was not recorded",
        next_step="give the flow, or pump strokes and pump output",
    )
