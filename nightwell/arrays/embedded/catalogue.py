"""Everything the array holds, under one lock, and its durable record."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nightwell.arrays import refusals
from nightwell.arrays.embedded.copier import Copier
from nightwell.arrays.embedded.gate import Gate
from nightwell.arrays.embedded.pair import Pair
from nightwell.arrays.embedded.state import (
    ArrayState,
    PairRecord,
    VolumeRecord,
    save_state,
)
from nightwell.arrays.embedded.volume import Volume
from nightwell.arrays.port import PairState
from nightwell.arrays.record_file import current_boot_id
from nightwell.arrays.served import ExportRecord, ImportRecord


@dataclass(slots=True)
class LinkedPair:
    """A pair with the thread that may be copying for it."""

    pair: Pair
    copier: Copier | None = None

    def start_copy(self) -> None:
        """Start copying what S lacks; the pair is COPY."""
        self.stop_copy()
        self.copier = Copier(self.pair)

    def stop_copy(self) -> None:
        """Stop copying; never call with the gate held."""
        if self.copier is not None:
            self.copier.stop()
            self.copier = None


class Catalogue:
    """What the array holds.

    Parameters
    ----------
    directory
        Where files live.
    name
        The array's name.

    Attributes
    ----------
    lock
        Guards every change of what the array holds; never held while a client's request runs, or a withdrawal waits.
    gate
        Guards the data; may be taken while ``lock`` is held, never the other way round.
    pairs
        By the primary's name.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = name
        self.lock = threading.RLock()
        self.gate = Gate()
        self.port = 0
        self.volumes: dict[str, Volume] = {}
        self.pairs: dict[str, LinkedPair] = {}
        self.exports: dict[str, ExportRecord] = {}
        self.imports: dict[str, ImportRecord] = {}
        self.leftovers: set[str] = set()
        self.closed = False  # the record is final: what was held is on disk, and marked clean
        self._boot_id = current_boot_id()

    @property
    def state_path(self) -> Path:
        """Where the durable record stands."""
        return self.directory / "state.json"

    def volume_path(self, name: str) -> Path:
        """Return where a volume's bytes stand."""
        return self.directory / "volumes" / f"{name}.raw"

    def map_paths(self, pair_id: str) -> tuple[Path, Path, Path]:
        """Return where a pair's maps stand: what S lacks, and the two that take turns."""
        maps = self.directory / "maps"
        return maps / f"{pair_id}.lacking", maps / f"{pair_id}.0", maps / f"{pair_id}.1"

    def volume(self, name: str) -> Volume:
        """Return a volume; NotFoundError."""
        try:
            return self.volumes[name]
        except KeyError:
            raise refusals.unknown_volume(name) from None

    def export_of(self, volume: str) -> ExportRecord | None:
        """Return an export of this volume, if there is one."""
        return next((export for export in self.exports.values() if export.volume == volume), None)

    def start_copies(self) -> None:
        """Go on with every copy that a stop has interrupted; ``lock`` is held."""
        for linked in self.pairs.values():
            if linked.pair.state is PairState.COPY and linked.copier is None:
                linked.start_copy()

    def save(self, *, clean: bool = False, relinking: PairRecord | None = None) -> None:
        """Replace the durable record by what is held now; ``lock`` is held.

        ``relinking`` records what is about to be done to a pair, before it is done.
        """
        pairs = [held.pair.record() for held in self.pairs.values()]
        if relinking is not None:
            pairs = [relinking if pair.pair_id == relinking.pair_id else pair for pair in pairs]
        state = ArrayState(
            name=self.name,
            boot_id=self._boot_id,
            clean=clean,
            port=self.port,
            volumes=tuple(VolumeRecord(v.name, v.size_bytes, v.owner) for v in self.volumes.values()),
            pairs=tuple(pairs),
            exports=tuple(self.exports.values()),
            imports=tuple(self.imports.values()),
            leftovers=tuple(sorted(self.leftovers)),
        )
        try:
            save_state(self.state_path, state)
        except OSError as problem:
            raise refusals.cannot_record(self.state_path, problem) from problem

    @contextmanager
    def change(self) -> Iterator[None]:
        """Change what is held and record it; when either fails, what was held before is held again."""
        before = (
            self.volumes.copy(),
            self.pairs.copy(),
            self.exports.copy(),
            self.imports.copy(),
            self.leftovers.copy(),
        )
        try:
            yield
            self.save()
        except BaseException:
            self.volumes, self.pairs, self.exports, self.imports, self.leftovers = before
            raise

    def save_fault(self) -> None:
        """Record that a pair has failed; called by the writer or the copier that met the fault.

        On a thread of its own, for that caller may be inside the gate. Until it is done a restart finds the pair
        linked with the failed chunk marked, and tries it again: late is safe.
        """
        threading.Thread(target=self._save_locked, name="save-fault", daemon=True).start()

    def _save_locked(self) -> None:
        with self.lock:
            if not self.closed:
                self.save()

    def remove_files(self, paths: tuple[Path, ...]) -> None:
        """Remove files that the durable record lists as leftovers."""
        for path in paths:
            path.unlink(missing_ok=True)
            self.leftovers.discard(str(path.relative_to(self.directory)))

    def give_up(self, paths: tuple[Path, ...]) -> None:
        """Note files whose removal is decided; a restart finishes it."""
        self.leftovers.update(str(path.relative_to(self.directory)) for path in paths)

    def close_files(self) -> None:
        """Let go of every file, unflushed; nobody writes, copies or reads any more."""
        self.closed = True
        for linked in self.pairs.values():
            linked.pair.close_maps()
        for volume in self.volumes.values():
            volume.file.close()
