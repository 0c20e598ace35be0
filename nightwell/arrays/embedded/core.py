"""Volumes and copy pairs: the port's :class:`~nightwell.arrays.port.VolumeArray`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from nightwell.arrays import refusals
from nightwell.arrays.embedded.catalogue import Catalogue, LinkedPair
from nightwell.arrays.embedded.change_map import ChangeMap, chunks_of
from nightwell.arrays.embedded.pair import Pair
from nightwell.arrays.embedded.state import PairRecord
from nightwell.arrays.embedded.volume import Volume
from nightwell.arrays.embedded.volume_file import VolumeFile, make_volume_file
from nightwell.arrays.names import check_name
from nightwell.arrays.owners import check_owner
from nightwell.arrays.port import PairInfo, PairState, VolumeInfo


class VolumeCore:
    """Volumes and pairs over a catalogue.

    Parameters
    ----------
    catalogue
        What the array holds.
    connections
        Tells how many clients hold an export open.
    """

    def __init__(self, catalogue: Catalogue, connections: Callable[[str], int]) -> None:
        self._held = catalogue
        self._connections = connections

    # -- volumes -------------------------------------------------------------------------------------------------

    def volumes(self) -> tuple[VolumeInfo, ...]:
        """Return every volume, sorted by name."""
        with self._held.lock:
            return tuple(self._held.volumes[name].info() for name in sorted(self._held.volumes))

    def create_volume(self, name: str, size_bytes: int, *, owner: str | None = None) -> VolumeInfo:
        """Make a zero-filled volume."""
        check_name("volume", name)
        held = self._held
        with held.lock:
            if name in held.volumes:
                return self._same_volume(held.volumes[name], VolumeInfo(name, size_bytes, owner))
            if size_bytes < 1:
                raise refusals.wrong_size(name, size_bytes)
            path = held.volume_path(name)
            try:
                make_volume_file(path, size_bytes)
            except OSError as problem:
                path.unlink(missing_ok=True)
                raise refusals.wrong_size(name, size_bytes) from problem
            with held.change():
                held.volumes[name] = Volume(name, owner, VolumeFile(path), held.gate)
            return held.volumes[name].info()

    @staticmethod
    def _same_volume(volume: Volume, asked: VolumeInfo) -> VolumeInfo:
        found = volume.info()
        if found == asked:
            return found
        raise refusals.exists_otherwise(f"volume {asked.name!r}", _described(asked), _described(found))

    def grow_volume(self, name: str, size_bytes: int) -> VolumeInfo:
        """Make a volume larger."""
        held = self._held
        with held.lock:
            volume = held.volume(name)
            if size_bytes < volume.size_bytes:
                raise refusals.shrinks(name, volume.size_bytes, size_bytes)
            if volume.pair is not None:
                raise refusals.in_pair(name, "grow")
            if size_bytes > volume.size_bytes:
                try:
                    volume.file.grow(size_bytes)
                except OSError as problem:
                    raise refusals.wrong_size(name, size_bytes) from problem
                held.save()
            return volume.info()

    def delete_volume(self, name: str, *, owner: str | None = None) -> None:
        """Delete a volume and its exports that nobody is connected to."""
        held = self._held
        with held.lock:
            volume = held.volumes.get(name)
            if volume is None:
                return
            check_owner(f"volume {name!r}", volume.owner, owner)
            if volume.pair is not None:
                raise refusals.in_pair(name, "delete")
            exports = [export for export in held.exports.values() if export.volume == name]
            files = (volume.file.path,)
            with held.change():
                for export in exports:
                    # Out of the table first: who opens it after this finds none, who opened it before is counted.
                    del held.exports[export.name]
                open_count = sum(self._connections(export.name) for export in exports)
                if open_count:
                    raise refusals.connected(f"volume {name!r}", open_count)
                del held.volumes[name]
                held.give_up(files)
            volume.file.close()
            held.remove_files(files)

    # -- pairs ---------------------------------------------------------------------------------------------------

    def pair_of(self, volume: str) -> PairInfo | None:
        """Return the pair of a volume."""
        with self._held.lock:
            pair = self._held.volume(volume).pair
            return None if pair is None else pair.info()

    def create_pair(self, primary: str, secondary: str, *, owner: str | None = None) -> PairInfo:
        """Pair two volumes and start the copy."""
        held = self._held
        with held.lock:
            leader, follower = held.volume(primary), held.volume(secondary)
            existing = leader.pair or follower.pair
            if existing is not None:
                return self._same_pair(existing, (primary, secondary), owner)
            self._check_new_pair(leader, follower)
            record = PairRecord(uuid.uuid4().hex, primary, secondary, PairState.COPY, owner=owner)
            linked = LinkedPair(open_pair(held, record))
            linked.pair.lacking.mark_all()
            with held.change():
                held.pairs[primary] = linked
            # From here on a restart goes on copying; S has not been touched yet.
            with held.gate.exclusive():
                attach(held, linked.pair)
            linked.start_copy()
            return linked.pair.info()

    @staticmethod
    def _same_pair(pair: Pair, names: tuple[str, str], owner: str | None) -> PairInfo:
        if pair.names == names and pair.owner == owner:
            return pair.info()
        raise refusals.other_pair((*names, owner), (*pair.names, pair.owner))

    def _check_new_pair(self, leader: Volume, follower: Volume) -> None:
        if leader is follower:
            raise refusals.one_volume_twice(leader.name)
        if leader.size_bytes != follower.size_bytes:
            raise refusals.sizes_differ(leader.name, leader.size_bytes, follower.name, follower.size_bytes)
        export = self._held.export_of(follower.name)
        if export is not None:
            raise refusals.still_exported(follower.name, export.name, "overwrite it")

    def split(self, primaries: Sequence[str]) -> tuple[PairInfo, ...]:
        """Split pairs at one point in time."""
        names = tuple(dict.fromkeys(primaries))
        if not names:
            raise refusals.empty_group()
        held = self._held
        with held.lock:
            early = [held.pairs[name].pair for name in names if name in held.pairs]
        for pair in early:
            if pair.state is PairState.PAIR:
                _sync_secondary(pair)  # most of S goes to disk here, while nobody waits
        with held.lock:
            pairs = [self._pair(name) for name in names]
            fresh = [pair for pair in pairs if pair.state is not PairState.PSUS]
            if fresh:
                self._split(fresh)
                for pair in fresh:
                    _check_split(pair)
            return tuple(pair.info() for pair in pairs)

    def _split(self, pairs: list[Pair]) -> None:
        for pair in pairs:
            _check_in_step(pair)
        for pair in pairs:
            pair.prepare_split()
        try:
            with self._held.gate.exclusive():
                for pair in pairs:
                    _check_in_step(pair)
                at = datetime.now(UTC)
                for pair in pairs:
                    pair.freeze(uuid.uuid4().hex, at)
            for pair in pairs:
                _sync_secondary(pair)
            self._held.save()
        finally:
            for pair in pairs:
                pair.settle_split()

    def resync(self, primary: str) -> PairInfo:
        """Start bringing S back in step."""
        held = self._held
        with held.lock:
            pair = self._pair(primary)
            if pair.state in {PairState.COPY, PairState.PAIR}:
                return pair.info()
            export = held.export_of(pair.names[1])
            if export is not None:
                raise refusals.still_exported(pair.names[1], export.name, "resync it")
            linked = held.pairs[primary]
            linked.stop_copy()
            held.save(relinking=pair.prepare_relink())  # on disk before S is touched
            with held.gate.exclusive():
                pair.relink()
            linked.start_copy()
            return pair.info()

    def delete_pair(self, primary: str, *, owner: str | None = None) -> None:
        """Dissolve a pair; both volumes stay."""
        held = self._held
        with held.lock:
            volume = held.volumes.get(primary)
            if volume is None or volume.pair is None:
                return
            pair = self._pair(primary)
            check_owner(f"pair of {primary!r} and {pair.names[1]!r}", pair.owner, owner)
            linked = held.pairs[primary]
            linked.stop_copy()
            files = held.map_paths(pair.pair_id)
            with held.change():
                del held.pairs[primary]
                held.give_up(files)
            with held.gate.exclusive():  # only now, with the end on record, may a write to P go unmarked
                detach(held, pair)
            held.remove_files(files)

    def _pair(self, primary: str) -> Pair:
        volume = self._held.volume(primary)
        if volume.pair is None:
            raise refusals.no_pair(primary)
        if volume.primary is not None:
            raise refusals.not_primary(primary, volume.primary.name)
        return volume.pair


def open_pair(held: Catalogue, record: PairRecord) -> Pair:
    """Open a pair's maps; a map that is missing or cut makes the pair doubtful (see ``recovery``)."""
    leader, follower = held.volume(record.primary), held.volume(record.secondary)
    chunks = chunks_of(leader.size_bytes)
    lacking, first, second = (ChangeMap(path, chunks) for path in held.map_paths(record.pair_id))
    return Pair(
        record,
        leader.file,
        follower.file,
        (lacking, first, second),
        gate=held.gate,
        on_fault=held.save_fault,
    )


