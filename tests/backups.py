"""Short ways to back volumes up and to hold versions against what they must be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from memory_volume import MemoryVolume

from nightwell.store import BackupStore, Version, VersionDraft
from nightwell.store.pipeline import ChangeHint, ingest, restore

VOLUME = "well-7"
BLOCK_BYTES = 4096

Data = npt.NDArray[np.uint8]


def draft(
    size_bytes: int,
    run_id: str,
    *,
    token: int = 1,
    block_bytes: int | None = None,
    split_id: str | None = None,
    previous_split_id: str | None = None,
    volume: str = VOLUME,
) -> VersionDraft:
    return VersionDraft(
        volume=volume,
        size_bytes=size_bytes,
        run_id=run_id,
        fencing_token=token,
        source="array-a/well-7",
        mode="split",
        block_bytes=block_bytes,
        split_id=split_id,
        previous_split_id=previous_split_id,
    )


def back_up(store: BackupStore, data: Data, made_of: VersionDraft, *, hint: ChangeHint | None = None) -> Version:
    writer = store.begin(made_of)
    return writer.commit(ingest(MemoryVolume(data), writer, hint=hint))


def contents(store: BackupStore, version: Version) -> Data:
    """What a restore writes, onto a volume on which every byte was wrong before."""
    target = MemoryVolume.dirty(version.size_bytes)
    with store.open_version(version) as reader:
        restore(reader, target)
    return target.data


def random_bytes(count: int, seed: int = 0) -> Data:
    return np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8)
