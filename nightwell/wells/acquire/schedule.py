"""The switching schedule: which stream the instrument breathes, when, for how long, and which rules always hold.

A schedule is a TOML file (docs/acquisition.md). Reading it checks its form here and its feasibility in
:mod:`nightwell.wells.acquire.rules`: a schedule that cannot keep its own rules is refused, with the numbers.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from nightwell.errors import InputError, NotFoundError
from nightwell.wells.acquire.purge import Decay, minimum_purge_s
from nightwell.wells.streams import ScanKind, Stream

#: Format of the document; a higher one is refused.
SCHEDULE_FORMAT = 1

_LARGEST_MZ = 1000
_HOUR_S = 3600.0

PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IdleTrigger(_Part):
    """Measured whenever nothing else is due: the stream that the instrument rests on."""

    by: Literal["idle"]


class TimeTrigger(_Part):
    """Due this long after its last visit began."""

    by: Literal["time"]
    every_s: PositiveSeconds


class DepthTrigger(_Part):
    """Due when mud from the next multiple of this depth arrives at the surface; deeper than ever before, only."""

    by: Literal["depth"]
    every_m: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RuleTrigger(_Part):
    """Measured only when a rule asks for it: the blank after a high sample."""

    by: Literal["rule"]


Trigger = Annotated[IdleTrigger | TimeTrigger | DepthTrigger | RuleTrigger, Field(discriminator="by")]


class Element(_Part):
    """One entry of a schedule.

    Parameters
    ----------
    name
        Short, unique.
    stream, kind, valve_port
        What is measured, and the port of the inlet valve that it comes through.
    purge_s, longest_purge_s
        Purge after switching; the engine prolongs it up to the longest where the signal before was stronger than
        ``contrast`` foresees. Without ``longest_purge_s`` it is never prolonged.
    settle_s
        From the end of the purge to the first scan.
    dwell_s
        Time on one m/z of one scan.
    scans
        Scans of one visit.
    mz
        m/z list, or a text such as ``"1-60, 78, 91"``.
    trigger
        When it is due.
    maximum_age_s
        Trap gas: the longest the stream may be left while drilling. Other samples: the longest wait from being due to
        being measured; an older sample is left out, and the gap says so.
    contrast
        Strongest signal before over the signal here that the purge must cope with; by default the schedule's.
    """

    name: Annotated[str, Field(min_length=1, max_length=40)]
    stream: Stream
    kind: ScanKind = ScanKind.SAMPLE
    valve_port: Annotated[int, Field(ge=0, le=127)]
    purge_s: Seconds
    longest_purge_s: Seconds | None = None
    settle_s: Seconds = 0.0
    dwell_s: PositiveSeconds
    scans: Annotated[int, Field(ge=1, le=10_000)] = 1
    mz: tuple[int, ...]
    trigger: Trigger
    maximum_age_s: PositiveSeconds | None = None
    contrast: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @field_validator("mz", mode="before")
    @classmethod
    def _masses(cls, value: object) -> object:
        return parse_masses(value) if isinstance(value, str) else value

    @field_validator("mz")
    @classmethod
    def _axis(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 1 or max(value) > _LARGEST_MZ:
            raise ValueError(f"m/z must be whole numbers from 1 to {_LARGEST_MZ}, at least one")
        if len(set(value)) != len(value):
            raise ValueError("an m/z stands twice in the list")
        return tuple(sorted(value))

    @model_validator(mode="after")
    def _purges(self) -> Self:
        if self.longest_purge_s is not None and self.longest_purge_s < self.purge_s:
            raise ValueError(f"longest_purge_s {self.longest_purge_s:g} is shorter than purge_s {self.purge_s:g}")
        return self

    @property
    def is_gas(self) -> bool:
        """True for samples of the trap gas: what must not be left for long while drilling."""
        return self.stream is Stream.TRAP_GAS and self.kind is ScanKind.SAMPLE

    @property
    def purge_limit_s(self) -> float:
        """The longest that a purge can last."""
        return self.purge_s if self.longest_purge_s is None else self.longest_purge_s


class High(_Part):
    """A current above which a sample counts as high, and a blank must follow before another stream is sampled."""

    mz: Annotated[int, Field(ge=1, le=_LARGEST_MZ)]
    above_a: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Rules(_Part):
    """What holds whatever happens.

    Parameters
    ----------
    high
        What counts as a high sample; empty: no blanks are put in.
    standard_every_h
        Hours from one standard to the next at the most; ``None``: no rule.
    largest_rop_m_h
        Fastest drilling that the schedule must keep up with [m/h].
    """

    high: tuple[High, ...] = ()
    standard_every_h: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    largest_rop_m_h: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0


class Term(_Part):
    """One exponential of the carry-over, as :class:`~nightwell.wells.acquire.purge.Decay`."""

    share: Annotated[float, Field(gt=0, le=1)]
    tau_s: PositiveSeconds


class CarryOver(_Part):
    """The carry-over that purges are measured by: terms, tolerated remainder and the contrast to cope with."""

    terms: tuple[Term, ...] = ()
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    contrast: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0

    @property
    def decays(self) -> tuple[Decay, ...]:
        """The terms as the purge model takes them."""
        return tuple(Decay(term.share, term.tau_s) for term in self.terms)


class Timing(_Part):
    """Time that the instrument needs besides purge, settling and dwell."""

    switch_s: Seconds = 0.0
    scan_overhead_s: Seconds = 0.0


class Schedule(_Part):
    """A whole schedule; :func:`read_schedule` also checks that it can keep its rules."""

    format: Literal[1]
    name: Annotated[str, Field(min_length=1)]
    element: Annotated[tuple[Element, ...], Field(min_length=1)]
    rules: Rules = Rules()
    carry_over: CarryOver = CarryOver()
    timing: Timing = Timing()

    @property
    def gas(self) -> Element | None:
        """The element of the trap gas; ``None`` when the schedule has none."""
        return next((one for one in self.element if one.is_gas), None)

    @property
    def idle(self) -> Element | None:
        """The element that is measured when nothing is due."""
        return next((one for one in self.element if isinstance(one.trigger, IdleTrigger)), None)

    @property
    def mz(self) -> tuple[int, ...]:
        """All m/z of all elements, increasing: the axis of the raw scans."""
        return tuple(sorted({mass for one in self.element for mass in one.mz}))

    @property
    def standard_every_s(self) -> float | None:
        """The rule for standards, in seconds."""
        hours = self.rules.standard_every_h
        return None if hours is None else hours * _HOUR_S

    def named(self, name: str) -> Element | None:
        """Return the element of a name."""
        return next((one for one in self.element if one.name == name), None)

    def blank_for(self, stream: Stream) -> Element | None:
        """Return the blank that is run before a stream: its own when there is one, else the first."""
        blanks = [one for one in self.element if one.kind is ScanKind.BLANK]
        return next((one for one in blanks if one.stream is stream), blanks[0] if blanks else None)

    def scan_s(self, element: Element) -> float:
        """Return how long one scan of an element lasts."""
        return element.dwell_s * len(element.mz) + self.timing.scan_overhead_s

    def approach_s(self, element: Element) -> float:
        """Return the longest time from leaving another port to the first scan of an element."""
        return self.timing.switch_s + element.purge_limit_s + element.settle_s

    def visit_s(self, element: Element) -> float:
        """Return the longest time that a visit to an element takes."""
        return self.approach_s(element) + element.scans * self.scan_s(element)

    def minimum_purge_s(self, element: Element) -> float:
        """Return the shortest purge that the carry-over model allows an element."""
        contrast = element.contrast or self.carry_over.contrast
        return minimum_purge_s(contrast, self.carry_over.tolerance, self.carry_over.decays)


def parse_masses(text: str) -> tuple[int, ...]:
    """Read an m/z list such as ``"1-60, 78"``; ValueError names the part that is none."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?", part)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise ValueError(f"'{part.strip()}' is no m/z and no range such as 1-60 (half masses are not measured)")
        found.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(found)


