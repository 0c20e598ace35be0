"""The engine: runs a schedule against an instrument and appends every scan as it arrives.

It is a loop of choose, switch, purge, settle, measure, append. What it knows between two scans stands in the archive
beside the scans, so killing it costs the scan in hand at the most, and the next run says so as a gap. A visit that was
cut short is not begun again: what was crushed cannot be crushed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nightwell.errors import ConflictError, InputError, NightwellError
from nightwell.wells.acquire.archive_layout import Gap, ScanRow
from nightwell.wells.acquire.clock import Clock, Moment, Watch, moment_of, seconds_of
from nightwell.wells.acquire.feed import RigFeed, RigState
from nightwell.wells.acquire.plan import (
    Choice,
    Due,
    Progress,
    begun,
    choose,
    gas_deadline_s,
    measured,
    purge_s,
    with_due,
)
from nightwell.wells.acquire.port import Inlet, Reading, Spectrometer
from nightwell.wells.acquire.schedule import Element, Schedule
from nightwell.wells.contract import GAP_REASONS, SCAN_FLAGS
from nightwell.wells.rig import DrillingSeries
from nightwell.wells.streams import ScanKind

T = TypeVar("T")

FLAG = {name: 1 << bit for bit, name in enumerate(SCAN_FLAGS)}
REASON = {name: code for code, name in enumerate(GAP_REASONS)}


class Appender(Protocol):
    """Where scans go; :class:`~nightwell.wells.acquire.archive.Writer` is one."""

    mz: tuple[int, ...]
    progress: Progress

    @property
    def last_drilling(self) -> np.datetime64 | None:
        """Time of the last drilling row."""

    def append(
        self, scan: ScanRow | None, drilling: DrillingSeries | None, gaps: Sequence[Gap], progress: Progress
    ) -> str:
        """Append all of it or nothing; return the version."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engine takes what goes wrong.

    Parameters
    ----------
    clock_tolerance_s
        Steps of the clock smaller than this are slewing, not jumps.
    retry_s, patience_s
        An instrument that does not answer is asked again every ``retry_s``, for ``patience_s`` at the most.
    poll_s
        How often to look whether something is due, when nothing is.
    source_gap_s
        A hole between two scans of a recording that is longer than this is said to be a gap.
    """

    clock_tolerance_s: float = 2.0
    retry_s: float = 5.0
    patience_s: float = 900.0
    poll_s: float = 1.0
    source_gap_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Acquired:
    """What a run of the engine did: scans and gaps by reason, scans that were late, and the archive's version."""

    scans: int = 0
    late: int = 0
    gaps: tuple[Gap, ...] = ()
    version: str = ""

    def count(self, reason: str) -> int:
        """Return how many gaps have a reason (one of ``GAP_REASONS``)."""
        return sum(gap.reason == REASON[reason] for gap in self.gaps)


class _NoAnswerError(Exception):
    """The instrument did not answer; the cause says why."""


