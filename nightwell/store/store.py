"""The backup store: volumes, and the versions of each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Self

import icechunk

from nightwell.errors import CredentialsError, InputError, IntegrityError, NightwellError, NotFoundError
from nightwell.store.blocks import block_count, check_block_bytes, default_block_bytes
from nightwell.store.collect import MIN_AGE_S, CollectReport, Orphan, collect, find_orphans
from nightwell.store.conditional import check_conditional_writes
from nightwell.store.digest import Digester
from nightwell.store.document import StoreDocument, create_document, load_document, store_missing
from nightwell.store.engine import Engine
from nightwell.store.index import BlockIndex
from nightwell.store.layout import VOLUMES_KEY, check_run_id, check_volume_name
from nightwell.store.location import StoreLocation
from nightwell.store.objects import Objects
from nightwell.store.ports import ProgressCallback
from nightwell.store.publish import check_fence
from nightwell.store.reader import VersionReader
from nightwell.store.verifications import Verification, Verifications, shared
from nightwell.store.verify import VerifyReport, verify
from nightwell.store.versions import Version, VersionDraft
from nightwell.store.writer import VersionWriter

LATEST = "latest"

_log = logging.getLogger(__name__)


class BackupStore:
    """A store of versions of volumes in an S3 bucket. Thread-safe; get one from :meth:`open`."""

    def __init__(self, objects: Objects, document: StoreDocument) -> None:
        self.location = objects.location
        self.document = document
        self._objects = objects
        self._digester = Digester(document.store_id)
        self._engines: dict[str, Engine] = {}
        self._tagged: dict[str, str] = {}  # the newest version known to have its tag, by volume
        self._lock = threading.Lock()

    @classmethod
    def open(cls, location: StoreLocation, *, create: bool = False) -> BackupStore:
        """Open a store; with ``create``, make it where it is missing. The bucket is never made.

        Before a store is made, the server must prove that its conditional writes hold.

        Raises
        ------
        UnreachableError
            Nobody answers at the endpoint.
        CredentialsError
            The server refuses us. (A server may accept wrong secrets: moto does.)
        NotFoundError
            The bucket is missing, or there is no store under the prefix.
        FormatError
            The store is of a newer format.
        SettingsError
            The server's conditional writes do not hold.
        """
        objects = Objects(location)
        try:
            document = _open_document(objects, create=create)
        except BaseException:
            objects.close()
            raise
        return cls(objects, document)

    @classmethod
    def find(cls, location: StoreLocation) -> BackupStore | None:
        """Open a store, or return ``None`` when none was made at the prefix yet; other errors as :meth:`open`."""
        objects = Objects(location)
        try:
            objects.check_bucket()
            document = load_document(objects)
        except BaseException:
            objects.close()
            raise
        if document is None:
            objects.close()
            return None
        return cls(objects, document)

    def close(self) -> None:
        """Close the connections."""
        self._objects.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def validate(self) -> None:
        """Repeat the checks that :meth:`open` makes when it creates a store; raises what it raises."""
        self._objects.check_bucket()
        check_conditional_writes(self._objects)

    def volumes(self) -> tuple[str, ...]:
        """Return the names of all volumes; one whose first backup was cut off may have no versions."""
        names = sorted(self._objects.list_folders(VOLUMES_KEY))
        return tuple(name for name in names if self._exists(name))

    def versions(self, volume: str) -> tuple[Version, ...]:
        """Return a volume's versions, oldest first; NotFoundError when the store does not know the volume."""
        engine = self._existing(volume)
        with self._engine_errors(volume):
            found = tuple(engine.versions())[::-1]
            if found and not self._tag_seen(found[-1]):
                with suppress(icechunk.IcechunkError):  # the commit counts; and a reader may have no right to write
                    self._complete_tag(engine, found[-1])
        return found

    def find_version(self, volume: str, selector: str) -> Version:
        """Return the version that a selector names: ``latest``, an id, or the beginning of just one id.

        Raises
        ------
        NotFoundError
            No volume or version of that name, or the beginning of several.
        """
        versions = self.versions(volume)
        if selector == LATEST and versions:
            return versions[-1]
        matches = [version for version in versions if selector and version.version_id.startswith(selector)]
        exact = [version for version in matches if version.version_id == selector]
        if len(exact or matches) == 1:
            return (exact or matches)[0]
        known = ", ".join(version.version_id for version in versions[-5:]) or "none"
        raise NotFoundError(
            f"version '{selector}' of volume '{volume}'",
            expected=f"'{LATEST}', a version's id, or the beginning of exactly one",
            found=f"{len(matches)} versions of that name; the newest are: {known}",
            cause="the id is mistyped, too short, or belongs to another volume",
            next_step="list the volume's versions and choose one",
        )

    def version_of_run(self, volume: str, run_id: str) -> Version | None:
        """Return the version that a run made, or ``None``: the answer to a commit that is in doubt.

        Reads the server anew each time. UnreachableError and the like are raised; they are no answer.
        """
        engine = self._engine(check_volume_name(volume))
        with self._engine_errors(volume):
            if not engine.exists():
                return None
            engine.open()
            return engine.version_of_run(run_id)

    def begin(self, draft: VersionDraft) -> VersionWriter:
        """Start a version of a volume, from the volume's newest version if there is one.

        Raises
        ------
        FencedError
            The newest version was made under a higher fencing token.
        InputError
            A name cannot be used, or the size or block size does not go with the newest version.
        """
        check_volume_name(draft.volume)
        check_run_id(draft.run_id)
        engine = self._engine(draft.volume)
        with self._engine_errors(draft.volume):
            engine.create()
            parent = engine.newest_version()
            check_fence(draft, parent)
            if parent is not None:
                # Only the newest can lack its tag, because each run completes the one before.
                self._complete_tag(engine, parent)
            settled = _settle(draft, parent)
            blocks = block_count(settled.size_bytes, settled.block_bytes or 0)
            index = BlockIndex.empty(blocks)
            if parent is not None:
                index = BlockIndex.load(engine.readonly(parent.snapshot_id).store, blocks=blocks)
            return VersionWriter(
                settled,
                parent=parent,
                engine=engine,
                objects=self._objects,
                digester=self._digester,
                index=index,
            )

    def open_version(self, version: Version) -> VersionReader:
        """Open a version for reading; its index is loaded into memory, 48 bytes a block."""
        engine = self._existing(version.volume)
        with self._engine_errors(version.volume):
            store = engine.readonly(version.snapshot_id).store
            index = BlockIndex.load(store, blocks=block_count(version.size_bytes, version.block_bytes))
        return VersionReader(version, index=index, objects=self._objects, digester=self._digester)

    def verify(
        self,
        version: Version,
        *,
        threads: int = 4,
        progress: ProgressCallback | None = None,
        stop: threading.Event | None = None,
    ) -> VerifyReport:
        """Read all blocks of a version back and check them; damage is reported, not raised.

        What was found is noted in the store, for this version and for those that share its damaged blocks.
        """
        try:
            with self.open_version(version) as reader, self._engine_errors(version.volume):
                session = self._engine(version.volume).readonly(version.snapshot_id)
                report = verify(reader, session, threads=threads, progress=progress, stop=stop)
                damaged_too = self._sharing(version, reader.index, report.damaged)
        except IntegrityError as error:  # it cannot even be opened
            self._note(version, ok=False, found=error.found)
            raise
        self._note(version, ok=report.ok, found=report.found)
        for other, count in damaged_too:
            self._note(other, ok=False, found=f"{count} damaged block(s) that it shares with {version.version_id}")
        return report

    def verifications(self, volume: str) -> Mapping[str, Verification]:
        """Return what the newest verification of each version has shown, by version id."""
        return Verifications(self._objects, check_volume_name(volume)).all()

    def is_known_bad(self, version: Version) -> bool:
        """Return whether the newest verification of a version failed; without one nothing bad is known."""
        found = Verifications(self._objects, version.volume).find(version.version_id)
        return found is not None and not found.ok

    def orphans(self, volume: str) -> tuple[Orphan, ...]:
        """Return the packs of a volume that no version refers to, those of running copies among them."""
        engine = self._existing(volume)
        with self._engine_errors(volume):
            return find_orphans(engine, self._objects)

    def collect(self, volume: str, *, min_age_s: float = MIN_AGE_S) -> CollectReport:
        """Delete what no version of a volume refers to, in two phases at least ``min_age_s`` apart.

        The first call notes what it finds; a later one deletes what was noted long enough before. With less than the
        default, nobody may be backing this volume up.
        """
        engine = self._existing(volume)
        with self._engine_errors(volume):
            return collect(engine, self._objects, min_age_s=min_age_s)

    def _sharing(self, version: Version, index: BlockIndex, damaged: tuple[int, ...]) -> list[tuple[Version, int]]:
        """Return the other versions that refer to blocks that were found damaged, and to how many."""
        found = []
        for other in self.versions(version.volume) if damaged else ():
            if other.version_id != version.version_id:
                with suppress(IntegrityError), self.open_version(other) as reader:  # one that is damaged otherwise
                    found.append((other, shared(index, damaged, reader.index)))
        return [(other, count) for other, count in found if count]

    def _note(self, version: Version, *, ok: bool, found: str) -> None:
        try:
            Verifications(self._objects, version.volume).note(version.version_id, ok=ok, found=found)
        except NightwellError as error:  # what was found is told all the same
            _log.warning("The verification of %s is not noted in the store: %s", version.version_id, error)

    def _exists(self, volume: str) -> bool:
        """Return whether a volume has a repository: its folder may hold nothing but what a crash left."""
        with self._engine_errors(volume):
            return self._engine(volume).exists()

    def _engine(self, volume: str) -> Engine:
        with self._lock:
            if volume not in self._engines:
                self._engines[volume] = Engine(self._objects, volume)
            return self._engines[volume]

    def _existing(self, volume: str) -> Engine:
        engine = self._engine(check_volume_name(volume))
        with self._engine_errors(volume):
            if engine.exists():
                engine.open()
                return engine
        known = ", ".join(self.volumes()) or "none"
        raise NotFoundError(
            f"volume '{volume}'",
            expected="a volume that this store has a backup of",
            found=f"these volumes: {known}",
            cause="the name is mistyped, or the volume was never backed up",
            next_step="choose one of the volumes above",
        )

    def _tag_seen(self, version: Version) -> bool:
        return self._tagged.get(version.volume) == version.version_id

    def _complete_tag(self, engine: Engine, version: Version) -> None:
        """Tag what a crash between commit and tag left untagged."""
        if not self._tag_seen(version):
            engine.ensure_tag(version)
            self._tagged[version.volume] = version.version_id

    @contextmanager
    def _engine_errors(self, volume: str) -> Iterator[None]:
        """Raise this project's error for what Icechunk raises, which does not say whose fault it is."""
        try:
            yield
        except icechunk.IcechunkError as error:
            self._objects.check_bucket()  # raises when the server, the credentials or the bucket are the reason
            raise IntegrityError(
                f"repository of volume '{volume}' in {self.location}",
                expected="a repository that Icechunk can read",
                found=(str(error).strip().splitlines() or ["no reason given"])[0][:300],
                cause="an object of the repository is missing or damaged, or the server fails now and then",
                next_step="try again; if it stays, look at the repository with Icechunk",
            ) from error


