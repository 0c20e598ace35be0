"""What to measure next: a pure function of the schedule, of what was done, of the time and of the rig.

The instrument rests on the idle element and runs errands from there. An errand is begun only when all of it, with
the blanks around it and the way back, fits into what is left of the age of the trap gas; the checks of the schedule
(:mod:`nightwell.wells.acquire.rules`) made sure that it fits when the gas has just been measured. So the rules hold by
construction, not by luck.
"""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict

from nightwell.wells.acquire.feed import RigState
from nightwell.wells.acquire.purge import minimum_purge_s
from nightwell.wells.acquire.rules import SLACK_S, errands
from nightwell.wells.acquire.schedule import DepthTrigger, Element, Schedule, TimeTrigger
from nightwell.wells.streams import ScanKind

_ROUNDING = 1e-9  # of depths that are multiples but for the last digit


class Due(BaseModel):
    """An errand that waits: its element, since when, and the depth of its sample."""

    model_config = ConfigDict(frozen=True)

    element: str
    since_s: float
    depth_m: float | None = None


class Progress(BaseModel):
    """What an acquisition has done; stored in the same commit as the scans, so that both are always in step.

    Parameters
    ----------
    scans
        Scans in the archive.
    began_s
        When the acquisition began [s since 1970], as all times here.
    end_s
        End of the last scan.
    element, port
        What was measured last, and through which valve port.
    gas_end_s
        End of the last scan of the trap gas.
    visited_s
        When the last visit to each element began.
    deepest_m
        Depth down to which samples by depth were asked for, by element; never falls.
    due
        Errands that wait.
    high_port
        Port whose last scan was high, without a blank since; None otherwise.
    levels_a
        Currents at the m/z of ``rules.high`` in the last scan of each element.
    """

    model_config = ConfigDict(frozen=True)

    scans: int = 0
    began_s: float = 0.0
    end_s: float | None = None
    element: str | None = None
    port: int | None = None
    gas_end_s: float | None = None
    visited_s: dict[str, float] = {}
    deepest_m: dict[str, float] = {}
    due: tuple[Due, ...] = ()
    high_port: int | None = None
    levels_a: dict[str, tuple[float, ...]] = {}


class Choice(BaseModel):
    """What to do next: visit an element, for a sample of a depth."""

    model_config = ConfigDict(frozen=True)

    element: Element
    depth_m: float | None = None


def with_due(schedule: Schedule, progress: Progress, now_s: float, rig: RigState) -> tuple[Progress, tuple[Due, ...]]:
    """Add what has become due, and take out samples that have waited too long.

    Returns
    -------
    Progress
        With all errands that wait.
    tuple of Due
        Samples that cannot be had any more: too old, or passed by while nothing watched.
    """
    due, missed = list(progress.due), []
    deepest = dict(progress.deepest_m)
    for element in errands(schedule):
        if isinstance(element.trigger, TimeTrigger):
            visited_s = progress.visited_s.get(element.name)
            since_s = progress.began_s if visited_s is None else visited_s + element.trigger.every_s
            if since_s <= now_s and all(one.element != element.name for one in due):
                due.append(Due(element=element.name, since_s=since_s))
        elif rig.returns_depth_m is not None:
            depths, deepest[element.name] = _passed(element, deepest.get(element.name), rig.returns_depth_m)
            new = [Due(element=element.name, since_s=now_s, depth_m=depth) for depth in depths]
            due += new[-1:]  # of several passed at once only the last still comes up with the mud
            missed += new[:-1]
    waiting: list[Due] = []
    for one in due:
        asked = schedule.named(one.element)
        if asked is None:
            continue  # the schedule was changed, and no longer has it
        too_old = asked.maximum_age_s is not None and now_s - one.since_s > asked.maximum_age_s
        (missed if too_old and asked.kind is ScanKind.SAMPLE else waiting).append(one)
    return progress.model_copy(update={"due": tuple(waiting), "deepest_m": deepest}), tuple(missed)


def _passed(element: Element, deepest_m: float | None, returns_m: float) -> tuple[list[float], float]:
    """Return the multiples of an element's depth step passed since the deepest, and the new deepest."""
    assert isinstance(element.trigger, DepthTrigger)
    every_m = element.trigger.every_m
    now = math.floor(returns_m / every_m + _ROUNDING)
    if deepest_m is None:
        return [], now * every_m
    before = round(deepest_m / every_m)
    return [step * every_m for step in range(before + 1, now + 1)], max(now, before) * every_m


