"""Which blocks must be read: what an array's change list says, held against samples.

A change list is a hint. A driver that forgets a change would leave old data in every later version, so a random part of
the blocks that are promised unchanged is read all the same; one broken promise, and everything is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightwell.errors import InputError
from nightwell.store.index import BlockNumbers

Mask = npt.NDArray[np.bool_]

#: One block in a thousand, so that the samples cost a thousandth of a full read.
SAMPLE_FRACTION = 0.001

#: Fewer samples than this would not catch a driver that forgets every tenth change.
LEAST_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class ChangeHint:
    """What is known of the blocks before they are read, one boolean each.

    ``maybe_changed`` is true where a block may differ from the previous split; a block that is false there equals the
    parent's. It counts only when the parent version was made from that very split. ``known_zero`` is true where a block
    reads as zeros now, whatever the parent holds (a hole of a sparse volume); it needs no parent. Either may be
    ``None``: nothing known. ``sample_fraction`` of the blocks that need not be read are read all the same.
    """

    maybe_changed: Mask | None
    sample_fraction: float = SAMPLE_FRACTION
    known_zero: Mask | None = None


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Three disjoint sets that cover all blocks: read, taken for zeros, and taken for the parent's."""

    read: Mask
    zero: Mask
    unchanged: Mask


def plan_reads(
    hint: ChangeHint | None, *, blocks: int, parent_whole_blocks: int, hint_counts_from_parent: bool
) -> ReadPlan:
    """Return what a hint leaves to be read.

    ``parent_whole_blocks`` is how many blocks lie whole inside the parent version: whatever lies beyond is new.
    """
    nothing = np.zeros(blocks, dtype=bool)
    if hint is None:
        return ReadPlan(~nothing, nothing, nothing)
    _check(hint, blocks)
    zero = nothing if hint.known_zero is None else hint.known_zero.astype(bool)
    unchanged = nothing
    if hint.maybe_changed is not None and hint_counts_from_parent:
        unchanged = ~hint.maybe_changed.astype(bool) & ~zero
        unchanged[parent_whole_blocks:] = False
    return ReadPlan(~(zero | unchanged), zero, unchanged)


def choose_samples(plan: ReadPlan, fraction: float, generator: np.random.Generator) -> BlockNumbers:
    """Return the numbers, ascending, of blocks that need not be read and are read all the same."""
    skipped = np.flatnonzero(~plan.read)
    if fraction <= 0 or len(skipped) == 0:
        return skipped[:0]
    count = min(len(skipped), max(LEAST_SAMPLES, int(len(skipped) * fraction)))
    return np.sort(generator.choice(skipped, size=count, replace=False))


def _check(hint: ChangeHint, blocks: int) -> None:
    for name, mask in (("maybe_changed", hint.maybe_changed), ("known_zero", hint.known_zero)):
        if mask is not None and mask.shape != (blocks,):
            raise InputError(
                f"change hint '{name}'",
                expected=f"one boolean for each of {blocks} blocks",
                found=f"shape {mask.shape}",
                cause="the hint was computed for another block size or volume size",
                next_step="compute the hint with the writer's block size",
            )
