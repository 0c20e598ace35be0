"""A version back onto a volume, and the proof that it got there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nightwell.errors import InputError, IntegrityError
from nightwell.store.hint import Mask
from nightwell.store.ports import BlockSink, BlockSource, BlockTarget, ProgressCallback, Reporter
from nightwell.store.reader import Blocks, VersionReader
from nightwell.store.segments import Segment, copy_threads, nonzero_blocks, segment_blocks, segments, work_through

_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreStatistics:
    """What was written: blocks with data, blocks of zeros, and the bytes of the former."""

    blocks_total: int
    blocks_written: int
    blocks_zero: int
    bytes_written: int


def restore(
    reader: VersionReader,
    target: BlockTarget,
    *,
    threads: int = 4,
    progress: ProgressCallback | None = None,
    stop: threading.Event | None = None,
) -> RestoreStatistics:
    """Write a version onto a volume, zeros included; what lies beyond the version's size stays as it is.

    Raises
    ------
    InputError
        The volume is smaller than the version; nothing has been written.
    IntegrityError
        A block is damaged in the store; the volume holds part of the version.
    StoppedError
        ``stop`` was set; the volume holds part of the version.
    """
    _check_size(reader, target.size_bytes, "target")
    work = _Restore(reader, target, Reporter(progress, reader.blocks_total))
    _work_through_all(reader, work.work, threads=threads, stop=stop)
    work.reporter.finish()
    return RestoreStatistics(
        blocks_total=reader.blocks_total,
        blocks_written=work.blocks_written,
        blocks_zero=reader.blocks_total - work.blocks_written,
        bytes_written=work.bytes_written,
    )


def compare(
    reader: VersionReader,
    source: BlockSource,
    *,
    threads: int = 4,
    progress: ProgressCallback | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Read a volume and hold it against the version's digests; the blocks need not be fetched from the store.

    Raises
    ------
    IntegrityError
        Blocks differ; the first are named.
    InputError
        The volume is smaller than the version.
    StoppedError
        ``stop`` was set.
    """
    _check_size(reader, source.size_bytes, "volume")
    work = _Compare(reader, source, Reporter(progress, reader.blocks_total))
    _work_through_all(reader, work.work, threads=threads, stop=stop)
    work.reporter.finish()
    if work.different:
        numbers = sorted(work.different)
        shown = ", ".join(map(str, numbers[:_SHOWN])) + (" and more" if len(numbers) > _SHOWN else "")
        raise IntegrityError(
            f"volume compared with version {reader.version.version_id} of volume '{reader.version.volume}'",
            expected="every block to have the version's digest",
            found=f"{len(numbers)} blocks that differ, numbers {shown} (of {reader.block_bytes} bytes each)",
            cause="something wrote to the volume during or after the restore, or the volume loses writes",
            next_step="make sure that nobody else has the volume attached, and restore again",
        )


class _Restore:
    def __init__(self, reader: VersionReader, target: BlockTarget, reporter: Reporter) -> None:
        self.reader = reader
        self.target = target
        self.reporter = reporter
        self.blocks_written = 0
        self.bytes_written = 0
        self._lock = threading.Lock()

    def work(self, queue: Iterable[Segment]) -> None:
        reader = self.reader
        buffer = _buffer(reader)
        with closing(self.target.open()) as sink:
            for segment in queue:
                present = reader.load(segment, buffer)
                written_bytes = self._write(sink, segment, present, buffer)
                with self._lock:
                    self.blocks_written += int(np.count_nonzero(present))
                    self.bytes_written += written_bytes
                self.reporter.add(segment.count, written_bytes)
            sink.flush()

    def _write(self, sink: BlockSink, segment: Segment, present: Mask, buffer: Blocks) -> int:
        """Write a segment, neighbours of one kind together; return the bytes of data written."""
        size = self.reader.block_bytes
        view = buffer.data
        written_bytes = 0
        edges = [0, *(np.flatnonzero(np.diff(present)) + 1).tolist(), segment.count]
        for start, end in pairwise(edges):
            offset = (segment.first + start) * size
            length = min((end - start) * size, self.reader.size_bytes - offset)
            if present[start]:
                sink.write(offset, view[start * size : start * size + length])
                written_bytes += length
            else:
                sink.zero(offset, length)
        return written_bytes


class _Compare:
    def __init__(self, reader: VersionReader, source: BlockSource, reporter: Reporter) -> None:
        self.reader = reader
        self.source = source
        self.reporter = reporter
        self.different: list[int] = []

    def work(self, queue: Iterable[Segment]) -> None:
        reader = self.reader
        size = reader.block_bytes
        buffer = _buffer(reader)
        view = buffer.data
        with closing(self.source.open()) as volume:
            for segment in queue:
                start, whole = segment.first * size, segment.count * size
                length = min(whole, reader.size_bytes - start)
                volume.read_into(start, view[:length])
                buffer[length:whole] = 0
                filled = nonzero_blocks(buffer[:whole], segment.count)
                for at, number in enumerate(range(segment.first, segment.first + segment.count)):
                    if not self._equal(number, bool(filled[at]), view[at * size : (at + 1) * size]):
                        self.different.append(number)
                self.reporter.add(segment.count, length)

    def _equal(self, number: int, filled: bool, block: memoryview) -> bool:  # noqa: FBT001 - a value, not a switch
        if not self.reader.present(number):
            return not filled
        return filled and self.reader.digester.digest(block) == self.reader.index.digests[number].tobytes()


def _buffer(reader: VersionReader) -> Blocks:
    return np.empty(segment_blocks(reader.block_bytes) * reader.block_bytes, dtype=np.uint8)


def _work_through_all(
    reader: VersionReader, worker: Callable[[Iterable[Segment]], None], *, threads: int, stop: threading.Event | None
) -> None:
    every = np.ones(reader.blocks_total, dtype=bool)
    work_through(
        segments(every, most=segment_blocks(reader.block_bytes)),
        worker,
        threads=copy_threads(threads, block_bytes=reader.block_bytes),
        stop=stop,
        subject=f"version {reader.version.version_id} of volume '{reader.version.volume}'",
    )


def _check_size(reader: VersionReader, size_bytes: int, kind: str) -> None:
    if size_bytes < reader.size_bytes:
        raise InputError(
            f"{kind} for version {reader.version.version_id} of volume '{reader.version.volume}'",
            expected=f"at least {reader.size_bytes} bytes",
            found=f"{size_bytes} bytes",
            cause="the volume was made for another version, or is the wrong one",
            next_step="choose a volume of at least the version's size; nothing was written",
        )
