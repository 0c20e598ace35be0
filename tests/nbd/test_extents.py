from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbd.serving import UNHURRIED

from nightwell.nbd.extents import covering, merged
from nightwell.nbd.wire import Extent

ROWS = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 2)), min_size=1, max_size=20)


def row_of(pieces: list[tuple[int, int]]) -> list[Extent]:
    row, position = [], 0
    for length, flags in pieces:
        row.append(Extent(position, length, flags))
        position += length
    return row


def statuses(row: list[Extent]) -> list[int]:
    return [extent.flags for extent in row for _ in range(extent.length_bytes)]


@settings(UNHURRIED)
@given(ROWS)
def test_merging_keeps_every_byte_and_leaves_no_equal_neighbours(pieces: list[tuple[int, int]]) -> None:
    row = row_of(pieces)
    short = list(merged(row))
    assert statuses(short) == statuses(row)
    assert all(left.flags != right.flags for left, right in pairwise(short))


@settings(UNHURRIED)
@given(ROWS, st.data())
def test_cutting_to_a_range_gives_the_status_of_that_range(pieces: list[tuple[int, int]], data: st.DataObject) -> None:
    row = row_of(pieces)
    every = statuses(row)
    start = data.draw(st.integers(0, len(every) - 1))
    length = data.draw(st.integers(1, len(every) - start))
    cut = list(covering(row, start, length))
    assert statuses(cut) == every[start : start + length]
    assert cut[0].offset_bytes == start


def test_extents_that_do_not_touch_stay_apart() -> None:
    row = [Extent(0, 1, 0), Extent(2, 1, 0)]
    assert list(merged(row)) == row


@pytest.mark.parametrize(
    "row",
    [[], [Extent(0, 4, 0)], [Extent(1, 9, 0)], [Extent(0, 4, 0), Extent(5, 5, 0)], [Extent(0, 6, 0), Extent(4, 6, 0)]],
)
def test_a_row_with_a_gap_an_overlap_or_an_early_end_is_refused(row: list[Extent]) -> None:
    with pytest.raises(ValueError, match=r"extents? (starts|end)"):
        list(covering(row, 0, 10))
