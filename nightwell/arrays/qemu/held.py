"""All that the qemu array holds, under its locks."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from nightwell.arrays import refusals
from nightwell.arrays.port import PairInfo, PairState, VolumeInfo
from nightwell.arrays.qemu.copier import Copier
from nightwell.arrays.qemu.daemon import StorageDaemon
from nightwell.arrays.qemu.layers import Layers
from nightwell.arrays.qemu.state import (
    FORMAT,
    ArrayState,
    PairRecord,
    VolumeRecord,
)
from nightwell.arrays.record_file import load_record, save_record
from nightwell.arrays.served import ExportRecord, ImportRecord

_ADAPTER = TypeAdapter(ArrayState)


@dataclass(slots=True)
class Volume:
    """One volume: its record, its open files, and an overlay that a split is about to put on top."""

    name: str
    size_bytes: int
    owner: str | None
    layers: Layers
    coming: str | None = None

    def info(self) -> VolumeInfo:
        """Return what the port says of it."""
        return VolumeInfo(self.name, self.size_bytes, self.owner)

    def record(self) -> VolumeRecord:
        """Return what is remembered of it."""
        coming = () if self.coming is None else (self.coming,)
        return VolumeRecord(self.name, self.size_bytes, (*self.layers.files, *coming), self.owner)


@dataclass(slots=True)
class Pair:
    """One copy pair: its record, and the job that copies while it is linked.

    ``listed`` says that the secondary's bitmap holds every change since ``record.last_split_id``.
    """

    record: PairRecord
    copier: Copier | None = None
    listed: bool = False

    @property
    def state(self) -> PairState:
        """Its state now."""
        if self.record.state is not PairState.COPY or self.copier is None:
            return self.record.state
        if self.copier.fault is not None:
            return PairState.PSUE
        return PairState.PAIR if self.copier.in_step else PairState.COPY

    @property
    def fault(self) -> str | None:
        """Why it has failed."""
        return self.record.fault or (self.copier.fault if self.copier is not None else None)

    @property
    def names(self) -> str:
        """Both volumes, for an error."""
        return f"pair of {self.record.primary!r} and {self.record.secondary!r}"

    def info(self) -> PairInfo:
        """Return what the port says of it."""
        record, copier = self.record, self.copier
        split = self.state is PairState.PSUS
        return PairInfo(
            primary=record.primary,
            secondary=record.secondary,
            state=self.state,
            copied_bytes=record.copied_bytes if copier is None else copier.copied_bytes,
            to_copy_bytes=record.to_copy_bytes if copier is None else copier.to_copy_bytes,
            owner=record.owner,
            split_id=record.split_id if split else None,
            previous_split_id=record.last_split_id if split and self.listed else None,
            split_at=record.split_at if split else None,
            fault=self.fault if self.state is PairState.PSUE else None,
        )


class Held:
    """What the array holds.

    ``calls`` is held by one call of the port at a time. ``graph`` is held while the daemon's nodes or the record
    change; it is taken by the copiers' threads too, so nobody waits for one of them while holding it.

    Parameters
    ----------
    directory
        The array's, held by this process.
    name
        The array's.
    daemon
        The running daemon.
    """

    def __init__(self, directory: Path, name: str, daemon: StorageDaemon) -> None:
        self.directory = directory
        self.name = name
        self.daemon = daemon
        self.calls = threading.RLock()
        self.graph = threading.RLock()
        self.port = 0
        self.volumes: dict[str, Volume] = {}
        self.pairs: dict[str, Pair] = {}
        self.exports: dict[str, ExportRecord] = {}
        self.imports: dict[str, ImportRecord] = {}
        self.import_nodes: dict[str, str] = {}  # of the imports that the daemon has open
        self.closed = False
        self._numbers = itertools.count(1)
        self._file_number = 1

    @property
    def volumes_folder(self) -> Path:
        """Where the volumes' files are."""
        return self.directory / "volumes"

    @property
    def state_path(self) -> Path:
        """Where the record is."""
        return self.directory / "state.json"

    def number(self) -> int:
        """Return a number for a node or a job, new in this process."""
        return next(self._numbers)

    def new_file(self, volume: str) -> str:
        """Return the name of a new overlay; no overlay ever had it."""
        self._file_number += 1
        return f"{volume}.{self._file_number}.qcow2"

    def load(self) -> ArrayState | None:
        """Return what was remembered; errors as :func:`load_record`."""
        state = load_record(self.state_path, _ADAPTER, FORMAT)
        if state is not None:
            self._file_number = state.next_number
        return state

    def save(self, *, clean: bool = False) -> None:
        """Make the record what is held now; NightwellError when it cannot be written."""
        with self.graph:
            state = ArrayState(
                name=self.name,
                clean=clean,
                port=self.port,
                next_number=self._file_number,
                volumes=tuple(volume.record() for volume in self.volumes.values()),
                pairs=tuple(pair.record for pair in self.pairs.values()),
                exports=tuple(self.exports.values()),
                imports=tuple(self.imports.values()),
            )
            try:
                save_record(self.state_path, _ADAPTER, state)
            except OSError as problem:
                raise refusals.cannot_record(self.state_path, problem) from problem

    @contextmanager
    def change(self) -> Iterator[None]:
        """Record what the block changes in the tables, or put them back as they were."""
        with self.graph:
            before = dict(self.volumes), dict(self.pairs), dict(self.exports), dict(self.imports)
            try:
                yield
                self.save()
            except BaseException:
                self.volumes, self.pairs, self.exports, self.imports = before
                raise

    def volume(self, name: str) -> Volume:
        """Return a volume; NotFoundError when there is none of that name."""
        volume = self.volumes.get(name)
        if volume is None:
            raise refusals.unknown_volume(name)
        return volume

    def pair_with(self, volume: str) -> Pair | None:
        """Return the pair in which a volume is P or S; a failure met since is put on record."""
        for pair in self.pairs.values():
            if volume in {pair.record.primary, pair.record.secondary}:
                self._note_failure(pair)
                return pair
        return None

    def exports_of(self, volume: str) -> list[ExportRecord]:
        """Return the exports of a volume."""
        return [export for export in self.exports.values() if export.volume == volume]

    def top_node(self, volume: Volume) -> str:
        """Return the node that exports of a volume stand on; ``graph`` is held."""
        pair = self.pairs.get(volume.name)
        if pair is not None and pair.copier is not None:
            wanted = pair.copier.filter_node
            if any(node["node-name"] == wanted for node in self.daemon.command("query-named-block-nodes", flat=True)):
                return wanted
        return volume.layers.active

    def _note_failure(self, pair: Pair) -> None:
        if pair.state is PairState.PSUE and pair.record.state is PairState.COPY:
            with self.graph:
                copier = pair.copier
                pair.record = replace(pair.record, state=PairState.PSUE, fault=pair.fault, full=True)
                if copier is not None:
                    pair.copier = None
                self.save()
