"""One session of acquisition, from what a person asks for: instrument, rig, clock and archive round the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

import numpy as np
import xarray as xr

from nightwell.errors import InputError
from nightwell.wells.acquire.archive import ScanArchive
from nightwell.wells.acquire.clock import Clock, SimulatedClock, SystemClock, moment_of
from nightwell.wells.acquire.engine import Acquired, Engine, EngineSettings
from nightwell.wells.acquire.feed import RecordFeed, RigFeed, SeriesFeed
from nightwell.wells.acquire.plan import Progress
from nightwell.wells.acquire.port import Spectrometer
from nightwell.wells.acquire.replay import ReplaySpectrometer, drilling_of_recording, schedule_of_recording
from nightwell.wells.acquire.schedule import Element, Schedule, parse_schedule, read_schedule
from nightwell.wells.acquire.simulated import SimulatedSpectrometer
from nightwell.wells.acquire.srs_rga import SrsRgaSpectrometer
from nightwell.wells.acquire.valve import CommandValve, NoValve, Valve
from nightwell.wells.acquire.wits_feed import WitsAddress, WitsFeed
from nightwell.wells.archive import Place
from nightwell.wells.composition import composition_of_log, published_composition
from nightwell.wells.container import open_scans
from nightwell.wells.contract import Origin
from nightwell.wells.gas_log import import_gas_log
from nightwell.wells.quadrupole import import_quadrupole
from nightwell.wells.rig import DrillingSeries, Rig, drill
from nightwell.wells.simulate import Simulation


class InstrumentDriver(StrEnum):
    """The instrument drivers that can be named."""

    SIMULATED = "simulated"
    REPLAY = "replay"
    SRS_RGA = "srs-rga"


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for.

    Parameters
    ----------
    well
        Name of the well.
    driver
        Which instrument.
    schedule
        The schedule's file; None: the one that ships, or of a recording what stands in it.
    recording
        ``replay``: a folder of raw scans, or a CSV of quadrupole software.
    gas_log
        ``simulated``: a gas log to simulate from; None: published gases.
    drilling
        A record of the rig in time that is appended to while it drills; with ``wits`` the file that the stream is kept
        in, made when it is missing.
    wits
        ``srs-rga``: the rig's live WITS stream.
    device, valve_command, multiplier
        ``srs-rga``: serial device; program that turns the inlet valve (empty: one inlet, port 1); electron multiplier.
    real_time
        ``simulated``: at the pace of time instead of as fast as can be.
    seed
        ``simulated``: of noise and drift.
    """

    well: str
    driver: InstrumentDriver
    schedule: Path | None = None
    recording: Path | None = None
    gas_log: Path | None = None
    drilling: Path | None = None
    wits: WitsAddress | None = None
    device: str = ""
    valve_command: tuple[str, ...] = ()
    multiplier: bool = False
    real_time: bool = False
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop of oneself: after so many scans, after so long (of the instrument's time), or neither."""

    scans: int | None = None
    hours: float | None = None


@dataclass(frozen=True, slots=True)
class _Parts:
    schedule: Schedule
    text: str
    instrument: Spectrometer
    clock: Clock
    rig: RigFeed | None
    end: np.datetime64 | None = None
    close_rig: Callable[[], None] = lambda: None


def acquire(
    request: Request,
    place: Place,
    *,
    limits: Limits | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_scan: Callable[[Element, Progress], None] | None = None,
    settings: EngineSettings | None = None,
) -> Acquired:
    """Acquire a well, or go on with one.

    Parameters
    ----------
    request
        What, and with which instrument.
    place
        Where raw scans are kept, with the results.
    limits
        When to stop.
    stop
        Asked after every scan.
    on_scan
        Called after every commit.
    settings
        How the engine takes what goes wrong.

    Raises
    ------
    NightwellError
        As :meth:`nightwell.wells.acquire.engine.Engine.run` and the drivers; what was committed before stays.
    """
    limits = limits or Limits()
    archive = ScanArchive(place, request.well)
    parts = _parts(request, archive.progress() if archive.exists() else None)

    def connect(progress: Progress | None) -> Origin:
        parts.instrument.connect(0 if progress is None else progress.scans)
        facts = parts.instrument.facts
        return Origin(request.well, facts.instrument, facts.simulated, facts.provenance)

    delay_s = None if parts.rig is None else parts.rig.gas_line_delay_s
    try:
        with archive.writing(connect, parts.schedule.mz, parts.text, delay_s) as writer:
            end = _end(parts, limits)
            engine = Engine(
                parts.schedule,
                parts.instrument,
                writer,
                parts.clock,
                rig=parts.rig,
                settings=settings,
                on_scan=on_scan,
            )
            return engine.run(
                stop=lambda: stop() or (end is not None and bool(parts.clock.now() >= end)), scans=limits.scans
            )
    finally:
        parts.close_rig()
        parts.instrument.close()


def shipped_schedule() -> str:
    """Return the text of the schedule that ships: all four streams."""
    return files("nightwell.wells.acquire").joinpath("four_streams.toml").read_text(encoding="utf-8")


def _end(parts: _Parts, limits: Limits) -> np.datetime64 | None:
    if limits.hours is None:
        return parts.end
    asked = parts.clock.now() + np.timedelta64(timedelta(hours=limits.hours))
    return asked if parts.end is None else min(asked, parts.end)


def _parts(request: Request, progress: Progress | None) -> _Parts:
    _refuse_what_does_not_belong(request)
    if request.driver is InstrumentDriver.REPLAY:
        return _replayed(request)
    text = shipped_schedule() if request.schedule is None else request.schedule.read_text(encoding="utf-8")
    source = "four_streams.toml" if request.schedule is None else request.schedule.name
    schedule = parse_schedule(text, source=source)
    if request.driver is InstrumentDriver.SIMULATED:
        return _simulated(request, schedule, text, progress)
    valve: Valve = CommandValve(request.valve_command) if request.valve_command else NoValve(1)
    instrument = SrsRgaSpectrometer(request.device, valve, multiplier=request.multiplier)
    clock = SystemClock()
    if request.wits is not None:
        live = WitsFeed(request.wits, Rig(), record=request.drilling, now=clock.now)
        return _Parts(schedule, text, instrument, clock, live.start(), close_rig=live.close)
    rig = None if request.drilling is None else RecordFeed(request.drilling, Rig())
    return _Parts(schedule, text, instrument, clock, rig)


def _simulated(request: Request, schedule: Schedule, text: str, progress: Progress | None) -> _Parts:
    composition = (
        published_composition(seed=request.seed)
        if request.gas_log is None
        else composition_of_log(import_gas_log(request.gas_log, well=request.well), seed=request.seed)
    )
    clock: Clock
    if request.real_time:  # the well begins now, or when it was begun
        began = SystemClock().now() if progress is None else moment_of(progress.began_s)
        rig, clock = Rig(start=began), SystemClock()
    else:
        rig = Rig()
        clock = SimulatedClock(rig.start if progress is None or progress.end_s is None else moment_of(progress.end_s))
    series = drill(composition.depth_m, None, rig)
    settings = Simulation(seed=request.seed, rig=rig)
    memory = schedule.carry_over.decays
    instrument = SimulatedSpectrometer(composition, series, clock, settings=settings, memory=memory)
    return _Parts(schedule, text, instrument, clock, SeriesFeed(series, rig.gas_line_delay_s), series.time[-1])


def _replayed(request: Request) -> _Parts:
    assert request.recording is not None, "checked before"
    scans = _recorded(request.recording)
    schedule = schedule_of_recording(scans)
    text = "as recorded"
    if request.schedule is not None:
        schedule = read_schedule(request.schedule)
        text = request.schedule.read_text(encoding="utf-8")
    series: DrillingSeries | None = drilling_of_recording(scans)
    delay_s = float(scans["drilling"].attrs["gas_line_delay_s"]) if series is not None else 0.0
    feed = None if series is None else SeriesFeed(series, delay_s)
    instrument = ReplaySpectrometer(scans, source=request.recording.name)
    return _Parts(schedule, text, instrument, SystemClock(), feed)


def _recorded(path: Path) -> xr.DataTree:
    return open_scans(path) if path.is_dir() else import_quadrupole(path).scans


def _refuse_what_does_not_belong(request: Request) -> None:
    belongs = {
        "recording": (InstrumentDriver.REPLAY, request.recording is not None, True),
        "gas log": (InstrumentDriver.SIMULATED, request.gas_log is not None, False),
        "device": (InstrumentDriver.SRS_RGA, bool(request.device), True),
        "valve command": (InstrumentDriver.SRS_RGA, bool(request.valve_command), False),
        "drilling record": (InstrumentDriver.SRS_RGA, request.drilling is not None, False),
        "WITS stream": (InstrumentDriver.SRS_RGA, request.wits is not None, False),
    }
    for what, (driver, given, needed) in belongs.items():
        if given and request.driver is not driver:
            raise _refuse(request, f"a {what} with driver {driver} only", "one")
        if needed and not given and request.driver is driver:
            raise _refuse(request, f"a {what}", "none")


def _refuse(request: Request, expected: str, found: str) -> InputError:
    return InputError(
        f"acquisition of well '{request.well}' by driver {request.driver}",
        expected=expected,
        found=found,
        cause="the options of one driver were given to another, or one was left out",
        next_step="see `nightwell well acquire --help`",
    )
