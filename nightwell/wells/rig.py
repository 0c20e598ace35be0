"""A drilling series in time, made from rates of penetration in depth: the clock of a simulated or replayed well."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.drilling import STROKES, DrillingLog

Floats = NDArray[np.float64]

#: Rates slower than this are tools that were stopped, not drilling [m/h].
_MIN_ROP_M_H = 1.0


@dataclass(frozen=True, slots=True)
class Rig:
    """How the simulated rig works.

    Parameters
    ----------
    start
        Time of the first row, UTC.
    stand_m, connection_s
        Pipe is added every ``stand_m``; the pumps then stand still for ``connection_s``.
    gas_line_delay_s
        From the trap to the instrument.
    rop_m_h, flow_m3_s, hole_diameter_m, pipe_diameter_m
        Taken where the drilling log has none.
    pump_output_m3
        What one stroke of a pump delivers (:func:`~nightwell.wells.annulus.triplex_output_m3`); needed when a record
        carries strokes and no flow.
    """

    start: np.datetime64 = np.datetime64("2024-01-01T00:00:00", "ns")  # noqa: RUF009 - immutable
    stand_m: float = 28.0
    connection_s: float = 300.0
    gas_line_delay_s: float = 45.0
    rop_m_h: float = 20.0
    flow_m3_s: float = 0.06
    hole_diameter_m: float = 0.31115  # 12 1/4 in
    pipe_diameter_m: float = 0.1397  # 5 1/2 in
    pump_output_m3: float | None = None


@dataclass(frozen=True, slots=True)
class DrillingSeries:
    """Arrays of the contract's group ``/drilling``, and what in them is simulated."""

    time: NDArray[np.datetime64]
    bit_depth: Floats
    rop: Floats
    flow: Floats
    hole_diameter: Floats
    pipe_diameter: Floats
    provenance: str
    gas_out: Floats | None = None
    gas_in: Floats | None = None

    def values(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by variable name, those that are known."""
        names = ("time", "bit_depth", "rop", "flow", "hole_diameter", "pipe_diameter", "gas_out", "gas_in")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def drill(depth_m: Floats, log: DrillingLog | None, rig: Rig) -> DrillingSeries:
    """Return the series of a rig that drills through given depths.

    Parameters
    ----------
    depth_m
        Increasing depths; the series begins at the first and ends at the last, plus one circulation.
    log
        Drilling parameters by depth; ``None`` for the rig's constants.
    rig
        Constants, connections and start.

    Returns
    -------
    DrillingSeries
        One row per depth, three per connection, and the last circulation with the bit on bottom, not drilling.
    """
    channels: Mapping[str, Floats] = {} if log is None else log.channels
    rop = np.maximum(_on(depth_m, channels, "rop", rig.rop_m_h), _MIN_ROP_M_H)
    flow = _on(depth_m, channels, "flow", rig.flow_m3_s)
    flow = np.where(flow > 0.0, flow, rig.flow_m3_s)
    hole = _on(depth_m, channels, "hole_diameter", rig.hole_diameter_m)
    pipe = _on(depth_m, channels, "pipe_diameter", rig.pipe_diameter_m)

    drilling_s = np.concatenate(([0.0], np.diff(depth_m) / rop[1:] * 3600.0))
    stands = np.floor((depth_m - depth_m[0]) / rig.stand_m)
    connected = np.concatenate((stands[1:] > stands[:-1], [False]))  # after reaching this depth
    waits_s = np.concatenate(([0.0], np.cumsum(connected[:-1]) * rig.connection_s))
    clock_s = np.cumsum(drilling_s) + waits_s

    # Each part of the series: seconds, row of the depths, pumps on, bit drilling.
    rows = [(clock_s, np.arange(depth_m.size), np.ones(depth_m.size), np.ones(depth_m.size))]
    at = np.flatnonzero(connected)
    for offset_s, pumping in ((1.0, 0.0), (rig.connection_s - 1.0, 0.0), (rig.connection_s, 1.0)):
        rows.append((clock_s[at] + offset_s, at, np.full(at.size, pumping), np.zeros(at.size)))
    last = np.full(2, depth_m.size - 1)
    circulation_s = 1.5 * depth_m[-1] * np.pi / 4.0 * hole[-1] ** 2 / flow[-1]
    rows.append((clock_s[-1] + np.array([1.0, circulation_s]), last, np.ones(2), np.zeros(2)))

    seconds, index, pumping_on, drilling_on = (np.concatenate(part) for part in zip(*rows, strict=True))
    order = np.argsort(seconds, kind="stable")
    index = index[order]
    return DrillingSeries(
        time=rig.start + (seconds[order] * 1e9).astype(np.int64).astype("timedelta64[ns]"),
        bit_depth=depth_m[index],
        rop=rop[index] * drilling_on[order],
        flow=flow[index] * pumping_on[order],
        hole_diameter=hole[index],
        pipe_diameter=pipe[index],
        provenance=_provenance(log, channels.keys()),
    )


def _on(depth_m: Floats, channels: Mapping[str, Floats], name: str, constant: float) -> Floats:
    values = channels.get(name)
    if values is None or np.isnan(values).all():
        return np.full(depth_m.size, constant)
    known = ~np.isnan(values)
    return np.interp(depth_m, channels["depth"][known], values[known])


def _provenance(log: DrillingLog | None, names: Collection[str]) -> str:
    if log is None:
        return "Drilling series simulated: constant rate of penetration, flow and diameters, regular connections."
    wanted = ("rop", "flow", "hole_diameter", "pipe_diameter")
    measured = [name for name in wanted if name in names]
    assumed = [name for name in wanted if name not in measured]
    return (
        f"Drilling: {', '.join(measured)} by depth from {log.report.source}; simulated: the clock (from the rate of "
        f"penetration), connections{', ' if assumed else ''}{', '.join(assumed)}."
    )


def series_of_record(log: DrillingLog, rig: Rig) -> DrillingSeries:
    """Return the series of a record in time.

    Parameters
    ----------
    log
        A record in time. Missing values are interpolated in time; a rate of penetration that was not recorded is
        taken from the progress of the deepest bit depth.
    rig
        Diameters where the record has none, and what a stroke of the pumps delivers.

    Raises
    ------
    InputError
        The record carries strokes and no flow, and what a stroke delivers is not known.
    """
    assert log.time is not None
    seconds = (log.time - log.time[0]).astype("timedelta64[ns]").astype(np.int64) / 1e9
    flow, flow_from = _flow(log, rig)
    filled = {name: _without_gaps(seconds, values) for name, values in log.channels.items() if name != "depth"}
    bit = filled["bit_depth"]
    rop = filled.get("rop")
    if rop is None:
        deepest = np.maximum.accumulate(bit)
        rop = np.concatenate(([0.0], np.diff(deepest) / np.diff(seconds) * 3600.0))
    size = bit.size
    assumed = [name for name in ("hole_diameter", "pipe_diameter") if name not in filled]
    return DrillingSeries(
        time=log.time,
        bit_depth=bit,
        rop=rop,
        flow=_without_gaps(seconds, flow),
        hole_diameter=filled.get("hole_diameter", np.full(size, rig.hole_diameter_m)),
        pipe_diameter=filled.get("pipe_diameter", np.full(size, rig.pipe_diameter_m)),
        provenance=f"Drilling record measured, from {log.report.source}{flow_from}"
        + (f"; assumed: {', '.join(assumed)}." if assumed else "."),
        gas_out=log.channels.get("total_gas"),
        gas_in=log.channels.get("gas_in"),
    )


def _flow(log: DrillingLog, rig: Rig) -> tuple[Floats, str]:
    """Return the flow as recorded, or from the strokes of the pumps, and what is to be said of it."""
    recorded = log.channels.get("flow")
    if recorded is not None and not np.isnan(recorded).all():
        return recorded, ""
    strokes = [log.channels[name] for name in STROKES[1:] if name in log.channels]
    if "pump_strokes" in log.channels:
        strokes = [log.channels["pump_strokes"]]
    if not strokes or rig.pump_output_m3 is None:
        raise InputError(
            f"flow of {log.report.source}",
            expected="a recorded flow, or strokes of the pumps and what a stroke delivers",
            found="strokes only" if strokes else "no value",
            cause="the flow meter was off, and the pumps' liners were not given",
            next_step="give the output of a stroke (--pump-output, in m3)",
        )
    known = np.stack(strokes)
    total = np.where(np.isnan(known).all(axis=0), np.nan, np.nansum(known, axis=0))
    return total / 60.0 * rig.pump_output_m3, f"; flow from pump strokes of {rig.pump_output_m3:g} m3"


def _without_gaps(seconds: Floats, values: Floats) -> Floats:
    known = ~np.isnan(values)
    return values if known.all() or not known.any() else np.interp(seconds, seconds[known], values[known])
