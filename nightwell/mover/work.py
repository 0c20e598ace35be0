"""The two jobs: a volume into the store, and a version back onto a volume."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass

from nightwell.mover.events import Committed, Copied, Done, Phase, Verified, Written
from nightwell.mover.hints import CONTEXTS, find_hint
from nightwell.mover.job import BackupJob, RestoreJob
from nightwell.mover.lifeline import Lifeline
from nightwell.mover.output import EventOutput
from nightwell.mover.pair_check import confirm, stood_still
from nightwell.mover.source import NbdSource, VolumeAddress
from nightwell.mover.target import NbdTarget, check_target
from nightwell.nbd.client import NbdClient
from nightwell.nbd.wire import PAIR
from nightwell.store.pipeline import compare, ingest, restore
from nightwell.store.reader import VersionReader
from nightwell.store.store import BackupStore
from nightwell.store.versions import BlockStatistics, VersionDraft
from nightwell.store.writer import VersionWriter

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mover:
    """What both jobs work with."""

    store: BackupStore
    lifeline: Lifeline
    output: EventOutput

    def back_up(self, job: BackupJob) -> None:
        """Copy, tell so, wait for leave, commit."""
        address = VolumeAddress(job.url, job.tls, job.line_timeout_s)
        with address.connect((PAIR, *CONTEXTS)) as client:
            before = confirm(client, job, when="before the copy")
            writer = self.store.begin(_draft(job, client.size_bytes))
            parent = "no earlier version" if writer.parent is None else f"version {writer.parent.version_id} before it"
            _log.info("copies %d bytes in blocks of %d, %s", client.size_bytes, writer.block_bytes, parent)
            try:
                statistics = self._copy(job, client, writer)
                # A connection of its own: what was granted to the old one may be of another state of the pair.
                with address.connect((PAIR,)) as again:
                    after = confirm(again, job, when="after the copy")
                still = stood_still(job.mode, before, after)
                self.output.tell(Copied(statistics, still))
                self.lifeline.wait_for_leave()
            except BaseException:
                with suppress(Exception):  # packs that nobody refers to do no harm; the first error counts
                    writer.abort()
                raise
        version = writer.commit(statistics, point_in_time=still)
        _log.info("committed version %s", version.version_id)
        self.output.tell(Committed(version))

    def restore(self, job: RestoreJob) -> None:
        """Write the version, read it back when asked to, and say so."""
        address = VolumeAddress(job.url, job.tls, job.line_timeout_s)
        version = self.store.find_version(job.volume, job.version_id)
        with address.connect() as client:
            check_target(client, volume=job.volume, needed_bytes=version.size_bytes)
            size_bytes = client.size_bytes
        with self.store.open_version(version) as reader:
            written = restore(
                reader,
                NbdTarget(address, size_bytes),
                threads=job.threads,
                progress=self.output.progress(Phase.COPY, version.block_bytes),
                stop=self.lifeline.stop,
            )
            zeroed_bytes = version.size_bytes - written.bytes_written
            _log.info(
                "wrote %d bytes of version %s, zeroed %d", written.bytes_written, version.version_id, zeroed_bytes
            )
            self.output.tell(Written(bytes_written=written.bytes_written, bytes_zeroed=zeroed_bytes))
            if job.verify:
                self._verify(job, reader, NbdSource(address, size_bytes))
        self.output.tell(Done())

    def _copy(self, job: BackupJob, client: NbdClient, writer: VersionWriter) -> BlockStatistics:
        began_s = time.monotonic()
        hint = find_hint(client, job, parent=writer.parent, block_bytes=writer.block_bytes)
        found = ingest(
            NbdSource(VolumeAddress(job.url, job.tls, job.line_timeout_s), client.size_bytes),
            writer,
            hint=hint,
            threads=job.threads,
            progress=self.output.progress(Phase.COPY, writer.block_bytes),
            stop=self.lifeline.stop,
        )
        _log.info(
            "read %d of %d blocks (%s) and stored %d, %d bytes, in %.2f s",
            found.blocks_read,
            found.blocks_total,
            "all are looked at" if hint is None else "the array says which",
            found.blocks_stored,
            found.bytes_stored,
            time.monotonic() - began_s,
        )
        if found.hint_violations:
            _log.warning(
                "%d blocks that the change list promised to be unchanged were not: all were read", found.hint_violations
            )
        return found

    def _verify(self, job: RestoreJob, reader: VersionReader, source: NbdSource) -> None:
        compare(
            reader,
            source,
            threads=job.threads,
            progress=self.output.progress(Phase.VERIFY, reader.block_bytes),
            stop=self.lifeline.stop,
        )
        self.output.tell(Verified(bytes_compared=reader.size_bytes))


def _draft(job: BackupJob, size_bytes: int) -> VersionDraft:
    return VersionDraft(
        volume=job.volume,
        size_bytes=size_bytes,
        run_id=job.run_id,
        fencing_token=job.fencing_token,
        source=job.source,
        mode=job.mode.value,
        split_at=job.split_at,
        split_id=job.split_id,
        previous_split_id=job.previous_split_id,
        block_bytes=job.block_bytes,
    )
