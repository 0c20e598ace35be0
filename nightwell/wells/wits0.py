"""Read and write WITS level 0: the line protocol by which a rig's systems tell each other what they measure.

A frame begins with a line ``&&`` and ends with a line ``!!``; between them stands one item per line, ``RRII`` and its
value: two digits of the record, two of the item (``01083650.40``: record 1, item 8, depth of the bit). The records that
matter to a gas analysis are in ``data/wits0.csv``: 1 general in time, 11 tank volumes, 12 and 13 chromatograph by cycle
and by depth, 14 lagged mud properties, 15 cuttings, 16 shows.

Nothing in a stream says whether its units are metric or oil-field: both ends are told. The items were checked against
two transcriptions of revision 1.1 [PetrospecWits, MwdStdWits]; that null is -9999 is the custom of the field, and was
not found in either.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files

from nightwell.errors import InputError

#: Stands for "no value" in a numeric item.
NULL = -9999.0

#: What is read as "no value": streams of Pason's recorder carry the second beside the first.
NULLS = (NULL, -8888.0)

#: First line and last line of a frame.
FRAME_START, FRAME_END = "&&", "!!"

_CODE_DIGITS = 4
_TEXT_LENGTH = 128  # of the longest item, the comments of a show
_PROBLEMS_SHOWN = 5

Value = float | str


class WitsUnits(StrEnum):
    """Which of its two units every item of a stream is in."""

    METRIC = "metric"
    FPS = "fps"  # feet, pounds, gallons


@dataclass(frozen=True, slots=True)
class WitsItem:
    """One item of a predefined record.

    Parameters
    ----------
    record, item
        Numbers, ``RR`` and ``II``.
    mnemonic, meaning
        As the specification names it.
    kind
        ``A`` text, ``S`` and ``L`` whole numbers, ``F`` number.
    metric, fps
        Unit in either set; empty when it has none.
    channel
        The channel of logs that it is (``methane``), empty when it is none.
    """

    record: int
    item: int
    mnemonic: str
    kind: str
    metric: str
    fps: str
    channel: str
    meaning: str

    def unit(self, units: WitsUnits) -> str:
        """Return the item's unit in a stream of these units."""
        return self.metric if units is WitsUnits.METRIC else self.fps


@dataclass(frozen=True, slots=True)
class WitsRecord:
    """What one frame says of one record: values by item number; a number that is null is NaN.

    Parameters
    ----------
    record
        1 to 99.
    values
        float for numeric items (and for items of unknown records that read as numbers), text otherwise.
    """

    record: int
    values: Mapping[int, Value]

    def number(self, item: int) -> float:
        """Return a numeric item; NaN when it is null, absent or text."""
        value = self.values.get(item, math.nan)
        return math.nan if isinstance(value, str) else value

    def filled(self) -> tuple[int, ...]:
        """Return the numbers of the items that are not null."""
        return tuple(item for item, value in self.values.items() if isinstance(value, str) or not math.isnan(value))

    def by_mnemonic(self) -> dict[str, Value]:
        """Return the values of known items by mnemonic."""
        known = wits_items()
        return {known[self.record, item].mnemonic: value
                for item, value in self.values.items() if (self.record, item) in known}  # fmt: skip


@dataclass(frozen=True, slots=True)
class WitsStream:
    """All records of a text, in order, and what in it could not be used.

    Parameters
    ----------
    records
        One per frame and record number.
    frames
        Whole frames read.
    problems
        One sentence per frame cut short, unreadable line or item given twice; what they held is left out.
    """

    records: tuple[WitsRecord, ...]
    frames: int
    problems: tuple[str, ...]

    def of(self, record: int) -> tuple[WitsRecord, ...]:
        """Return the records of one number."""
        return tuple(one for one in self.records if one.record == record)


@cache
def wits_items() -> dict[tuple[int, int], WitsItem]:
    """Return the known items by record and item number."""
    lines = files("nightwell.wells").joinpath("data", "wits0.csv").read_text(encoding="utf-8").splitlines()
    return {
        (int(row["record"]), int(row["item"])): WitsItem(
            int(row["record"]), int(row["item"]), row["mnemonic"], row["type"], row["metric"], row["fps"],
            row["channel"], row["meaning"],
        )
        for row in csv.DictReader(lines)
    }  # fmt: skip


def item_number(record: int, mnemonic: str) -> int:
    """Return the number of an item by its mnemonic.

    Raises
    ------
    InputError
        The record has no such item.
    """
    for (number, item), known in wits_items().items():
        if number == record and known.mnemonic == mnemonic:
            return item
    names = [one.mnemonic for one in wits_items().values() if one.record == record]
    raise InputError(
        f"item {mnemonic} of WITS record {record}",
        expected=f"one of {', '.join(names)}" if names else "a known record: 1, 11 to 16",
        found="none of that name",
        cause="the mnemonic stands in another record",
        next_step="look it up in nightwell/wells/data/wits0.csv",
    )


def is_wits0(text: str) -> bool:
    """Tell whether a text is a WITS level 0 stream: a frame's first line stands before anything else of use."""
    return any(line.strip() == FRAME_START for line in text[:4096].splitlines())