def attach(held: Catalogue, pair: Pair) -> None:
    """Make the pair's volumes know it; nobody writes meanwhile."""
    leader, follower = (held.volume(name) for name in pair.names)
    leader.pair = follower.pair = pair
    follower.primary = leader


def detach(held: Catalogue, pair: Pair) -> None:
    """Make the pair's volumes forget it; nobody writes meanwhile."""
    leader, follower = (held.volume(name) for name in pair.names)
    leader.pair = follower.pair = None
    follower.primary = None


def _check_in_step(pair: Pair) -> None:
    if pair.state is not PairState.PAIR:
        raise refusals.wrong_state(
            f"pair of {pair.names[0]!r} and {pair.names[1]!r}",
            "state PAIR (nothing of the group was split)",
            pair.state,
            "resync it with a full copy, then split" if pair.state is PairState.PSUE else "wait for PAIR, then split",
        )


def _check_split(pair: Pair) -> None:
    if pair.state is not PairState.PSUS:
        raise refusals.wrong_state(
            f"pair of {pair.names[0]!r} and {pair.names[1]!r}",
            "state PSUS",
            pair.state,
            f"see why ({pair.fault}), then resync",
        )


def _sync_secondary(pair: Pair) -> None:
    try:
        pair.secondary.sync()
    except OSError as problem:
        pair.fail(f"bringing {pair.names[1]} to the disk failed: {problem}")


def _described(volume: VolumeInfo) -> str:
    return f"{volume.size_bytes} bytes of owner {volume.owner!r}"
