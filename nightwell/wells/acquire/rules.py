"""Whether a schedule can keep its own rules: arithmetic over the longest times, before anything is switched.

What these checks promise, the planner (:mod:`nightwell.wells.acquire.plan`) holds: it leaves the trap gas only when a
whole errand fits into the age that is left. An *errand* is the longest that a visit can take: a blank before it when
what is left was high, the visit, a blank after it when it turns out high.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nightwell.errors import InputError
from nightwell.wells.acquire.schedule import DepthTrigger, Element, IdleTrigger, RuleTrigger, Schedule, TimeTrigger
from nightwell.wells.streams import ScanKind, Stream

_HOUR_S = 3600.0

#: Time of the computer itself between two scans that the rules leave room for.
SLACK_S = 1.0


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that cannot be kept.

    Parameters
    ----------
    rule
        Its name, as in docs/acquisition.md.
    expected, found
        The rule and the schedule's numbers.
    next_step
        What would mend it.
    """

    rule: str
    expected: str
    found: str
    next_step: str


def check_schedule(schedule: Schedule, *, source: str) -> None:
    """Refuse a schedule that cannot keep its rules.

    Raises
    ------
    InputError
        Naming the first rule and its numbers; further ones are counted.
    """
    broken = list(violations(schedule))
    if not broken:
        return
    first = broken[0]
    others = "; also: " + ", ".join(dict.fromkeys(one.rule for one in broken[1:])) if broken[1:] else ""
    raise InputError(
        f"schedule {source}, rule '{first.rule}'",
        expected=first.expected,
        found=first.found + others,
        cause="the entries of the schedule do not go together",
        next_step=first.next_step,
    )


def violations(schedule: Schedule) -> Iterator[Violation]:
    """Yield every rule that a schedule cannot keep."""
    yield from _names(schedule)
    yield from _triggers(schedule)
    yield from _blank_after_high(schedule)
    yield from _minimum_purge(schedule)
    yield from _gas_age(schedule)
    yield from _standards(schedule)
    yield from _load(schedule)
    yield from _sample_age(schedule)


def blank_s(schedule: Schedule) -> float:
    """Return the longest that the blank after a high sample takes; 0 without that rule."""
    if not schedule.rules.high:
        return 0.0
    return max((schedule.visit_s(one) for one in schedule.element if one.kind is ScanKind.BLANK), default=0.0)


def errand_s(schedule: Schedule, element: Element) -> float:
    """Return the longest that an element keeps the instrument, blanks before and after it included."""
    around = 0.0 if element.kind is ScanKind.BLANK else blank_s(schedule)
    return around + schedule.visit_s(element) + (around if element.kind is ScanKind.SAMPLE else 0.0)


def return_s(schedule: Schedule) -> float:
    """Return the longest from the end of an errand to the end of one scan of what the instrument rests on."""
    rest = schedule.gas or schedule.idle
    return 0.0 if rest is None else schedule.approach_s(rest) + schedule.scan_s(rest)


def errands(schedule: Schedule) -> tuple[Element, ...]:
    """Return the elements that are visited by trigger, away from what the instrument rests on."""
    return tuple(one for one in schedule.element if not isinstance(one.trigger, IdleTrigger | RuleTrigger))


def _names(schedule: Schedule) -> Iterator[Violation]:
    seen: dict[str, Element] = {}
    ports: dict[int, Element] = {}
    for one in schedule.element:
        if one.name in seen:
            yield Violation("names", "each name once", f"two elements '{one.name}'", "give each element its own name")
        seen[one.name] = one
        other = ports.setdefault(one.valve_port, one)
        if (_chamber(other.stream), other.kind) != (_chamber(one.stream), one.kind):
            yield Violation(
                "valve ports",
                "one stream and kind behind a valve port",
                f"port {one.valve_port} gives {other.stream} {other.kind} in '{other.name}', and {one.stream} "
                f"{one.kind} in '{one.name}'",
                "correct the valve port of one of the two",
            )


def _chamber(stream: Stream) -> Stream:
    """Cuttings are crushed in the chamber that gave their background: one port for both."""
    return Stream.CUTTINGS_BACKGROUND if stream is Stream.CUTTINGS_CRUSH else stream


def _triggers(schedule: Schedule) -> Iterator[Violation]:
    idle = [one for one in schedule.element if isinstance(one.trigger, IdleTrigger)]
    if len(idle) > 1:
        found = " and ".join(f"'{one.name}'" for one in idle)
        yield Violation("idle", "one element at the most that is idle", found, "trigger all but one by time or depth")
    gases = [one for one in schedule.element if one.is_gas]
    if len(gases) > 1 or (gases and not isinstance(gases[0].trigger, IdleTrigger)):
        found = ", ".join(f"'{one.name}' by {one.trigger.by}" for one in gases)
        yield Violation(
            "trap gas rests", "one element of trap gas samples, triggered by idle", found,
            "the trap gas is what the instrument rests on: keep one element of it, with trigger by = idle",
        )  # fmt: skip
    for one in schedule.element:
        if isinstance(one.trigger, RuleTrigger) and one.kind is not ScanKind.BLANK:
            found = f"'{one.name}' is a {one.kind}"
            yield Violation("rule trigger", "blanks only, by rule", found, "trigger it by time or depth")
        if isinstance(one.trigger, DepthTrigger) and not (one.stream.discrete and one.kind is ScanKind.SAMPLE):
            found = f"'{one.name}' ({one.stream} {one.kind})"
            yield Violation("depth trigger", "samples of mud or cuttings, by depth", found, "trigger it by time")


