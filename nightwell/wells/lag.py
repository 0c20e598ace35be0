"""Depth registration: which depth the gas of a moment comes from.

Mud that leaves the bit at ``t0`` reaches the trap when the pumps have delivered the annulus above the bit, and the gas
reaches the instrument a line delay later::

    integral of q dt from t0 to t - delay = V_annulus(bit depth at t0)

With ``P(t)`` the volume pumped so far, ``P(t - delay) = P(t0) + V(t0)``: the right side is a table over the drilling
series that is inverted by interpolation. Where the bit goes up, the right side falls; only its running maximum is
kept, for mud that is released below mud released earlier cannot overtake it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.annulus import Annulus, annulus_of
from nightwell.wells.streams import Stream

#: One-sigma error of the annular volume, relative: washed-out hole and pump efficiency.
VOLUME_ERROR = 0.05

#: Below this flow the mud counts as standing [m3/s].
MIN_FLOW_M3_S = 1e-4

_STEP_S = 5.0
_MAX_STEPS = 1_000_000  # 58 days at 5 s; beyond, steps grow and memory does not


@dataclass(frozen=True, slots=True)
class Registration:
    """Depth of each scan.

    Parameters
    ----------
    depth_m
        float64 (scan); NaN where the scan cannot be placed (before the first mud arrives).
    depth_error_m
        float64 (scan); one sigma, from the error of the volume; zero for discrete samples.
    no_circulation
        bool (scan): mud stood still when the gas was trapped, so the scan repeats older gas.
    off_bottom
        bool (scan): the bit was not drilling when this mud passed it.
    """

    depth_m: NDArray[np.float64]
    depth_error_m: NDArray[np.float64]
    no_circulation: NDArray[np.bool_]
    off_bottom: NDArray[np.bool_]


def register_times(
    time: NDArray[np.datetime64],
    drilling: xr.Dataset,
    annulus: Annulus,
    *,
    volume_error: float = VOLUME_ERROR,
) -> Registration:
    """Register times of the gas stream by lag.

    Parameters
    ----------
    time
        datetime64[ns], UTC, when the instrument saw the gas.
    drilling
        Group ``/drilling``, with its attribute ``gas_line_delay_s``.
    annulus
        Volume above each depth.
    volume_error
        One-sigma error of that volume, relative.

    Raises
    ------
    InputError
        The drilling series is too short, or its flow never moves the mud.
    """
    start = _start(drilling)
    rows_s = _seconds(drilling["time"].to_numpy(), start)
    clock_s = _refined(rows_s)
    flow = np.interp(clock_s, rows_s, np.nan_to_num(drilling["flow"].to_numpy(), nan=0.0))
    rop = np.interp(clock_s, rows_s, np.nan_to_num(drilling["rop"].to_numpy(), nan=0.0))
    bit = np.interp(clock_s, rows_s, _filled(rows_s, drilling["bit_depth"].to_numpy()))
    pumped = np.concatenate(([0.0], np.cumsum(0.5 * (flow[1:] + flow[:-1]) * np.diff(clock_s))))
    if pumped[-1] <= 0.0:
        raise _no_flow(float(flow.max(initial=0.0)))
    above = annulus.volume_above(bit)
    delay_s = float(drilling.attrs["gas_line_delay_s"])
    trapped_s = _seconds(time, start) - delay_s
    delivered = np.interp(trapped_s, clock_s, pumped, left=np.nan, right=np.nan)

    released_s = _released(delivered, pumped + above, clock_s)
    early = _released(delivered, pumped + above * (1.0 + volume_error), clock_s)
    late = _released(delivered, pumped + above * (1.0 - volume_error), clock_s)
    depth = _at(released_s, clock_s, bit)
    error = 0.5 * np.abs(_at(late, clock_s, bit) - _at(early, clock_s, bit))
    return Registration(
        depth_m=depth,
        depth_error_m=error,
        no_circulation=np.interp(trapped_s, clock_s, flow) <= MIN_FLOW_M3_S,
        off_bottom=_at(released_s, clock_s, rop) <= 0.0,
    )


def register_scans(
    tree: xr.DataTree, annulus: Annulus | None = None, *, volume_error: float = VOLUME_ERROR
) -> Registration:
    """Register all scans of a well: the gas stream by lag, discrete samples by their own depth.

    Parameters
    ----------
    tree
        Raw scans.
    annulus
        Volume above each depth; by default what the raw scans themselves say.
    volume_error
        As for :func:`register_times`.

    Raises
    ------
    InputError
        A gas stream without drilling series, or a series that never moves the mud.
    """
    scans = tree["scans"].to_dataset()
    size = scans.sizes["scan"]
    depth = scans["sample_depth"].to_numpy().copy() if "sample_depth" in scans else np.full(size, np.nan)
    error = np.where(np.isnan(depth), np.nan, 0.0)
    standing, off_bottom = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    lagged = (scans["stream"].to_numpy() == Stream.TRAP_GAS.code) & np.isnan(depth)
    if lagged.any():
        if "drilling" not in tree.children:
            raise _no_drilling(int(lagged.sum()))
        found = register_times(
            scans["time"].to_numpy()[lagged],
            tree["drilling"].to_dataset(),
            annulus or annulus_of(tree),
            volume_error=volume_error,
        )
        depth[lagged], error[lagged] = found.depth_m, found.depth_error_m
        standing[lagged], off_bottom[lagged] = found.no_circulation, found.off_bottom
    return Registration(depth, error, standing, off_bottom)


def _released(
    delivered: NDArray[np.float64], needed: NDArray[np.float64], clock_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Invert ``needed(clock_s)``: when the mud left the bit that arrives when so much has been delivered."""
    rising = np.concatenate(([True], needed[1:] > np.maximum.accumulate(needed)[:-1]))
    return np.interp(delivered, needed[rising], clock_s[rising], left=np.nan)


