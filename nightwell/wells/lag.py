"""Depth registration: which depth the gas of a moment comes from.

Mud that leaves the bit at ``t0`` reaches the trap when the pumps have delivered the annulus above the bit, and the gas
reaches the instrument a line delay later::

    integral of q dt from t0 to t - delay = V_annulus(bit depth at t0)

With ``P(t)`` the volume pumped so far, ``P(t - delay) = P(t0) + V(t0)``: the right side is a table over the drilling
series that is inverted by interpolation. Where the bit goes up, the right side falls; only its running maximum is
kept, for mud that is released below mud released earlier cannot overtake it. Mud that passed a bit hanging above the
bottom belongs to no new rock: it is flagged, whatever depth the bit had.

Cuttings fall back through the mud that lifts them. At a transport ratio ``r`` (their velocity over the mud's) they need
``V / r`` instead of ``V``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.annulus import Annulus, annulus_of
from nightwell.wells.carbide import pipe_volume_m3, scale_of_checks
from nightwell.wells.pumped import Pumped, pumped_of
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]

#: One-sigma error of the annular volume, relative, without carbide checks: washed-out hole and pump efficiency.
VOLUME_ERROR = 0.05

#: One-sigma error of the time that gas needs in the line from the trap [s].
DELAY_ERROR_S = 5.0

#: Below this flow the mud counts as standing [m3/s].
MIN_FLOW_M3_S = 1e-4

#: A bit this far above the bottom is off it: more than heave, less than a single joint [m].
OFF_BOTTOM_M = 2.0

_CUTTINGS = (Stream.CUTTINGS_BACKGROUND.code, Stream.CUTTINGS_CRUSH.code)


@dataclass(frozen=True, slots=True)
class Registration:
    """Depth of each scan.

    Parameters
    ----------
    depth_m
        float64 (scan); NaN where the scan cannot be placed (before the first mud arrives).
    depth_error_m
        float64 (scan); one sigma, from the errors of the volume and of the line's delay; zero for samples that carry
        their depth.
    no_circulation
        bool (scan): mud stood still when the gas was trapped, so the scan repeats older gas.
    off_bottom
        bool (scan): the bit was not drilling, or hung above the bottom, when this mud passed it.
    entered
        datetime64[ns] (scan): when an instrument at the trap saw the mud that went into the pipe to become this scan's;
        NaT where unknown. ``None`` when no scan is registered by lag.
    """

    depth_m: Floats
    depth_error_m: Floats
    no_circulation: NDArray[np.bool_]
    off_bottom: NDArray[np.bool_]
    entered: NDArray[np.datetime64] | None = None


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
    pumped = pumped_of(drilling)
    delay_s = float(drilling.attrs["gas_line_delay_s"])
    return _register(pumped, pumped.seconds(time) - delay_s, drilling, annulus, volume_error)


def register_cuttings(
    collected: NDArray[np.datetime64],
    drilling: xr.Dataset,
    annulus: Annulus,
    *,
    transport_ratio: float = 1.0,
    volume_error: float = VOLUME_ERROR,
) -> Registration:
    """Register cuttings by the time they were collected at the shakers.

    Parameters
    ----------
    collected
        datetime64[ns], UTC.
    drilling, annulus, volume_error
        As for :func:`register_times`; no line delays cuttings.
    transport_ratio
        Velocity of the cuttings over that of the mud: 1 without slip (:func:`transport_ratio_of_check` measures it).

    Raises
    ------
    InputError
        A ratio outside (0, 1], or as :func:`register_times`.
    """
    if not 0.0 < transport_ratio <= 1.0:
        raise InputError(
            "transport ratio of the cuttings",
            expected="above 0 and up to 1 (no slip)",
            found=f"{transport_ratio:g}",
            cause="the slip was given instead, or the ratio of the times",
            next_step="give the velocity of the cuttings divided by that of the mud",
        )
    pumped = pumped_of(drilling)
    return _register(pumped, pumped.seconds(collected), drilling, annulus.scaled(1.0 / transport_ratio), volume_error)


def transport_ratio_of_check(mud_strokes: float, cuttings_strokes: float) -> float:
    """Return the transport ratio that a lag check tells: strokes until the mud and until solids (rice) came up."""
    return mud_strokes / cuttings_strokes


def register_scans(
    tree: xr.DataTree, annulus: Annulus | None = None, *, volume_error: float | None = None
) -> Registration:
    """Register all scans of a well: gas by lag, cuttings by when they were collected, the rest by their own depth.

    Parameters
    ----------
    tree
        Raw scans. Carbide checks in ``/carbide`` scale the annulus and say how well it is known; the attribute
        ``cuttings_transport_ratio`` of ``/drilling`` (1 without it) is that of the cuttings.
    annulus
        Volume above each depth, before checks; by default what the raw scans themselves say.
    volume_error
        Relative one-sigma; by default that of the carbide checks, or 5 % without them.

    Raises
    ------
    InputError
        A gas stream without drilling series, a series that never moves the mud, or an implausible carbide check.
    """
    scans = tree["scans"].to_dataset()
    size = scans.sizes["scan"]
    depth = scans["sample_depth"].to_numpy().copy() if "sample_depth" in scans else np.full(size, np.nan)
    error = np.where(np.isnan(depth), np.nan, 0.0)
    standing, off_bottom = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    stream = scans["stream"].to_numpy()
    collected = scans["collected"].to_numpy() if "collected" in scans else np.full(size, np.datetime64("NaT", "ns"))
    gas = (stream == Stream.TRAP_GAS.code) & np.isnan(depth)
    cuttings = np.isin(stream, _CUTTINGS) & np.isnan(depth) & ~np.isnat(collected)
    if not (gas.any() or cuttings.any()):
        return Registration(depth, error, standing, off_bottom)
    if "drilling" not in tree.children:
        raise _no_drilling(int(gas.sum()) or int(cuttings.sum()))
    drilling = tree["drilling"].to_dataset()
    hole, known = _hole(tree, drilling, annulus)
    sigma = volume_error if volume_error is not None else known
    entered = np.full(size, np.datetime64("NaT", "ns"))
    ratio = float(drilling.attrs.get("cuttings_transport_ratio", 1.0))
    found: list[tuple[NDArray[np.bool_], Registration]] = []
    if gas.any():
        found.append((gas, register_times(scans["time"].to_numpy()[gas], drilling, hole, volume_error=sigma)))
    if cuttings.any():
        by_shaker = register_cuttings(collected[cuttings], drilling, hole, transport_ratio=ratio, volume_error=sigma)
        found.append((cuttings, by_shaker))
    for rows, one in found:
        depth[rows], error[rows] = one.depth_m, one.depth_error_m
        standing[rows], off_bottom[rows] = one.no_circulation, one.off_bottom
        if rows is gas and one.entered is not None:
            entered[rows] = one.entered
    return Registration(depth, error, standing, off_bottom, entered)


def _hole(tree: xr.DataTree, drilling: xr.Dataset, annulus: Annulus | None) -> tuple[Annulus, float]:
    """Return the annulus, scaled by carbide checks where there are some, and its relative error."""
    hole = annulus or annulus_of(tree)
    if "carbide" not in tree.children:
        return hole, VOLUME_ERROR
    scale = scale_of_checks(drilling, hole, tree["carbide"].to_dataset())
    return scale.apply(hole), scale.sigma


def _register(
    pumped: Pumped, trapped_s: Floats, drilling: xr.Dataset, annulus: Annulus, volume_error: float
) -> Registration:
    above = annulus.volume_above(pumped.bit_m)
    delivered = pumped.volume_at(trapped_s)
    needed = pumped.volume_m3 + above
    released_s = _released(delivered, needed, pumped.clock_s)
    depth = pumped.bit_at(released_s)

    def depth_of(moment_s: Floats, volume: Floats) -> Floats:
        return pumped.bit_at(_released(pumped.volume_at(moment_s), pumped.volume_m3 + volume, pumped.clock_s))

    by_volume = 0.5 * np.abs(
        depth_of(trapped_s, above * (1.0 - volume_error)) - depth_of(trapped_s, above * (1.0 + volume_error))
    )
    by_delay = 0.5 * np.abs(depth_of(trapped_s + DELAY_ERROR_S, above) - depth_of(trapped_s - DELAY_ERROR_S, above))
    bottom = np.interp(released_s, pumped.clock_s, np.maximum.accumulate(pumped.bit_m))
    entered_s = pumped.when(pumped.volume_at(released_s) - pipe_volume_m3(drilling, depth))
    return Registration(
        depth_m=depth,
        depth_error_m=np.hypot(by_volume, np.nan_to_num(by_delay, nan=0.0)),
        no_circulation=np.interp(trapped_s, pumped.clock_s, pumped.flow) <= MIN_FLOW_M3_S,
        off_bottom=(np.interp(released_s, pumped.clock_s, pumped.rop) <= 0.0) | (depth < bottom - OFF_BOTTOM_M),
        entered=pumped.times(entered_s + float(drilling.attrs["gas_line_delay_s"])),
    )


def _released(delivered: Floats, needed: Floats, clock_s: Floats) -> Floats:
    """Invert ``needed(clock_s)``: when the mud left the bit that arrives when so much has been delivered."""
    rising = np.concatenate(([True], needed[1:] > np.maximum.accumulate(needed)[:-1]))
    return np.asarray(np.interp(delivered, needed[rising], clock_s[rising], left=np.nan), dtype=np.float64)


def _no_drilling(scans: int) -> InputError:
    return InputError(
        "group '/drilling'",
        expected="bit depth and flow against time, to register the gas stream by lag",
        found=f"none, with {scans} scans of the gas stream",
        cause="the spectra were imported without drilling parameters",
        next_step="import the drilling parameters with the spectra, or give the scans a sample depth",
    )