def _blank_after_high(schedule: Schedule) -> Iterator[Violation]:
    if not schedule.rules.high:
        return
    if not any(one.kind is ScanKind.BLANK for one in schedule.element):
        yield Violation(
            "blank after high", "a blank to run after a high sample", "no element of kind blank",
            "add a blank, with trigger by = rule, or remove rules.high",
        )  # fmt: skip
    for one in schedule.element:
        if one.kind is ScanKind.SAMPLE and (
            unseen := [high.mz for high in schedule.rules.high if high.mz not in one.mz]
        ):
            found = f"'{one.name}' does not measure m/z {', '.join(map(str, unseen))}"
            yield Violation(
                "blank after high", "every sample to measure the m/z that say what is high", found,
                "add these m/z to the element, or take them out of rules.high",
            )  # fmt: skip


def _minimum_purge(schedule: Schedule) -> Iterator[Violation]:
    for one in schedule.element:
        needed_s = schedule.minimum_purge_s(one)
        if one.purge_s < needed_s:
            contrast = one.contrast or schedule.carry_over.contrast
            yield Violation(
                "minimum purge",
                f"a purge of at least {needed_s:.1f} s, for a contrast of {contrast:g} and a remainder of "
                f"{schedule.carry_over.tolerance:g}",
                f"'{one.name}' purges {one.purge_s:g} s",
                "purge longer, tolerate a larger remainder, or state a smaller contrast",
            )


def _gas_age(schedule: Schedule) -> Iterator[Violation]:
    gas = schedule.gas
    if gas is None or gas.maximum_age_s is None:
        return
    back_s = schedule.approach_s(gas)
    for one in schedule.element:
        if one is gas:
            continue
        away_s = errand_s(schedule, one)
        if away_s + back_s + SLACK_S > gas.maximum_age_s:
            blanks = errand_s(schedule, one) - schedule.visit_s(one)
            yield Violation(
                "trap gas age",
                f"to be back at '{gas.name}' within {gas.maximum_age_s:g} s while drilling",
                f"'{one.name}' takes up to {schedule.visit_s(one):g} s, blanks around it {blanks:g} s, and the way "
                f"back {back_s:g} s: {away_s + back_s:g} s, and {SLACK_S:g} s of the computer",
                "shorten the visit (fewer scans or m/z, shorter purge), or let the trap gas wait longer",
            )


def _standards(schedule: Schedule) -> Iterator[Violation]:
    limit_s = schedule.standard_every_s
    if limit_s is None:
        return
    standards = [one for one in schedule.element if one.kind is ScanKind.STANDARD]
    if not any(isinstance(one.trigger, TimeTrigger) for one in standards):
        found = f"{len(standards)} standards, none triggered by time"
        yield Violation("standard", f"a standard every {limit_s / _HOUR_S:g} h", found, "add a standard, by time")
    longest_s = max((errand_s(schedule, one) for one in errands(schedule)), default=0.0)
    for one in standards:
        if not isinstance(one.trigger, TimeTrigger):
            continue
        # Due after every_s; an errand may just have begun, and the gas is looked at before the blank and the standard.
        worst_s = one.trigger.every_s + longest_s + return_s(schedule) + blank_s(schedule) + schedule.approach_s(one)
        if worst_s > limit_s:
            yield Violation(
                "standard",
                f"a standard every {limit_s / _HOUR_S:g} h ({limit_s:g} s)",
                f"'{one.name}' is due every {one.trigger.every_s:g} s, and may have to wait "
                f"{worst_s - one.trigger.every_s:g} s more: {worst_s:g} s",
                "make it due earlier, or allow more hours",
            )


def load(schedule: Schedule) -> dict[str, float]:
    """Return the share of the time that each errand takes in steady drilling, the way back included."""
    back_s = return_s(schedule)
    found: dict[str, float] = {}
    for one in errands(schedule):
        if isinstance(one.trigger, TimeTrigger):
            every_s = one.trigger.every_s
        else:
            assert isinstance(one.trigger, DepthTrigger)
            every_s = one.trigger.every_m / schedule.rules.largest_rop_m_h * _HOUR_S
        found[one.name] = (errand_s(schedule, one) + back_s) / every_s
    return found


def _load(schedule: Schedule) -> Iterator[Violation]:
    shares = load(schedule)
    if sum(shares.values()) > 1.0:
        listed = ", ".join(f"'{name}' {100 * share:.0f} %" for name, share in shares.items())
        yield Violation(
            "load",
            f"errands that fit into the time at {schedule.rules.largest_rop_m_h:g} m/h",
            f"{listed}: {100 * sum(shares.values()):.0f} %",
            "trigger them less often, shorten them, or state a slower largest_rop_m_h",
        )


def wait_s(schedule: Schedule, element: Element) -> float:
    """Return the longest that a due element waits for its first scan: every other errand may be before it, once."""
    others = [one for one in errands(schedule) if one is not element]
    before_s = sum(errand_s(schedule, one) + return_s(schedule) for one in others)
    return before_s + return_s(schedule) + blank_s(schedule) + schedule.approach_s(element)


def _sample_age(schedule: Schedule) -> Iterator[Violation]:
    for one in errands(schedule):
        if one.maximum_age_s is not None and (longest_s := wait_s(schedule, one)) > one.maximum_age_s:
            yield Violation(
                "sample age",
                f"'{one.name}' measured within {one.maximum_age_s:g} s of being due",
                f"up to {longest_s:g} s when every other element is due before it",
                "let the sample wait longer, or shorten the others",
            )