def _at(
    moment_s: NDArray[np.float64], clock_s: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.where(np.isnan(moment_s), np.nan, np.interp(moment_s, clock_s, values))


def _refined(rows_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add rows where the series is sparse: the volume pumped is curved between rows whose flows differ."""
    step_s = max(_STEP_S, (rows_s[-1] - rows_s[0]) / _MAX_STEPS)
    return np.union1d(rows_s, np.arange(rows_s[0], rows_s[-1], step_s))


def _filled(clock_s: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = ~np.isnan(values)
    return values if known.all() or not known.any() else np.interp(clock_s, clock_s[known], values[known])


def _start(drilling: xr.Dataset) -> np.datetime64:
    times = drilling["time"].to_numpy()
    if times.size < 2:  # noqa: PLR2004 - an interval needs two ends
        raise InputError(
            "group '/drilling'",
            expected="a series of at least two rows",
            found=f"{times.size}",
            cause="the drilling parameters were cut to another interval",
            next_step="import the drilling parameters of the interval",
        )
    start: np.datetime64 = times[0]
    return start


def _seconds(time: NDArray[np.datetime64], start: np.datetime64) -> NDArray[np.float64]:
    return (time - start).astype("timedelta64[ns]").astype(np.int64) / 1e9


def _no_flow(largest: float) -> InputError:
    return InputError(
        "variable 'flow' of group '/drilling'",
        expected="mud that moves",
        found=f"a largest flow of {largest:g} m3/s",
        cause="the pump sensor was not recorded",
        next_step="give the flow, or pump strokes and pump output",
    )


def _no_drilling(scans: int) -> InputError:
    return InputError(
        "group '/drilling'",
        expected="bit depth and flow against time, to register the gas stream by lag",
        found=f"none, with {scans} scans of the gas stream",
        cause="the spectra were imported without drilling parameters",
        next_step="import the drilling parameters with the spectra, or give the scans a sample depth",
    )
