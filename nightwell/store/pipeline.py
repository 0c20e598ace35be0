"""The block pipeline: a volume's blocks into a version.

Each thread reads a segment into a buffer of its own, finds the blocks of zeros, digests the others, compresses those
whose digest is not the parent's, and hands them over as one group to be packed. All heavy steps release the
interpreter's lock. Memory does not follow the volume's size: see :func:`pipeline_memory_bytes`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from zstandard import ZstdCompressor

from nightwell.errors import InputError
from nightwell.store.blocks import block_count
from nightwell.store.digest import DIGEST_BYTES
from nightwell.store.hint import ChangeHint, Mask, ReadPlan, choose_samples, plan_reads
from nightwell.store.index import BlockNumbers
from nightwell.store.pack import PACK_BUFFERS, PACK_BYTES, PackBuilder
from nightwell.store.ports import (
    BlockReader,
    BlockSink,
    BlockSource,
    BlockTarget,
    Progress,
    ProgressCallback,
    Reporter,
    StoppedError,
)
from nightwell.store.restore import RestoreStatistics, compare, restore
from nightwell.store.segments import (
    SEGMENT_BYTES,
    Segment,
    copy_threads,
    nonzero_blocks,
    segment_blocks,
    segments,
    work_through,
)
from nightwell.store.versions import BlockStatistics
from nightwell.store.writer import COMPRESSION_LEVEL, VersionWriter

__all__ = [
    "BlockReader",
    "BlockSink",
    "BlockSource",
    "BlockTarget",
    "ChangeHint",
    "Progress",
    "ProgressCallback",
    "RestoreStatistics",
    "StoppedError",
    "compare",
    "ingest",
    "pipeline_memory_bytes",
    "restore",
]

THREADS = 4

_INTERPRETER_BYTES = 128 << 20  # Python and its libraries, measured after the imports and a first request
_INDEX_BYTES = 48 + 32  # per block: the index, and what the fingerprint and the masks take for a moment
_REFERENCE_BYTES = 300  # per stored block: Icechunk's change set and the manifest it becomes, measured


def pipeline_memory_bytes(*, blocks_total: int, block_bytes: int, threads: int = THREADS) -> int:
    """Return the memory a process needs at most to ingest a volume of that many blocks, all of them changed."""
    per_thread = 3 * max(SEGMENT_BYTES, block_bytes)  # the buffer, compressed blocks, what the heap keeps of them
    all_threads = copy_threads(threads, block_bytes=block_bytes) * per_thread
    per_block = _INDEX_BYTES + _REFERENCE_BYTES
    return _INTERPRETER_BYTES + all_threads + PACK_BUFFERS * PACK_BYTES + blocks_total * per_block


def ingest(
    source: BlockSource,
    writer: VersionWriter,
    *,
    hint: ChangeHint | None = None,
    threads: int = THREADS,
    progress: ProgressCallback | None = None,
    stop: threading.Event | None = None,
) -> BlockStatistics:
    """Store the blocks of a volume that the parent version does not have.

    Parameters
    ----------
    source
        The volume; exactly as large as the writer's draft says.
    writer
        Takes the blocks; not yet committed afterwards.
    hint
        Which blocks need not be read. When a sample proves it wrong, all blocks are read, and the statistics say so.
    threads
        How many read, digest and compress at once.
    progress
        Called from the threads, at most five times a second.
    stop
        Ends the copy at the next segment when set.

    Raises
    ------
    InputError
        The source has another size than the draft.
    StoppedError
        ``stop`` was set.
    """
    _check_size(source, writer)
    plan = plan_reads(
        hint,
        blocks=writer.blocks_total,
        parent_whole_blocks=writer.parent.size_bytes // writer.block_bytes if writer.parent else 0,
        hint_counts_from_parent=writer.hint_counts_from_parent,
    )
    samples = np.zeros(writer.blocks_total, dtype=bool)
    if hint is not None:
        samples[choose_samples(plan, hint.sample_fraction, np.random.default_rng())] = True
    work = _Ingest(source, writer, plan, Reporter(progress, int(np.count_nonzero(plan.read | samples))), stop)
    if samples.any():
        work.read(samples, threads)
    read = plan.read
    if work.counts.hint_violations:
        work.reporter.expect(int(np.count_nonzero(~(plan.read | samples))))
        read = ~samples
    else:
        writer.erase(np.flatnonzero(plan.zero & ~samples))
    work.read(read & ~samples, threads)
    work.builder.finish()
    work.reporter.finish()
    return work.statistics(hint_samples=int(np.count_nonzero(samples)))


@dataclass(slots=True)
class _Counts:
    read: int = 0
    zero: int = 0
    stored: int = 0
    bytes_read: int = 0
    hint_violations: int = 0


class _Ingest:
    """One ingest: what its threads share."""

    def __init__(
        self,
        source: BlockSource,
        writer: VersionWriter,
        plan: ReadPlan,
        reporter: Reporter,
        stop: threading.Event | None,
    ) -> None:
        self.source = source
        self.writer = writer
        self.plan = plan
        self.reporter = reporter
        self.builder: PackBuilder = writer.builder()
        self.counts = _Counts()
        self._stop = stop
        self._lock = threading.Lock()

    def read(self, wanted: Mask, threads: int) -> None:
        """Work through the blocks that are wanted."""
        block_bytes = self.writer.block_bytes
        work_through(
            segments(wanted, most=segment_blocks(block_bytes)),
            self._work,
            threads=copy_threads(threads, block_bytes=block_bytes),
            stop=self._stop,
            subject=f"run '{self.writer.draft.run_id}' on volume '{self.writer.draft.volume}'",
        )

    def statistics(self, *, hint_samples: int) -> BlockStatistics:
        """Return the counts of all that was done."""
        counts, total = self.counts, self.writer.blocks_total
        return BlockStatistics(
            blocks_total=total,
            blocks_read=counts.read,
            blocks_zero=counts.zero,
            blocks_skipped_by_hint=total - counts.read,
            blocks_unchanged=counts.read - counts.zero - counts.stored,
            blocks_stored=counts.stored,
            bytes_read=counts.bytes_read,
            bytes_stored=self.writer.bytes_stored,
            packs=self.writer.packs,
            hint_samples=hint_samples,
            hint_violations=counts.hint_violations,
        )

    def _work(self, queue: Iterable[Segment]) -> None:
        block_bytes = self.writer.block_bytes
        buffer = np.empty(segment_blocks(block_bytes) * block_bytes, dtype=np.uint8)
        compressor = ZstdCompressor(level=COMPRESSION_LEVEL)
        with closing(self.source.open()) as reader:
            for segment in queue:
                read_bytes = self._fill(reader, segment, buffer)
                self._take(segment, buffer[: segment.count * block_bytes], read_bytes, compressor)

    def _fill(self, reader: BlockReader, segment: Segment, buffer: npt.NDArray[np.uint8]) -> int:
        """Read a segment, padding the volume's last block with zeros; return the bytes read."""
        start = segment.first * self.writer.block_bytes
        whole_bytes = segment.count * self.writer.block_bytes
        read_bytes = min(whole_bytes, self.writer.size_bytes - start)
        reader.read_into(start, buffer.data[:read_bytes])
        buffer[read_bytes:whole_bytes] = 0
        return read_bytes

    def _take(
        self, segment: Segment, blocks: npt.NDArray[np.uint8], read_bytes: int, compressor: ZstdCompressor
    ) -> None:
        """Sort a segment's blocks into zeros, unchanged and changed, and hand over the changed ones."""
        numbers = np.arange(segment.first, segment.first + segment.count)
        filled = nonzero_blocks(blocks, segment.count)
        zeros, others = numbers[~filled], numbers[filled]
        gone = self.writer.erase(zeros)
        changed = self._store(segment, blocks, others, compressor) if len(others) else others
        with self._lock:
            self.counts.read += segment.count
            self.counts.zero += len(zeros)
            self.counts.stored += len(changed)
            self.counts.bytes_read += read_bytes
            self.counts.hint_violations += self._violations(others, changed, gone)
        self.reporter.add(segment.count, read_bytes)

    def _store(
        self,
        segment: Segment,
        blocks: npt.NDArray[np.uint8],
        numbers: BlockNumbers,
        compressor: ZstdCompressor,
    ) -> BlockNumbers:
        view = blocks.data
        size = self.writer.block_bytes
        starts = ((numbers - segment.first) * size).tolist()
        digest = self.writer.digester.digest
        digests = [digest(view[start : start + size]) for start in starts]
        rows = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        differs = self.writer.differs(numbers, rows)
        chosen = np.flatnonzero(differs).tolist()
        if chosen:
            frames = [compressor.compress(view[starts[i] : starts[i] + size]) for i in chosen]
            self.builder.add(numbers[differs].tolist(), [digests[i] for i in chosen], frames)
        return np.asarray(numbers[differs])

    def _violations(self, others: BlockNumbers, changed: BlockNumbers, gone: BlockNumbers) -> int:
        """Return how many of these blocks the hint had promised to be something else."""
        plan = self.plan
        broken = np.count_nonzero(plan.zero[others]) + np.count_nonzero(plan.unchanged[changed])
        return int(broken + np.count_nonzero(plan.unchanged[gone]))


def _check_size(source: BlockSource, writer: VersionWriter) -> None:
    if source.size_bytes != writer.size_bytes:
        raise InputError(
            f"source of volume '{writer.draft.volume}'",
            expected=f"{writer.size_bytes} bytes, {block_count(writer.size_bytes, writer.block_bytes)} blocks",
            found=f"{source.size_bytes} bytes",
            cause="the volume was resized after the run began",
            next_step="run the backup again",
        )
