"""nightwell's block pipeline as a program of its own, so that it is measured as the other tools are.

Reads one JSON document from its argument; prints the statistics. What the mover adds (NBD instead of a file, the
conversation with its producer) is measured by the road.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from volume_image import Change, read_changes

from nightwell.store.blocks import block_count
from nightwell.store.location import StoreLocation
from nightwell.store.pipeline import ChangeHint, ingest, restore
from nightwell.store.store import BackupStore
from nightwell.store.versions import VersionDraft

VOLUME = "volume"


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """What to do. ``state`` numbers the volume's states; a change list counts from the state before."""

    action: str  # create, backup or restore
    image: str
    location: dict[str, Any]
    state: int = 0
    changes: str | None = None
    block_bytes: int | None = None
    threads: int = 4


class FileVolume:
    """A file as source and as target of the pipeline."""

    def __init__(self, path: Path, size_bytes: int, *, writable: bool) -> None:
        self._path = path
        self._flags = os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY
        self.size_bytes = size_bytes

    def open(self) -> OpenFile:
        """Open it for one thread."""
        return OpenFile(os.open(self._path, self._flags, 0o644))


class OpenFile:
    """One thread's view of the file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read_into(self, offset_bytes: int, view: memoryview) -> None:
        """Fill the view."""
        while view:
            done = os.preadv(self._descriptor, [view], offset_bytes)
            view, offset_bytes = view[done:], offset_bytes + done

    def write(self, offset_bytes: int, view: memoryview) -> None:
        """Write the view."""
        while view:
            done = os.pwrite(self._descriptor, view, offset_bytes)
            view, offset_bytes = view[done:], offset_bytes + done

    def zero(self, offset_bytes: int, length_bytes: int) -> None:
        """Leave a hole: the target was made anew, as it is for the other tools."""

    def flush(self) -> None:
        """Leave the writing to the page cache, as the other tools do."""

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def main() -> None:
    """Do one job."""
    job = Job(**json.loads(sys.argv[1]))
    with BackupStore.open(StoreLocation(**job.location), create=job.action == "create") as store:
        if job.action == "backup":
            _backup(store, job)
        elif job.action == "restore":
            _restore(store, job)


def _backup(store: BackupStore, job: Job) -> None:
    path = Path(job.image)
    size_bytes = path.stat().st_size
    writer = store.begin(
        VersionDraft(
            volume=VOLUME,
            size_bytes=size_bytes,
            run_id=f"run-{job.state}",
            fencing_token=job.state + 1,
            source="benchmark",
            mode="split",
            split_id=f"state-{job.state}",
            previous_split_id=f"state-{job.state - 1}",
            block_bytes=job.block_bytes,
        )
    )
    hint = None
    if job.changes is not None:
        changed = _changed_blocks(read_changes(Path(job.changes)), size_bytes, writer.block_bytes)
        hint = ChangeHint(maybe_changed=changed)
    source = FileVolume(path, size_bytes, writable=False)
    statistics = ingest(source, writer, hint=hint, threads=job.threads)
    version = writer.commit(statistics)
    print(json.dumps({"block_bytes": version.block_bytes, **dataclasses.asdict(statistics)}))


def _restore(store: BackupStore, job: Job) -> None:
    version = store.find_version(VOLUME, "latest")
    path = Path(job.image)
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(version.size_bytes)
    with store.open_version(version) as reader:
        statistics = restore(reader, FileVolume(path, version.size_bytes, writable=True), threads=job.threads)
    print(json.dumps(dataclasses.asdict(statistics)))


def _changed_blocks(
    changes: list[Change], size_bytes: int, block_bytes: int
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return a change list of the array's grain, 64 KiB, on the version's blocks."""
    grain_bytes = 64 << 10
    changed = np.zeros(block_count(size_bytes, block_bytes), dtype=np.bool_)
    for change in changes:
        first = change.offset_bytes // grain_bytes * grain_bytes
        last = -(-(change.offset_bytes + change.length_bytes) // grain_bytes) * grain_bytes - 1
        changed[first // block_bytes : last // block_bytes + 1] = True
    return changed


if __name__ == "__main__":
    main()
