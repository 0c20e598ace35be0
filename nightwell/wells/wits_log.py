"""Turn a WITS level 0 stream into the columns of a log: drilling parameters in time, or gas against depth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from nightwell.errors import InputError
from nightwell.wells.channels import Header
from nightwell.wells.wits0 import WitsItem, WitsRecord, WitsStream, WitsUnits, item_number, wits_items

#: Records with gas against depth, the one with averages over depth first; 14 (mud properties) is joined to either.
GAS_RECORDS = (13, 12)
#: The record with drilling parameters in time.
DRILLING_RECORD = 1

_MUD_RECORD = 14
_DEPTH_DECIMALS = 2
_PIVOT_YEAR = 70  # two digits of a year: 70 to 99 are of the last century
_PROBLEMS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class WitsColumns:
    """Headers and cells as an importer of CSV would find them, and what a person should know.

    Parameters
    ----------
    headers
        One per column, named by channel, with the stream's unit.
    texts
        One column of text per header; empty where null.
    unknown
        Items that carry values and are no channel: number, mnemonic and meaning.
    notes
        For the report.
    """

    headers: list[Header]
    texts: pd.DataFrame
    unknown: tuple[str, ...]
    notes: tuple[str, ...]


def gas_columns(stream: WitsStream, units: WitsUnits, *, subject: str) -> WitsColumns:
    """Return gas against depth: record 13 (or 12 when there is none), joined by record 14 at the same depth.

    A record that was sent again for the same depth replaces the one before.

    Raises
    ------
    InputError
        The stream carries neither record, or none with a depth.
    """
    number = next((one for one in GAS_RECORDS if stream.of(one)), None)
    if number is None:
        raise _without(stream, "records 13 or 12 (chromatograph)", subject)
    rows, repeated = _by_depth(stream, number)
    if not rows:
        raise _without(stream, f"depths in record {number}", subject)
    mud, _ = _by_depth(stream, _MUD_RECORD)
    items = [item for item in _channels(number) if item.channel]
    taken = {item.channel for item in items}
    joined = [item for item in _channels(_MUD_RECORD) if item.channel not in taken]
    cells: dict[WitsItem, list[str]] = {item: [_cell(row, item) for row in rows.values()] for item in items}
    cells |= {item: [_cell(mud[at], item) if at in mud else "" for at in rows] for item in joined}
    notes = [f"gas against depth from record {number}" + (f", joined by record {_MUD_RECORD}" if mud else "")]
    if repeated:
        notes.append(f"{repeated} records sent again for the same depth replace the ones before")
    return _columns(stream, cells, units, (number, _MUD_RECORD), notes)


def drilling_columns(stream: WitsStream, units: WitsUnits, *, subject: str) -> WitsColumns:
    """Return drilling parameters in time: record 1, whose date and time are taken as UTC.

    Raises
    ------
    InputError
        The stream does not carry record 1, or one without a date and time.
    """
    records = stream.of(DRILLING_RECORD)
    if not records:
        raise _without(stream, "record 1 (general, in time)", subject)
    cells = {item: [_cell(row, item) for row in records] for item in _channels(DRILLING_RECORD)}
    notes = ["dates and times of the stream taken as UTC: it names no zone"]
    found = _columns(stream, cells, units, (DRILLING_RECORD,), notes)
    found.texts.insert(0, "time", [_time(row, subject) for row in records])
    found.texts.columns = pd.RangeIndex(found.texts.shape[1])
    return WitsColumns(
        [Header("DATE, TIME (record 1)", "time", ""), *found.headers], found.texts, found.unknown, found.notes
    )


def _columns(
    stream: WitsStream,
    cells: dict[WitsItem, list[str]],
    units: WitsUnits,
    records: tuple[int, ...],
    notes: list[str],
) -> WitsColumns:
    filled = {item: texts for item, texts in cells.items() if any(texts)}
    headers = [Header(f"{item.mnemonic} (record {item.record})", item.channel, item.unit(units)) for item in filled]
    table = pd.DataFrame(dict(enumerate(filled.values())), dtype=str)
    shown = [f"stream: {text}" for text in stream.problems[:_PROBLEMS_SHOWN]]
    more = len(stream.problems) - len(shown)
    return WitsColumns(
        headers,
        table,
        _left_out(stream, records),
        (*notes, *shown, *([f"stream: {more} more problems"] if more else [])),
    )


def _left_out(stream: WitsStream, records: tuple[int, ...]) -> tuple[str, ...]:
    seen = {(one.record, item) for one in stream.records if one.record in records for item in one.filled()}
    head = 7  # items 1 to 7 of every record say which, when and what for
    names = []
    for record, item in sorted(seen):
        known = wits_items().get((record, item))
        if known is None:
            names.append(f"{record:02d}{item:02d}")
        elif not known.channel and item > head:
            names.append(f"{record:02d}{item:02d} {known.mnemonic} {known.meaning}")
    return tuple(names)


def _channels(record: int) -> list[WitsItem]:
    return [item for item in wits_items().values() if item.record == record and item.channel]


def _by_depth(stream: WitsStream, record: int) -> tuple[dict[float, WitsRecord], int]:
    depth_item = next(item.item for item in _channels(record) if item.channel == "depth")
    rows: dict[float, WitsRecord] = {}
    repeated = 0
    for one in stream.of(record):
        depth = round(one.number(depth_item), _DEPTH_DECIMALS)
        if math.isnan(depth):
            continue
        repeated += depth in rows
        rows[depth] = one
    return rows, repeated


def _cell(record: WitsRecord, item: WitsItem) -> str:
    value = record.number(item.item)
    return "" if math.isnan(value) else repr(value)


def _time(record: WitsRecord, subject: str) -> str:
    date, time = (record.number(item_number(record.record, name)) for name in ("DATE", "TIME"))
    if math.isnan(date) or math.isnan(time):
        raise InputError(
            f"record {record.record} of {subject}", expected="a date and a time in every record (items 5 and 6)",
            found="a record without", cause="the sender leaves them out",
            next_step="have the sender fill them in, or export the drilling parameters as CSV",
        )  # fmt: skip
    day, clock = f"{int(date):06d}", f"{int(time):06d}"
    century = 19 if int(day[:2]) >= _PIVOT_YEAR else 20
    return f"{century}{day[:2]}-{day[2:4]}-{day[4:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}Z"


def _without(stream: WitsStream, expected: str, subject: str) -> InputError:
    listed = ", ".join(str(number) for number in sorted({one.record for one in stream.records}))
    return InputError(
        subject,
        expected=expected,
        found=f"{stream.frames} frames with records {listed}",
        cause="the sender was not told to send that record",
        next_step="record a stream that carries it",
    )