def _open_document(objects: Objects, *, create: bool) -> StoreDocument:
    try:
        objects.check_bucket()
    except CredentialsError:
        # Credentials for one volume's part of the store may read this document, and not look at the bucket.
        with suppress(CredentialsError):
            if (document := load_document(objects)) is not None:
                return document
        raise
    document = load_document(objects)
    return _create(objects, allowed=create) if document is None else document


def _create(objects: Objects, *, allowed: bool) -> StoreDocument:
    if not allowed:
        raise store_missing(objects)
    check_conditional_writes(objects)
    return create_document(objects)


def _settle(draft: VersionDraft, parent: Version | None) -> VersionDraft:
    """Return the draft with its block size, after holding it against the parent version."""
    if draft.size_bytes <= 0:
        raise InputError(
            f"volume '{draft.volume}'",
            expected="a size of at least one byte",
            found=f"{draft.size_bytes} bytes",
            cause="the volume is empty, or its size was not read",
            next_step="check the volume on its array",
        )
    if parent is None:
        return replace(draft, block_bytes=check_block_bytes(draft.block_bytes or default_block_bytes(draft.size_bytes)))
    if draft.block_bytes not in {None, parent.block_bytes}:
        raise InputError(
            f"volume '{draft.volume}'",
            expected=f"blocks of {parent.block_bytes} bytes, as in version {parent.version_id}",
            found=f"a wish for blocks of {draft.block_bytes} bytes",
            cause="the setting was changed after the volume's first backup",
            next_step="leave the block size out, or back the volume up under another name",
        )
    if draft.size_bytes < parent.size_bytes:
        raise InputError(
            f"volume '{draft.volume}'",
            expected=f"at least {parent.size_bytes} bytes, as in version {parent.version_id}",
            found=f"{draft.size_bytes} bytes",
            cause="volumes grow and do not shrink, so this is probably another volume of the same name",
            next_step="back it up under another name",
        )
    return replace(draft, block_bytes=parent.block_bytes)
