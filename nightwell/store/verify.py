"""Reads a version back and says which of its blocks are damaged."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import zarr

from nightwell.errors import IntegrityError
from nightwell.store.hint import Mask
from nightwell.store.ports import ProgressCallback, Reporter
from nightwell.store.reader import VersionReader
from nightwell.store.segments import Segment, copy_threads, segment_blocks, segments, work_through

#: How many blocks are also read the way a stock reader does, through Icechunk and zarr.
REFERENCE_SAMPLES: Final = 32

_NAMED = 8  # damaged blocks that an error names by number


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What reading a version back has shown.

    ``damaged`` are the numbers of blocks that are missing or have another digest. ``references_wrong`` are blocks that
    Icechunk's references show otherwise than the index: all are compared for presence, a sample byte for byte.
    ``index_whole`` says whether the index has the fingerprint of the commit.
    """

    version_id: str
    blocks_total: int
    blocks_checked: int
    bytes_checked: int
    damaged: tuple[int, ...]
    references_wrong: tuple[int, ...]
    index_whole: bool

    @property
    def ok(self) -> bool:
        """Whether the version is whole."""
        return self.index_whole and not self.damaged and not self.references_wrong

    @property
    def found(self) -> str:
        """What was found, in words."""
        if self.ok:
            return f"{self.blocks_checked} blocks checked, all as written"
        more = " and more" if len(self.damaged) > _NAMED else ""
        return (
            f"{len(self.damaged)} damaged block(s) {list(self.damaged[:_NAMED])}{more}, "
            f"{len(self.references_wrong)} wrong reference(s), "
            f"an index that is {'whole' if self.index_whole else 'damaged'}"
        )


def verify(
    reader: VersionReader,
    session: Any,
    *,
    threads: int = 4,
    progress: ProgressCallback | None = None,
    stop: threading.Event | None = None,
) -> VerifyReport:
    """Read all stored blocks of a version; ``session`` is a read-only Icechunk session on it."""
    present = reader.index.present()
    reporter = Reporter(progress, int(np.count_nonzero(present)))
    damaged: list[int] = []

    def work(queue: Iterable[Segment]) -> None:
        buffer = np.empty(segment_blocks(reader.block_bytes) * reader.block_bytes, dtype=np.uint8)
        for segment in queue:
            damaged.extend(reader.examine(segment, buffer)[1])
            reporter.add(segment.count, segment.count * reader.block_bytes)

    work_through(
        segments(present, most=segment_blocks(reader.block_bytes)),
        work,
        threads=copy_threads(threads, block_bytes=reader.block_bytes),
        stop=stop,
        subject=f"version {reader.version.version_id} of volume '{reader.version.volume}'",
    )
    reporter.finish()
    checked = int(np.count_nonzero(present))
    return VerifyReport(
        version_id=reader.version.version_id,
        blocks_total=reader.blocks_total,
        blocks_checked=checked,
        bytes_checked=checked * reader.block_bytes,
        damaged=tuple(sorted(damaged)),
        references_wrong=_wrong_references(reader, session, present, frozenset(damaged)),
        index_whole=reader.digester.fingerprint(reader.index.digests) == reader.version.fingerprint,
    )


def damage_of(volume: str, report: VerifyReport) -> IntegrityError:
    """Return the error for a version that is not whole."""
    return IntegrityError(
        f"version {report.version_id} of volume '{volume}'",
        expected="every block as it was written",
        found=report.found,
        cause="objects in the store were changed, lost or damaged",
        next_step=f"look at the store's own log and disks, then run 'nightwell verify {volume}' again; until then an "
        f"older version of 'nightwell versions {volume}' is the newest good one",
    )


def _wrong_references(reader: VersionReader, session: Any, present: Mask, damaged: frozenset[int]) -> tuple[int, ...]:
    referred = np.zeros(reader.blocks_total, dtype=bool)
    referred[_referred(session)] = True
    wrong = set(np.flatnonzero(referred != present).tolist())
    whole = np.asarray([number for number in np.flatnonzero(present & referred) if number not in damaged])
    if len(whole):
        generator = np.random.default_rng()
        sample = generator.choice(whole, size=min(REFERENCE_SAMPLES, len(whole)), replace=False)
        blocks = zarr.open_group(session.store, mode="r")["blocks"]
        wrong.update(number for number in sample.tolist() if not _reads_the_same(reader, blocks, number))
    return tuple(sorted(wrong))


def _reads_the_same(reader: VersionReader, blocks: Any, number: int) -> bool:
    size = reader.block_bytes
    row = np.zeros(size, dtype=np.uint8)
    stock = blocks[number * size : min((number + 1) * size, reader.size_bytes)]
    row[: len(stock)] = stock
    return bool(reader.digester.digest(row.data) == reader.index.digests[number].tobytes())


def _referred(session: Any) -> list[int]:
    """Return the numbers of all blocks that Icechunk refers to."""

    async def collect() -> list[int]:
        return [coordinates[0] async for coordinates in session.chunk_coordinates("/blocks", batch_size=10_000)]

    with ThreadPoolExecutor(1) as pool:  # the caller's thread may be running an event loop already
        return pool.submit(asyncio.run, collect()).result()
