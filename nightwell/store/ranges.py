"""Pieces of an object, fetched in few requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

#: Two pieces closer than this are fetched by one request: a request costs about what this many bytes cost.
GAP_BYTES: Final = 256 << 10


def fetch_pieces(
    fetch: Callable[[int, int], memoryview], offsets: Sequence[int], lengths: Sequence[int]
) -> list[memoryview] | None:
    """Return pieces in the order asked for, or ``None`` when an answer is shorter than its request.

    obstore's own ``get_ranges`` does the same, but ends the process's thread when an object is too short.

    Parameters
    ----------
    fetch
        Returns the bytes from an offset, of a length.
    offsets, lengths
        Where the pieces lie.
    """
    pieces: list[memoryview] = [memoryview(b"")] * len(offsets)
    order = sorted(range(len(offsets)), key=offsets.__getitem__)
    at = 0
    while at < len(order):
        start = offsets[order[at]]
        end = start
        members: list[int] = []
        while at < len(order) and offsets[order[at]] <= end + GAP_BYTES:
            members.append(order[at])
            end = max(end, offsets[order[at]] + lengths[order[at]])
            at += 1
        data = fetch(start, end - start)
        if len(data) != end - start:
            return None
        for member in members:
            first = offsets[member] - start
            pieces[member] = data[first : first + lengths[member]]
    return pieces
