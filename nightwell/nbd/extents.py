"""Rows of extents: merging neighbours, cutting to a range, and checking that nothing is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nightwell.nbd.wire import Extent


def merged(extents: Iterable[Extent]) -> Iterator[Extent]:
    """Yield the extents with touching neighbours of equal flags made one."""
    held: Extent | None = None
    for extent in extents:
        if held is not None and held.flags == extent.flags and held.end_bytes == extent.offset_bytes:
            held = Extent(held.offset_bytes, held.length_bytes + extent.length_bytes, held.flags)
            continue
        if held is not None:
            yield held
        held = extent
    if held is not None:
        yield held


def covering(extents: Iterable[Extent], offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
    """Yield the extents cut to a range.

    Raises
    ------
    ValueError
        They leave a gap, overlap, or end before the range does.
    """
    position = offset_bytes
    end = offset_bytes + length_bytes
    for extent in extents:
        if extent.end_bytes <= offset_bytes or not extent.length_bytes:
            continue
        start = max(extent.offset_bytes, offset_bytes)
        if start != position:
            raise ValueError(f"an extent starts at {start}, not at {position}")
        position = min(extent.end_bytes, end)
        yield Extent(start, position - start, extent.flags)
        if position == end:
            return
    if position != end:
        raise ValueError(f"the extents end at {position}, before {end}")