def choose(schedule: Schedule, progress: Progress, now_s: float, rig: RigState) -> Choice | None:
    """Return what to visit next; None when there is nothing to do yet.

    Parameters
    ----------
    schedule
        A schedule that passed :func:`~nightwell.wells.acquire.rules.check_schedule`.
    progress
        After :func:`with_due`.
    now_s
        Seconds since 1970.
    rig
        ``drilling_since_s`` decides whether the trap gas's age counts.
    """
    gas = schedule.gas
    deadline_s = gas_deadline_s(schedule, progress, rig)
    if gas is not None and deadline_s is not None and progress.gas_end_s is None:
        return _after_blank(schedule, progress, gas, None)
    standards_first = sorted(progress.due, key=lambda one: (not _is_standard(schedule, one), one.since_s))
    for one in standards_first[:1]:  # the next waits for its turn: a shorter errand must not overtake for ever
        element = schedule.named(one.element)
        if element is not None and (
            gas is None
            or deadline_s is None
            or _just_measured(gas, progress, now_s)
            or now_s + remaining_s(schedule, progress, element) + schedule.approach_s(gas) <= deadline_s
        ):
            return _after_blank(schedule, progress, element, one.depth_m)
    rest = gas or schedule.idle
    return None if rest is None else _after_blank(schedule, progress, rest, None)


def gas_deadline_s(schedule: Schedule, progress: Progress, rig: RigState) -> float | None:
    """Return when a scan of the trap gas must have begun; None while its age does not count."""
    gas = schedule.gas
    if gas is None or gas.maximum_age_s is None or rig.drilling_since_s is None:
        return None
    return max(progress.gas_end_s or rig.drilling_since_s, rig.drilling_since_s) + gas.maximum_age_s


def needs_blank(progress: Progress, element: Element) -> bool:
    """Tell whether a blank must be run before an element: another port was high, and no blank was run since."""
    return (
        progress.high_port is not None
        and progress.high_port != element.valve_port
        and element.kind is not ScanKind.BLANK
    )


def remaining_s(schedule: Schedule, progress: Progress, element: Element) -> float:
    """Return the longest that an errand takes from now on, its blanks included."""
    total_s = schedule.visit_s(element)
    if needs_blank(progress, element):
        blank = schedule.blank_for(element.stream)
        total_s += 0.0 if blank is None else schedule.visit_s(blank)
    if schedule.rules.high and element.kind is ScanKind.SAMPLE and schedule.gas is not None:
        after = schedule.blank_for(schedule.gas.stream)
        total_s += 0.0 if after is None else schedule.visit_s(after)
    return total_s


def purge_s(schedule: Schedule, progress: Progress, element: Element) -> tuple[float, bool]:
    """Return how long to purge before an element, and whether that is too short for what was measured before.

    The contrast is the largest of previous over last known current at the m/z of ``rules.high``; below the level that
    counts as high, differences do not matter.
    """
    before, last = progress.levels_a.get(progress.element or ""), progress.levels_a.get(element.name)
    if progress.port == element.valve_port:
        return 0.0, False
    if before is None or not schedule.rules.high:
        return element.purge_s, False
    floors = [high.above_a for high in schedule.rules.high]
    now = [max(value, floor) for value, floor in zip(last or floors, floors, strict=True)]
    contrast = max(was / value for was, value in zip(before, now, strict=True))
    if contrast <= 0.0:
        return element.purge_s, False
    needed_s = minimum_purge_s(contrast, schedule.carry_over.tolerance, schedule.carry_over.decays)
    return min(max(element.purge_s, needed_s), element.purge_limit_s), needed_s > element.purge_limit_s


def begun(progress: Progress, choice: Choice, now_s: float) -> Progress:
    """Return the progress once the first scan of a visit is in: the errand no longer waits."""
    waits = tuple(one for one in progress.due if (one.element, one.depth_m) != (choice.element.name, choice.depth_m))
    return progress.model_copy(update={"due": waits, "visited_s": {**progress.visited_s, choice.element.name: now_s}})


def measured(
    schedule: Schedule, progress: Progress, element: Element, end_s: float, levels_a: tuple[float, ...]
) -> Progress:
    """Return the progress after one more scan.

    Parameters
    ----------
    end_s
        End of the scan.
    levels_a
        Its currents at the m/z of ``rules.high``; NaN where not measured.
    """
    high_port = progress.high_port
    if element.kind is ScanKind.BLANK:
        high_port = None
    elif element.kind is ScanKind.SAMPLE:
        if any(level > high.above_a for level, high in zip(levels_a, schedule.rules.high, strict=True)):
            high_port = element.valve_port
        elif high_port == element.valve_port:
            high_port = None
    known = tuple(0.0 if math.isnan(level) else level for level in levels_a)
    return progress.model_copy(
        update={
            "scans": progress.scans + 1,
            "end_s": end_s,
            "element": element.name,
            "port": element.valve_port,
            "gas_end_s": end_s if element.is_gas else progress.gas_end_s,
            "high_port": high_port,
            "levels_a": {**progress.levels_a, element.name: known},
        }
    )


def _after_blank(schedule: Schedule, progress: Progress, element: Element, depth_m: float | None) -> Choice:
    if needs_blank(progress, element):
        blank = schedule.blank_for(element.stream)
        assert blank is not None, "a schedule with rules.high has a blank"
        return Choice(element=blank)
    return Choice(element=element, depth_m=depth_m)


def _is_standard(schedule: Schedule, one: Due) -> bool:
    element = schedule.named(one.element)
    return element is not None and element.kind is ScanKind.STANDARD


def _just_measured(gas: Element, progress: Progress, now_s: float) -> bool:
    return progress.element == gas.name and now_s - (progress.gas_end_s or 0.0) <= SLACK_S
