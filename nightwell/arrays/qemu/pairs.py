"""Volumes and copy pairs: the port's :class:`~nightwell.arrays.port.VolumeArray`.

A pair is linked by a mirror job that makes every write of the host on both volumes. A split puts an overlay on P: what
lies below stands still from then on, and what the host writes afterwards is in the overlay. So a resync copies the
overlay and no more, and that holds after ``kill -9`` too, for the overlay is a file; QEMU's own bitmaps are lost then.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from nightwell.arrays import refusals
from nightwell.arrays.names import check_name
from nightwell.arrays.owners import check_owner
from nightwell.arrays.port import PairInfo, PairState, VolumeInfo
from nightwell.arrays.qemu.copier import Copier, CopyPlan
from nightwell.arrays.qemu.daemon import MonitorError
from nightwell.arrays.qemu.held import Held, Pair, Volume
from nightwell.arrays.qemu.layers import Layers
from nightwell.arrays.qemu.line import end_service, serve
from nightwell.arrays.qemu.split import LIST_GRAIN_BYTES, drop_list, split_pairs
from nightwell.arrays.qemu.state import PairRecord
from nightwell.arrays.served import ExportRecord
from nightwell.nbd.wire import QEMU_CHANGED_BITMAP

SECTOR_BYTES = 512


class QemuVolumes:
    """Volumes and pairs over what is held."""

    def __init__(self, held: Held) -> None:
        self._held = held

    def volumes(self) -> tuple[VolumeInfo, ...]:
        """Return every volume, sorted by name."""
        with self._held.calls:
            return tuple(self._held.volumes[name].info() for name in sorted(self._held.volumes))

    def create_volume(self, name: str, size_bytes: int, *, owner: str | None = None) -> VolumeInfo:
        """Make a zero-filled volume."""
        check_name("volume", name)
        held = self._held
        with held.calls:
            asked = VolumeInfo(name, size_bytes, owner)
            if name in held.volumes:
                found = held.volumes[name].info()
                if found != asked:
                    raise refusals.exists_otherwise(f"volume {name!r}", _described(asked), _described(found))
                return found
            _check_size(name, size_bytes)
            file = f"{name}.raw"
            path = held.volumes_folder / file
            try:
                with path.open("xb") as stream:
                    stream.truncate(size_bytes)
            except OSError as problem:
                path.unlink(missing_ok=True)
                raise refusals.wrong_size(name, size_bytes) from problem
            with held.change():
                layers = Layers(held.daemon, held.volumes_folder, (file,), held.number)
                held.volumes[name] = Volume(name, size_bytes, owner, layers)
            return asked

    def grow_volume(self, name: str, size_bytes: int) -> VolumeInfo:
        """Make a volume larger; who has it open is cut off, and finds the new size when it comes back."""
        held = self._held
        with held.calls:
            volume = held.volume(name)
            if size_bytes < volume.size_bytes:
                raise refusals.shrinks(name, volume.size_bytes, size_bytes)
            if held.pair_with(name) is not None:
                raise refusals.in_pair(name, "grow")
            if size_bytes > volume.size_bytes:
                _check_size(name, size_bytes)
                self._resize(volume, size_bytes)
            return volume.info()

    def _resize(self, volume: Volume, size_bytes: int) -> None:
        held = self._held
        exports = held.exports_of(volume.name)
        for export in exports:
            end_service(held, export.name)  # the daemon takes an export's size once and for all
        try:
            volume.layers.resize(size_bytes)
            volume.size_bytes = size_bytes
            held.save()
        except MonitorError as problem:
            raise refusals.wrong_size(volume.name, size_bytes) from problem
        finally:
            for export in exports:
                serve(held, export)

    def delete_volume(self, name: str, *, owner: str | None = None) -> None:
        """Delete a volume and its exports that nobody is connected to."""
        held = self._held
        with held.calls:
            volume = held.volumes.get(name)
            if volume is None:
                return
            check_owner(f"volume {name!r}", volume.owner, owner)
            if held.pair_with(name) is not None:
                raise refusals.in_pair(name, "delete")
            self._close_exports(name)
            files = [held.volumes_folder / file for file in volume.layers.files]
            with held.change():
                held.exports = {key: export for key, export in held.exports.items() if export.volume != name}
                del held.volumes[name]
            volume.layers.close()
            for file in files:
                file.unlink(missing_ok=True)

    def _close_exports(self, volume: str) -> None:
        """End the exports of a volume if nobody is connected to any; else ConflictError, with all served as before."""
        held = self._held
        ended: list[ExportRecord] = []
        for export in held.exports_of(volume):
            try:
                # The one question that the daemon answers about connections: it refuses when there is one.
                held.daemon.command("block-export-del", id=f"e-{export.name}", mode="safe")
            except MonitorError as problem:
                for again in ended:
                    serve(held, again)
                raise refusals.connected(f"volume {volume!r}", None) from problem
            ended.append(export)

    # -- pairs ---------------------------------------------------------------------------------------------------

    def pair_of(self, volume: str) -> PairInfo | None:
        """Return the pair of a volume."""
        held = self._held
        with held.calls:
            held.volume(volume)
            pair = held.pair_with(volume)
            return None if pair is None else pair.info()

    def create_pair(self, primary: str, secondary: str, *, owner: str | None = None) -> PairInfo:
        """Pair two volumes and start the copy."""
        held = self._held
        with held.calls:
            leader, follower = held.volume(primary), held.volume(secondary)
            existing = held.pair_with(primary) or held.pair_with(secondary)
            if existing is not None:
                found = existing.record
                if (found.primary, found.secondary, found.owner) != (primary, secondary, owner):
                    raise refusals.other_pair(
                        (primary, secondary, owner), (found.primary, found.secondary, found.owner)
                    )
                return existing.info()
            if leader is follower:
                raise refusals.one_volume_twice(primary)
            if leader.size_bytes != follower.size_bytes:
                raise refusals.sizes_differ(primary, leader.size_bytes, secondary, follower.size_bytes)
            self._check_not_exported(secondary, "overwrite it")
            pair = Pair(PairRecord(uuid.uuid4().hex, primary, secondary, PairState.COPY, owner=owner))
            with held.change():
                held.pairs[primary] = pair
            start_copy(held, pair)
            return pair.info()

    def split(self, primaries: Sequence[str]) -> tuple[PairInfo, ...]:
        """Split pairs at one point in time."""
        names = tuple(dict.fromkeys(primaries))
        if not names:
            raise refusals.empty_group()
        held = self._held
        with held.calls:
            pairs = [self._pair(name) for name in names]
            fresh = [pair for pair in pairs if pair.state is not PairState.PSUS]
            for pair in fresh:
                _check_in_step(pair)
            if fresh:
                split_pairs(held, fresh, datetime.now(UTC))
            return tuple(pair.info() for pair in pairs)

    def resync(self, primary: str) -> PairInfo:
        """Start bringing S back in step."""
        held = self._held
        with held.calls:
            pair = self._pair(primary)
            if pair.state in {PairState.COPY, PairState.PAIR}:
                return pair.info()
            self._check_not_exported(pair.record.secondary, "resync it")
            secondary = held.volume(pair.record.secondary)
            drop_list(held, secondary)
            whole = pair.state is PairState.PSUE
            with held.graph:
                last = None if whole else pair.record.split_id
                pair.record = replace(
                    pair.record, state=PairState.COPY, full=whole, fault=None, split_id=None, split_at=None,
                    last_split_id=last,
                )  # fmt: skip
                held.save()  # before S is touched
            if last is not None:
                held.daemon.command(
                    "block-dirty-bitmap-add",
                    node=secondary.layers.active,
                    name=QEMU_CHANGED_BITMAP,
                    granularity=LIST_GRAIN_BYTES,
                )
            pair.listed = last is not None
            start_copy(held, pair)
            return pair.info()

    def delete_pair(self, primary: str, *, owner: str | None = None) -> None:
        """Dissolve a pair; both volumes stay."""
        held = self._held
        with held.calls:
            if primary not in held.volumes or held.pair_with(primary) is None:
                return
            pair = self._pair(primary)
            check_owner(pair.names, pair.record.owner, owner)
            if pair.copier is not None:
                pair.copier.stop()
            with held.change():
                del held.pairs[primary]
            if not held.exports_of(pair.record.secondary):
                drop_list(held, held.volume(pair.record.secondary))

    def _pair(self, name: str) -> Pair:
        self._held.volume(name)
        pair = self._held.pair_with(name)
        if pair is None:
            raise refusals.no_pair(name)
        if pair.record.primary != name:
            raise refusals.not_primary(name, pair.record.primary)
        return pair

    def _check_not_exported(self, volume: str, action: str) -> None:
        exports = self._held.exports_of(volume)
        if exports:
            raise refusals.still_exported(volume, exports[0].name, action)


def start_copy(held: Held, pair: Pair) -> None:
    """Start bringing S in step; what was folded away before is deleted."""
    primary, secondary = held.volume(pair.record.primary), held.volume(pair.record.secondary)
    full = pair.record.full

    def prepare() -> CopyPlan:
        gone = [*primary.layers.fold_middle(), *secondary.layers.fold_all()]
        if gone:
            primary.layers.sync()  # what was folded lies in the oldest file alone from here on
            secondary.layers.sync()
            held.save()  # first the record without them, then the files
            for file in gone:
                with suppress(FileNotFoundError):
                    (held.volumes_folder / file).unlink()
        return CopyPlan(primary.layers.active, secondary.layers.active, full)

    pair.copier = Copier(held.daemon, f"mirror{held.number()}", prepare=prepare, graph=held.graph)
    pair.copier.start()


def _check_in_step(pair: Pair) -> None:
    if pair.state is not PairState.PAIR:
        raise refusals.wrong_state(
            pair.names,
            "state PAIR (nothing of the group was split)",
            pair.state,
            "resync it with a full copy, then split" if pair.state is PairState.PSUE else "wait for PAIR, then split",
        )


def _check_size(name: str, size_bytes: int) -> None:
    if size_bytes < 1:
        raise refusals.wrong_size(name, size_bytes)
    if size_bytes % SECTOR_BYTES:
        raise refusals.no_whole_sectors(f"volume {name!r}", size_bytes, SECTOR_BYTES)


def _described(volume: VolumeInfo) -> str:
    return f"{volume.size_bytes} bytes of owner {volume.owner!r}"
