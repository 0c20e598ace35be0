"""Which blocks need not be read, from what the array tells over NBD."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from nightwell.mover.job import BackupJob, CopyMode
from nightwell.nbd.client import NbdClient
from nightwell.nbd.wire import ALLOCATION, CHANGED, ZERO, Extent
from nightwell.store.hint import ChangeHint, Mask
from nightwell.store.versions import Version

CONTEXTS = (ALLOCATION, CHANGED)
_MAYBE_CHANGED = 1  # the flag of CHANGED


def find_hint(client: NbdClient, job: BackupJob, *, parent: Version | None, block_bytes: int) -> ChangeHint | None:
    """Return what is known of the blocks before they are read; ``None`` when the array tells nothing.

    Blocks that lie in what the array calls zero (a hole of a sparse volume) are known zero. The change list is used
    only when it counts from exactly what the parent version holds: see :func:`change_list_counts`.
    """
    blocks = -(-client.size_bytes // block_bytes)

    def touched(context: str, wanted: Callable[[Extent], bool]) -> Mask:
        return blocks_touched(filter(wanted, client.extents(context)), blocks=blocks, block_bytes=block_bytes)

    known_zero = changed = None
    if ALLOCATION in client.contexts:
        known_zero = ~touched(ALLOCATION, lambda extent: not extent.flags & ZERO)
    if CHANGED in client.contexts and change_list_counts(job, parent, size_bytes=client.size_bytes):
        changed = touched(CHANGED, lambda extent: bool(extent.flags & _MAYBE_CHANGED))
    if known_zero is None and changed is None:
        return None
    return ChangeHint(maybe_changed=changed, known_zero=known_zero)


def change_list_counts(job: BackupJob, parent: Version | None, *, size_bytes: int) -> bool:
    """Return whether the array's change list says what differs from the parent version.

    It must count from the split that the parent was read from, on a volume that stands still now and has the size it
    had then.
    """
    return (
        job.mode is CopyMode.SPLIT
        and parent is not None
        and job.previous_split_id is not None
        and job.previous_split_id == parent.split_id
        and parent.point_in_time
        and parent.size_bytes == size_bytes
    )


def blocks_touched(extents: Iterable[Extent], *, blocks: int, block_bytes: int) -> Mask:
    """Return for each block whether any of the extents reaches into it."""
    mask = np.zeros(blocks, dtype=bool)
    for extent in extents:
        mask[extent.offset_bytes // block_bytes : -(-(extent.offset_bytes + extent.length_bytes) // block_bytes)] = True
    return mask