def parse_schedule(text: str, *, source: str) -> Schedule:
    """Read the text of a schedule; parameters and errors as :func:`read_schedule`."""
    from nightwell.wells.acquire.rules import check_schedule  # noqa: PLC0415 - the rules read the types of this module

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refuse(source, "a TOML document", str(error), "a bracket or a quote is missing") from error
    number = document.get("format")
    if isinstance(number, int) and number > SCHEDULE_FORMAT:
        found = f"format {number}"
        raise _refuse(source, f"format up to {SCHEDULE_FORMAT}", found, "it was written for a newer release")
    try:
        schedule = Schedule.model_validate(document)
    except ValidationError as error:
        raise _invalid(source, document, error) from error
    check_schedule(schedule, source=source)
    return schedule


def read_schedule(path: Path | str) -> Schedule:
    """Read a schedule and check that it can keep its own rules.

    Raises
    ------
    NotFoundError
        There is no such file.
    InputError
        A field is missing, unknown or out of range, or a rule cannot be kept; the error names it with its numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(
            f"schedule {path}",
            expected="a TOML file",
            found="none",
            cause="the path names another place",
            next_step="correct the path; docs/acquisition.md shows a schedule",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _refuse(path.name, "a text in UTF-8", str(error), "another kind of file, or another encoding") from error
    return parse_schedule(text, source=path.name)


def _invalid(source: str, document: dict[str, object], error: ValidationError) -> InputError:
    # A misspelt field is also a missing one: the misspelling says more.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    elements = document.get("element")
    words: list[str] = []
    for part in first["loc"]:
        if isinstance(part, int) and words == ["element"] and isinstance(elements, list):
            entry = elements[part]
            name = entry.get("name", f"number {part + 1}") if isinstance(entry, dict) else f"number {part + 1}"
            words = [f"element '{name}'"]
        else:
            words.append(str(part))
    more = len(error.errors()) - 1
    value = first["input"] if not isinstance(first["input"], dict) else "a table"
    found = f"{value!r} at {', '.join(words) or 'the top'}" + (f", and {more} more" if more else "")
    return _refuse(source, first["msg"], found, "a field is misspelt, missing or out of range")


def _refuse(source: str, expected: str, found: str, cause: str) -> InputError:
    return InputError(
        f"schedule {source}",
        expected=expected,
        found=found,
        cause=cause,
        next_step="write the schedule as docs/acquisition.md says",
    )