def read_wits0(text: str, *, subject: str = "WITS stream") -> WitsStream:
    """Read a WITS level 0 stream.

    Parameters
    ----------
    text
        Frames, with anything between them (a recording may begin and end inside a frame).
    subject
        What is read, for the error.

    Raises
    ------
    InputError
        The text holds no whole frame.
    """
    reader = _Reader()
    for number, line in enumerate(text.splitlines(), start=1):
        reader.take(number, line.strip())
    reader.finish()
    if not reader.frames:
        raise InputError(
            subject,
            expected=f"frames from {FRAME_START} to {FRAME_END}",
            found="none that is whole" + (f"; {reader.problems[0]}" if reader.problems else ""),
            cause="the file is not a WITS level 0 stream, or was cut within its first frame",
            next_step="record the stream again, as text, for some minutes",
        )
    return WitsStream(tuple(reader.records), reader.frames, tuple(reader.problems))


def write_wits0(records: Iterable[WitsRecord], *, whole: bool = True) -> str:
    """Write records as a WITS level 0 stream, one frame each.

    Parameters
    ----------
    records
        Of known records; NaN is written as null (-9999).
    whole
        Whether items that the specification types as whole numbers (amounts in ppm) are rounded. An amount that would
        round to zero is written as null: zero would say that there was none.

    Returns
    -------
    str
        Lines that end in CR LF.

    Raises
    ------
    InputError
        A record or an item is not known, a text holds a line break or is no ASCII, or a number is text.
    """
    lines: list[str] = []
    for record in records:
        lines.append(FRAME_START)
        for item, value in sorted(record.values.items()):
            known = wits_items().get((record.record, item))
            if known is None:
                raise _unwritable(f"{record.record:02d}{item:02d}", "an item of data/wits0.csv", "none of that number")
            lines.append(f"{record.record:02d}{item:02d}{_written(known, value, whole=whole)}")
        lines.append(FRAME_END)
    return "".join(f"{line}\r\n" for line in lines)


class _Reader:
    """Takes line after line; a frame is kept when its end is seen."""

    def __init__(self) -> None:
        self.records: list[WitsRecord] = []
        self.problems: list[str] = []
        self.frames = 0
        self._frame: dict[int, dict[int, Value]] | None = None
        self._begun = 0

    def take(self, number: int, line: str) -> None:
        if line == FRAME_START:
            self.finish()
            self._frame, self._begun = {}, number
        elif line == FRAME_END and self._frame is not None:
            self.records += [WitsRecord(record, values) for record, values in self._frame.items()]
            self.frames += 1
            self._frame = None
        elif line and self._frame is not None:
            self._take_item(number, line)

    def finish(self) -> None:
        if self._frame is not None:
            self.problems.append(f"frame begun in line {self._begun} has no end and is left out")
            self._frame = None

    def _take_item(self, number: int, line: str) -> None:
        assert self._frame is not None
        code, text = line[:_CODE_DIGITS], line[_CODE_DIGITS:].strip()
        if len(code) < _CODE_DIGITS or not (code.isascii() and code.isdigit()):
            self.problems.append(f"line {number} ({line[:20]!r}) is no item and is left out")
            return
        record, item = int(code[:2]), int(code[2:])
        value = _read(record, item, text)
        if value is None:
            self.problems.append(f"line {number}: item {code} is no number ({text[:20]!r}) and is taken as missing")
            value = math.nan
        values = self._frame.setdefault(record, {})
        if item in values and not _same(values[item], value):
            self.problems.append(f"line {number}: item {code} stands twice in its frame and is taken as missing")
            value = "" if isinstance(value, str) else math.nan
        values[item] = value


def _read(record: int, item: int, text: str) -> Value | None:
    known = wits_items().get((record, item))
    if known is not None and known.kind == "A":
        return text
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return text if known is None else None
    return math.nan if value in NULLS or not math.isfinite(value) else value


def _same(one: Value, other: Value) -> bool:
    return one == other or (one != one and other != other)  # noqa: PLR0124 - NaN is not itself


def _written(item: WitsItem, value: Value, *, whole: bool) -> str:
    code = f"{item.record:02d}{item.item:02d}"
    if item.kind == "A":
        text = str(value)
        if not text.isascii() or "\n" in text or "\r" in text or len(text) > _TEXT_LENGTH:
            raise _unwritable(code, f"one line of ASCII, up to {_TEXT_LENGTH} characters", repr(text[:40]))
        return text
    if isinstance(value, str):
        raise _unwritable(code, "a number", repr(value))
    if not math.isfinite(value):
        return f"{NULL:.0f}"
    if item.kind == "F" or not whole:
        return f"{value:.8g}"
    rounded = round(value)
    return f"{NULL:.0f}" if rounded == 0 and value != 0.0 else str(rounded)


def _unwritable(code: str, expected: str, found: str) -> InputError:
    return InputError(
        f"WITS item {code}",
        expected=expected,
        found=found,
        cause="the value belongs to another item",
        next_step="look the item up in nightwell/wells/data/wits0.csv",
    )