class Engine:
    """Runs one schedule on one instrument.

    Parameters
    ----------
    schedule
        A schedule that can keep its rules.
    instrument
        Connected.
    writer
        Where scans go, with the progress so far.
    clock
        Time, and waiting.
    rig
        What the rig does; None: nothing is known of it, and no rule of drilling applies.
    settings
        How to take what goes wrong.
    on_scan
        Called after each commit with the scan's element and the progress.
    """

    def __init__(
        self,
        schedule: Schedule,
        instrument: Spectrometer,
        writer: Appender,
        clock: Clock,
        *,
        rig: RigFeed | None = None,
        settings: EngineSettings | None = None,
        on_scan: Callable[[Element, Progress], None] | None = None,
    ) -> None:
        self._schedule, self._instrument, self._writer = schedule, instrument, writer
        self._clock, self._rig = clock, rig
        self._settings = settings or EngineSettings()
        self._on_scan = on_scan
        self._columns = {mass: column for column, mass in enumerate(writer.mz)}
        self._gaps: list[Gap] = []
        self._interrupted: str | None = None
        self._failing_since_s: float | None = None
        self._done = Acquired()

    def run(self, *, stop: Callable[[], bool] = lambda: False, scans: int | None = None) -> Acquired:
        """Acquire until told to stop, until so many scans were taken, or to the end of a recording.

        Raises
        ------
        ConflictError
            The clock stands before the last scan; another engine appends to the well; a fault of the instrument.
        UnreachableError
            The instrument did not answer for longer than the patience, or the archive cannot be written.
        InputError
            The instrument cannot do what the schedule asks.
        """
        self._check_instrument()
        self._begin()
        while not stop() and (scans is None or self._done.scans < scans):
            limit = None if scans is None else scans - self._done.scans
            try:
                if not self._step(stop, limit):
                    break
            except _NoAnswerError as failure:
                self._wait_for_instrument(failure)
        return self._done

    # ------------------------------------------------------------ before the first scan

    def _check_instrument(self) -> None:
        facts, mz = self._instrument.facts, self._schedule.mz
        asked = {one.valve_port for one in self._schedule.element}
        if mz[0] < facts.first_mz or mz[-1] > facts.last_mz:
            found = f"m/z {mz[0]} to {mz[-1]} in the schedule"
            raise self._unfit(f"m/z {facts.first_mz} to {facts.last_mz}, which {facts.driver} measures", found)
        if facts.ports and not facts.leads and asked - facts.ports:
            found = f"valve ports {', '.join(map(str, sorted(asked - facts.ports)))} in the schedule"
            raise self._unfit(
                f"valve ports that {facts.driver} has ({', '.join(map(str, sorted(facts.ports)))})", found
            )

    def _unfit(self, expected: str, found: str) -> InputError:
        return InputError(
            f"schedule {self._schedule.name}",
            expected=expected,
            found=found,
            cause="the schedule was written for another instrument",
            next_step="change the schedule, or name the instrument that it is for",
        )

    def _begin(self) -> None:
        progress = self._writer.progress
        if progress.end_s is not None and not self._instrument.facts.leads:  # a recording waits for its reader
            self._interrupted = "stopped"
            self._refuse_an_early_clock(progress.end_s)
        self._watch = Watch(self._clock, tolerance_s=self._settings.clock_tolerance_s)
        if progress.scans == 0 and not self._instrument.facts.leads:
            progress = progress.model_copy(update={"began_s": seconds_of(self._watch.look().time)})
        # Where the valve stands, and what is in the line, nobody knows after a stop.
        self._progress = progress.model_copy(update={"port": None, "element": None})

    def _refuse_an_early_clock(self, end_s: float) -> None:
        behind_s = end_s - seconds_of(self._clock.now())
        if behind_s > self._settings.clock_tolerance_s:
            raise ConflictError(
                "the computer's clock",
                expected=f"a time after the last scan, {moment_of(end_s)} UTC",
                found=f"{self._clock.now()} UTC, {behind_s:.0f} s before it",
                cause="the clock was set back since, or was wrong while that scan was taken",
                next_step="set the clock right, or acquire under another well name: scans are never put out of order",
            )
        if behind_s > 0.0:
            self._clock.sleep(behind_s)

    # ------------------------------------------------------------ one visit

    def _step(self, stop: Callable[[], bool], limit: int | None) -> bool:
        """Do what comes next; False at the end of a recording."""
        if self._instrument.facts.leads:
            return self._follow()
        now = self._look()
        rig = self._rig_state(now.time)
        self._progress, missed = with_due(self._schedule, self._progress, seconds_of(now.time), rig)
        self._gaps += [self._missed(one, now.time) for one in missed]
        choice = choose(self._schedule, self._progress, seconds_of(now.time), rig)
        if choice is None:
            self._clock.sleep(self._settings.poll_s)
            return True
        self._visit(choice, stop, limit)
        return True

    def _visit(self, choice: Choice, stop: Callable[[], bool], limit: int | None) -> None:
        element = choice.element
        started_s = seconds_of(self._look().time)
        stays = self._progress.port == element.valve_port
        seconds, too_short = purge_s(self._schedule, self._progress, element)
        flag = FLAG["short_purge"] if too_short else 0
        self._ask(lambda: self._instrument.admit(_inlet(choice)))
        if not stays:
            self._clock.sleep(seconds + element.settle_s)
        for number in range(element.scans):
            if number and (stop() or number == limit):
                return
            start = self._look()
            reading = self._ask(lambda: self._instrument.measure(element.mz, element.dwell_s))
            end = self._look()
            late = FLAG["late"] if self._is_late(element, seconds_of(start.time), first=number == 0) else 0
            after = begun(self._progress, choice, started_s) if number == 0 else self._progress
            doubt = FLAG["clock_jumped"] if start.doubtful or end.doubtful or start.jump_s or end.jump_s else 0
            self._append(choice, reading, start.time, end.time, after, flag | late | doubt)

    def _follow(self) -> bool:
        """Take the next scan of a recording, whatever it is of."""
        inlet = self._instrument.upcoming()
        if inlet is None:
            return False
        fitting = [e for e in self._schedule.element if (e.stream, e.kind) == (inlet.stream, inlet.kind)]
        if not fitting:
            raise self._unfit("an element for each stream and kind of the recording", f"{inlet.stream} {inlet.kind}")
        choice = Choice(element=replace_port(fitting[0], inlet.port), depth_m=inlet.sample_depth_m)
        reading = self._ask(lambda: self._instrument.measure(fitting[0].mz, fitting[0].dwell_s))
        assert reading.time is not None, "a recording knows when its scans were taken"
        start_s, last_s = seconds_of(reading.time), self._progress.end_s
        if last_s is not None and start_s < last_s:
            self._refuse_an_earlier_scan(reading.time, last_s)
        if last_s is not None and start_s - last_s > self._settings.source_gap_s:
            self._gaps.append(Gap(moment_of(last_s), reading.time, REASON["source"]))
        late = FLAG["late"] if self._is_late(fitting[0], start_s, first=True) else 0
        progress = begun(self._progress, choice, start_s)
        self._append(choice, reading, reading.time, reading.time, progress, late)
        return True

    def _refuse_an_earlier_scan(self, time: np.datetime64, last_s: float) -> None:
        raise InputError(
            f"recording of {self._instrument.facts.driver}",
            expected=f"times that never decrease; the last scan was at {moment_of(last_s)}",
            found=f"a scan at {time}",
            cause="its clock was set back, or its scans were shuffled",
            next_step="cut the recording there, and replay the parts as wells of their own",
        )

    # ------------------------------------------------------------ one scan

    def _append(
        self, choice: Choice, reading: Reading, start: np.datetime64, end: np.datetime64, progress: Progress, flag: int
    ) -> None:
        element = choice.element
        time = start if reading.time is None else reading.time
        if self._interrupted is not None and progress.end_s is not None:
            self._gaps.append(Gap(moment_of(progress.end_s), time, REASON[self._interrupted]))
        intensity = self._on_axis(element, reading)
        levels = tuple(float(intensity[self._columns[high.mz]]) for high in self._schedule.rules.high)
        full_scale_a = self._instrument.facts.instrument.full_scale_a
        if full_scale_a is not None and bool((intensity >= full_scale_a).any()):
            flag |= FLAG["saturated"]
        if element.kind is ScanKind.BLANK and any(
            level > high.above_a for level, high in zip(levels, self._schedule.rules.high, strict=True)
        ):
            flag |= FLAG["high_blank"]
        if self._gaps:
            flag |= FLAG["gap_before"]
        depth = float("nan") if choice.depth_m is None else choice.depth_m
        row = ScanRow(
            time,
            element.stream.code,
            element.kind.code,
            element.valve_port,
            reading.pressure_pa,
            depth,
            flag,
            intensity,
        )
        progress = measured(self._schedule, progress, element, seconds_of(end), levels)
        drilling = None if self._rig is None else self._rig.rows(self._writer.last_drilling, end)
        version = self._writer.append(row, drilling, tuple(self._gaps), progress)
        self._done = replace(
            self._done,
            scans=self._done.scans + 1,
            late=self._done.late + bool(flag & FLAG["late"]),
            gaps=(*self._done.gaps, *self._gaps),
            version=version,
        )
        self._progress, self._gaps, self._interrupted, self._failing_since_s = progress, [], None, None
        if self._on_scan is not None:
            self._on_scan(element, progress)

    def _on_axis(self, element: Element, reading: Reading) -> NDArray[np.float32]:
        if reading.intensity_a.shape != (len(element.mz),):
            raise InputError(
                f"scan of {self._instrument.facts.driver}",
                expected=f"{len(element.mz)} currents, one for each m/z of element '{element.name}'",
                found=f"an array of shape {reading.intensity_a.shape}",
                cause="the driver does not keep its port",
                next_step="run the conformance suite on the driver",
            )
        intensity = np.full(len(self._columns), np.nan, dtype=np.float32)
        intensity[[self._columns[mass] for mass in element.mz]] = reading.intensity_a
        return intensity

    def _is_late(self, element: Element, start_s: float, *, first: bool) -> bool:
        """Tell whether a rule was broken by the time a scan began; only what went wrong outside can do that."""
        deadline_s = gas_deadline_s(self._schedule, self._progress, self._rig_state(moment_of(start_s)))
        if element.is_gas:
            return deadline_s is not None and start_s > deadline_s
        limit_s, before_s = self._schedule.standard_every_s, self._progress.visited_s.get(element.name)
        if not first or element.kind is not ScanKind.STANDARD or limit_s is None or before_s is None:
            return False
        return start_s - before_s > limit_s

    # ------------------------------------------------------------ time, rig, and an instrument that is silent

    def _look(self) -> Moment:
        moment = self._watch.look()
        if moment.jump_s:
            from_s = seconds_of(moment.time) - max(moment.jump_s, 0.0)
            self._gaps.append(Gap(moment_of(from_s), moment.time, REASON["clock"]))
        return moment

    def _rig_state(self, now: np.datetime64) -> RigState:
        return RigState() if self._rig is None else self._rig.state(now)

    def _missed(self, one: Due, now: np.datetime64) -> Gap:
        element = self._schedule.named(one.element)
        stream = -1 if element is None else element.stream.code
        depth = float("nan") if one.depth_m is None else one.depth_m
        return Gap(moment_of(one.since_s), now, REASON["missed"], stream, depth)

    def _ask(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except NightwellError as error:
            if error.transient:
                raise _NoAnswerError from error
            raise

    def _wait_for_instrument(self, failure: _NoAnswerError) -> None:
        """Wait, and connect again; give up when patience is at its end."""
        now_s = self._clock.monotonic_s()
        self._failing_since_s = now_s if self._failing_since_s is None else self._failing_since_s
        if now_s - self._failing_since_s >= self._settings.patience_s:
            assert failure.__cause__ is not None
            raise failure.__cause__
        self._interrupted = self._interrupted or "instrument"
        self._progress = self._progress.model_copy(update={"port": None, "element": None})
        self._clock.sleep(self._settings.retry_s)
        self._instrument.close()
        try:
            self._ask(lambda: self._instrument.connect(self._progress.scans))
        except _NoAnswerError:
            return  # the next step asks again, and finds it silent


def replace_port(element: Element, port: int) -> Element:
    """Return an element at the valve port that a recording names."""
    return element.model_copy(update={"valve_port": port})


def _inlet(choice: Choice) -> Inlet:
    element = choice.element
    return Inlet(element.valve_port, element.stream, element.kind, choice.depth_m)
