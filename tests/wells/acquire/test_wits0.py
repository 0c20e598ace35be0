"""WITS level 0: frames read and written, nulls apart from zeros, and every broken frame told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightwell.errors import InputError
from nightwell.wells.channels import known_channels
from nightwell.wells.wits0 import WitsRecord, WitsUnits, is_wits0, item_number, read_wits0, wits_items, write_wits0

FRAME = "&&\r\n01083650.40\r\n011323.38\r\n!!\r\n"


def test_a_frame_of_the_field_is_read() -> None:
    """The example of a maker of rig sensors: bit at 3650.40, 23.38 per hour."""
    assert is_wits0(FRAME)
    stream = read_wits0(FRAME)
    assert stream.problems == ()
    assert stream.frames == 1
    assert stream.of(1)[0].by_mnemonic() == {"DBTM": 3650.40, "ROPA": 23.38}


def test_a_frame_may_hold_items_of_several_records() -> None:
    stream = read_wits0("&&\n0108100\n130899.5\n131012\n!!\n")
    assert [(one.record, dict(one.values)) for one in stream.records] == [(1, {8: 100.0}), (13, {8: 99.5, 10: 12.0})]


def test_null_is_missing_and_zero_stays_zero() -> None:
    record = read_wits0("&&\n1310-9999\n13130\n1316\n!!\n").of(13)[0]
    assert math.isnan(record.number(10))
    assert record.number(13) == 0.0
    assert math.isnan(record.number(16))
    assert math.isnan(record.number(19))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("&&\n01081\n" + FRAME, "begun in line 1 has no end"),
        (FRAME + "&&\n01081\n", "begun in line 5 has no end"),
        ("&&\nnoise\n01081\n!!\n", "'noise'"),
        ("&&\n010\n01081\n!!\n", "'010'"),
        ("&&\n0108deep\n!!\n", "no number"),
        ("&&\n01081\n01082\n!!\n", "stands twice"),
    ],
)
def test_what_is_broken_is_left_out_and_told(text: str, told: str) -> None:
    stream = read_wits0(text)
    assert len(stream.problems) == 1
    assert told in stream.problems[0]
    if "twice" in told or "number" in told:
        assert math.isnan(stream.of(1)[0].number(8))


@pytest.mark.parametrize("text", ["", "Depth,C1\n1,2\n", "&&\n01081\n", "!!\n"])
def test_a_text_without_a_whole_frame_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="from && to !!"):
        read_wits0(text)


def test_a_recording_that_begins_inside_a_frame_is_read() -> None:
    assert read_wits0("011312\n!!\n" + FRAME).frames == 1


def test_amounts_are_whole_and_none_is_rounded_to_zero() -> None:
    record = WitsRecord(13, {8: 1234.5, 10: 1500.6, 13: 0.3, 16: 0.0, 19: math.nan})
    assert write_wits0([record]) == "&&\r\n13081234.5\r\n13101501\r\n1313-9999\r\n13160\r\n1319-9999\r\n!!\r\n"
    assert "13130.3\r\n" in write_wits0([record], whole=False)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (WitsRecord(99, {1: 1.0}), "WITS item 9901"),
        (WitsRecord(13, {10: "much"}), "a number"),
        (WitsRecord(1, {1: "a\nb"}), "one line of ASCII"),
        (WitsRecord(1, {1: "bør"}), "one line of ASCII"),
    ],
)
def test_what_cannot_be_written_is_refused(record: WitsRecord, said: str) -> None:
    with pytest.raises(InputError, match=said):
        write_wits0([record])


@st.composite
def _records(draw: st.DrawFn) -> WitsRecord:
    number = draw(st.sampled_from([1, 11, 12, 13, 14, 15, 16]))
    items = [one for one in wits_items().values() if one.record == number]
    chosen = draw(st.lists(st.sampled_from(items), min_size=1, unique=True))
    values: dict[int, float | str] = {}
    for one in chosen:
        if one.kind == "A":
            values[one.item] = draw(st.from_regex(r"[A-Za-z0-9]{0,16}", fullmatch=True))
        elif one.kind == "F":
            values[one.item] = float(f"{draw(st.floats(-9e3, 1e7)):.6g}")
        else:
            values[one.item] = float(draw(st.integers(0, 10**6)))
    return WitsRecord(number, values)


@given(st.lists(_records(), min_size=1, max_size=5))
def test_what_is_written_is_read_again(records: list[WitsRecord]) -> None:
    stream = read_wits0(write_wits0(records))
    assert stream.problems == ()
    assert [(one.record, dict(one.values)) for one in stream.records] == [
        (one.record, dict(sorted(one.values.items()))) for one in records
    ]


def test_the_table_of_items_is_whole() -> None:
    items = wits_items()
    sizes = {record: max(item for number, item in items if number == record) for record, _ in items}
    assert sizes == {1: 45, 11: 35, 12: 28, 13: 48, 14: 29, 15: 59, 16: 46}
    assert len(items) == sum(sizes.values())
    channels = {one.channel for one in items.values() if one.channel}
    assert channels <= set(known_channels())
    assert items[13, 10].mnemonic == "MTHA"
    assert items[1, 30].unit(WitsUnits.FPS) == "GPM"
    assert item_number(13, "NPNA") == 28
    with pytest.raises(InputError, match="one of WID"):
        item_number(13, "DBTM")
