"""One deliberately broken array per clause of the suite: each breaks its clause, and no other."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from nightwell.arrays.embedded.array import EmbeddedArray
from nightwell.arrays.embedded.backends import VolumeBackend
from nightwell.arrays.embedded.imports import ImportBackend
from nightwell.arrays.embedded.pair import Action, Pair
from nightwell.arrays.embedded.volume import STATE_CODES, Volume
from nightwell.arrays.port import Export, PairInfo, PairState, VolumeInfo
from nightwell.errors import ConflictError, InputError, NotFoundError, UnreachableError
from nightwell.nbd.wire import ALLOCATION

BROKEN: dict[str, type[EmbeddedArray]] = {}


def breaks(clause: str) -> Callable[[type[EmbeddedArray]], type[EmbeddedArray]]:
    def enter(kind: type[EmbeddedArray]) -> type[EmbeddedArray]:
        BROKEN[clause] = kind
        return kind

    return enter


def conflict() -> ConflictError:
    return ConflictError("array", expected="-", found="-", cause="it is broken on purpose", next_step="-")


def missing() -> NotFoundError:
    return NotFoundError("array", expected="-", found="-", cause="it is broken on purpose", next_step="-")


class Probed(EmbeddedArray):
    """Gives the broken ones a way inside."""

    def volume_of(self, name: str) -> Volume:
        return self._held.volume(name)

    def has(self, name: str) -> bool:
        return name in self._held.volumes

    def pair(self, primary: str) -> Pair:
        return self._held.pairs[primary].pair

    def state(self, name: str) -> PairState:
        return self.volume_of(name).pair_state()

    def scribble(self, name: str, offset_bytes: int) -> None:
        """Change one byte behind the array's back."""
        descriptor = self.volume_of(name).file.descriptor
        (old,) = os.pread(descriptor, 1, offset_bytes)
        os.pwrite(descriptor, bytes([old ^ 0x55]), offset_bytes)


@breaks("create-zero-filled")
class LeavesOldBytes(Probed):
    def create_volume(self, name: str, size_bytes: int, *, owner: str | None = None) -> VolumeInfo:
        fresh = not self.has(name)
        made = super().create_volume(name, size_bytes, owner=owner)
        if fresh:
            self.scribble(name, size_bytes - 1)
        return made


@breaks("create-again")
class RefusesToCreateAgain(Probed):
    def create_volume(self, name: str, size_bytes: int, *, owner: str | None = None) -> VolumeInfo:
        if self.has(name):
            raise conflict()
        return super().create_volume(name, size_bytes, owner=owner)


@breaks("create-conflict")
class AnswersForAnyVolumeOfTheName(Probed):
    def create_volume(self, name: str, size_bytes: int, *, owner: str | None = None) -> VolumeInfo:
        if self.has(name):
            return self.volume_of(name).info()
        return super().create_volume(name, size_bytes, owner=owner)


@breaks("bad-names")
class TakesAnyName(Probed):
    def create_volume(self, name: str, size_bytes: int, *, owner: str | None = None) -> VolumeInfo:
        if "/" in name:
            return VolumeInfo(name, size_bytes, owner)
        return super().create_volume(name, size_bytes, owner=owner)


@breaks("bad-sizes")
class TakesAnySize(Probed):
    def create_volume(self, name: str, size_bytes: int, *, owner: str | None = None) -> VolumeInfo:
        if size_bytes < 1:
            return VolumeInfo(name, size_bytes, owner)
        return super().create_volume(name, size_bytes, owner=owner)


@breaks("unknown-volume")
class KnowsNoUnknownVolume(Probed):
    def pair_of(self, volume: str) -> PairInfo | None:
        return super().pair_of(volume) if self.has(volume) else None


@breaks("gone-is-gone")
class MissesWhatIsGone(Probed):
    def delete_volume(self, name: str, *, owner: str | None = None) -> None:
        if not self.has(name):
            raise missing()
        super().delete_volume(name, owner=owner)


@breaks("grow")
class Shrinks(Probed):
    def grow_volume(self, name: str, size_bytes: int) -> VolumeInfo:
        try:
            return super().grow_volume(name, size_bytes)
        except InputError:
            return replace(self.volume_of(name).info(), size_bytes=size_bytes)


@breaks("grow-in-pair")
class GrowsInPair(Probed):
    def grow_volume(self, name: str, size_bytes: int) -> VolumeInfo:
        try:
            return super().grow_volume(name, size_bytes)
        except ConflictError:
            return replace(self.volume_of(name).info(), size_bytes=size_bytes)


@breaks("delete-in-pair")
class DissolvesToDelete(Probed):
    def delete_volume(self, name: str, *, owner: str | None = None) -> None:
        pair = self.pair_of(name) if self.has(name) else None
        if pair is not None:
            self.delete_pair(pair.primary)
        super().delete_volume(name, owner=owner)


@breaks("delete-connected")
class CutsToDelete(Probed):
    def delete_volume(self, name: str, *, owner: str | None = None) -> None:
        for export in self.exports():
            if export.volume == name:
                self.withdraw(export.name)
        super().delete_volume(name, owner=owner)


@breaks("owner-of-volume")
class DeletesForAnybody(Probed):
    def delete_volume(self, name: str, *, owner: str | None = None) -> None:
        super().delete_volume(name)


@breaks("owner-of-pair")
class DissolvesForAnybody(Probed):
    def delete_pair(self, primary: str, *, owner: str | None = None) -> None:
        super().delete_pair(primary)


@breaks("owner-of-export")
class WithdrawsForAnybody(Probed):
    def withdraw(self, name: str, *, owner: str | None = None) -> None:
        super().withdraw(name)


@breaks("pair-of-equals")
class PairsAnySizes(Probed):
    def create_pair(self, primary: str, secondary: str, *, owner: str | None = None) -> PairInfo:
        if self.volume_of(primary).size_bytes != self.volume_of(secondary).size_bytes:
            return PairInfo(primary, secondary, PairState.COPY, 0, 0, owner)
        return super().create_pair(primary, secondary, owner=owner)


@breaks("pair-again")
class RefusesToPairAgain(Probed):
    def create_pair(self, primary: str, secondary: str, *, owner: str | None = None) -> PairInfo:
        if self.pair_of(primary) is not None:
            raise conflict()
        return super().create_pair(primary, secondary, owner=owner)


@breaks("pair-conflict")
class AnswersForAnyPair(Probed):
    def create_pair(self, primary: str, secondary: str, *, owner: str | None = None) -> PairInfo:
        found = self.pair_of(primary) or self.pair_of(secondary)
        return found or super().create_pair(primary, secondary, owner=owner)


@breaks("copy-equal")
class LosesTheOddTail(Probed):
    def split(self, primaries: Sequence[str]) -> tuple[PairInfo, ...]:
        infos = super().split(primaries)
        for info in infos:
            size_bytes = self.volume_of(info.secondary).size_bytes
            if size_bytes % 512:
                self.scribble(info.secondary, size_bytes - 1)
        return infos


@breaks("copy-under-writes")
class ForgetsWritesWhileCopying(Probed):
    def create_pair(self, primary: str, secondary: str, *, owner: str | None = None) -> PairInfo:
        info = super().create_pair(primary, secondary, owner=owner)
        pair = self.pair(primary)

        def only_primary(offset_bytes: int, length_bytes: int, action: Action) -> None:
            action(pair.primary, offset_bytes, offset_bytes + length_bytes)

        pair.apply = only_primary  # type: ignore[method-assign] # the fault
        return info

    def pair_of(self, volume: str) -> PairInfo | None:
        info = super().pair_of(volume)
        if info is not None and info.state is PairState.PAIR and "apply" in vars(self.pair(info.primary)):
            time.sleep(0.03)  # time for a writer to be forgotten, however quick the copy was
            del self.pair(info.primary).apply
        return info


class BreaksZeroes(Probed):
    """Does something wrong after each zero or trim of a primary."""

    def after_zero(self, pair: Pair, offset_bytes: int, length_bytes: int) -> None:
        raise AssertionError

    def create_pair(self, primary: str, secondary: str, *, owner: str | None = None) -> PairInfo:
        info = super().create_pair(primary, secondary, owner=owner)
        volume = self.volume_of(primary)

        def zero(offset_bytes: int, length_bytes: int, *, may_punch: bool, fua: bool) -> None:
            Volume.zero(volume, offset_bytes, length_bytes, may_punch=may_punch, fua=fua)
            if volume.pair is not None:
                self.after_zero(volume.pair, offset_bytes, length_bytes)

        volume.zero = zero  # type: ignore[method-assign] # the fault
        return info


@breaks("mirror")
class MirrorsNoZeroes(BreaksZeroes):
    def after_zero(self, pair: Pair, offset_bytes: int, length_bytes: int) -> None:
        if pair.state is PairState.PAIR:
            self.scribble(pair.names[1], offset_bytes)


@breaks("split-freezes")
class LeaksZeroesIntoTheSplit(BreaksZeroes):
    def after_zero(self, pair: Pair, offset_bytes: int, length_bytes: int) -> None:
        if pair.state is PairState.PSUS:
            pair.secondary.zero(offset_bytes, length_bytes, may_punch=True)


@breaks("pair-context")
class CountsNoWrites(Probed):
    def create_volume(self, name: str, size_bytes: int, *, owner: str | None = None) -> VolumeInfo:
        info = super().create_volume(name, size_bytes, owner=owner)
        volume = self.volume_of(name)
        volume.status_word = lambda: STATE_CODES[volume.pair_state()]  # type: ignore[method-assign] # the fault
        return info


@breaks("delete-pair")
class SpoilsTheFreedVolume(Probed):
    def delete_pair(self, primary: str, *, owner: str | None = None) -> None:
        pair = self.pair_of(primary) if self.has(primary) else None
        super().delete_pair(primary, owner=owner)
        if pair is not None:
            self.scribble(pair.secondary, 0)


@breaks("secondary-refuses-writers")
class ExportsSecondariesForWriting(Probed):
    def export(self, volume: str, *, name: str | None = None, writable: bool, owner: str | None = None) -> Export:
        secondary = writable and self.has(volume) and self.volume_of(volume).primary is not None
        return super().export(volume, name=name, writable=writable and not secondary, owner=owner)


@breaks("secondary-closed-while-copying")
class ExportsHalfCopies(Probed):
    def create_pair(self, primary: str, secondary: str, *, owner: str | None = None) -> PairInfo:
        inside = threading.Event()

        def hold() -> None:
            with self._held.gate.shared():  # the copy cannot end meanwhile, so that there is something to look at
                inside.set()
                time.sleep(0.1)

        info = super().create_pair(primary, secondary, owner=owner)
        if self.volume_of(primary).size_bytes >= 8 << 20:
            threading.Thread(target=hold).start()
            inside.wait()
            self.pair(primary).state = PairState.COPY
        return info

    def export(self, volume: str, *, name: str | None = None, writable: bool, owner: str | None = None) -> Export:
        try:
            return super().export(volume, name=name, writable=writable, owner=owner)
        except ConflictError:
            if writable or self.state(volume) is not PairState.COPY:
                raise
            return Export(name or volume, volume, "nbd://127.0.0.1:1/x", writable)


@breaks("secondary-readable-while-pair")
class HidesSecondariesInPair(Probed):
    def export(self, volume: str, *, name: str | None = None, writable: bool, owner: str | None = None) -> Export:
        if self.has(volume) and self.state(volume) is PairState.PAIR and self.volume_of(volume).primary is not None:
            raise conflict()
        return super().export(volume, name=name, writable=writable, owner=owner)


@breaks("split-again")
class NamesEachSplitAnew(Probed):
    count = 0

    def split(self, primaries: Sequence[str]) -> tuple[PairInfo, ...]:
        before = {name for name in primaries if self.has(name) and self.state(name) is PairState.PSUS}
        self.count += 1
        return tuple(
            replace(info, split_id=str(self.count)) if info.primary in before else info
            for info in super().split(primaries)
        )


@breaks("split-all-or-nothing")
class SplitsWhatItCan(Probed):
    def split(self, primaries: Sequence[str]) -> tuple[PairInfo, ...]:
        try:
            return super().split(primaries)
        except ConflictError:
            super().split([name for name in primaries if self.state(name) is PairState.PAIR])
            raise


@breaks("group-split")
class SplitsOneByOne(Probed):
    def split(self, primaries: Sequence[str]) -> tuple[PairInfo, ...]:
        if any(not self.has(name) or self.state(name) is not PairState.PAIR for name in primaries):
            return super().split(primaries)
        infos: list[PairInfo] = []
        for name in primaries:
            infos += super().split([name])
            time.sleep(0.02 if len(primaries) > 1 else 0)
        return tuple(infos)


@breaks("resync-differential")
class CopiesEverythingAgain(Probed):
    def resync(self, primary: str) -> PairInfo:
        if (
            self.has(primary)
            and self.state(primary) is PairState.PSUS
            and not self._held.export_of(self.pair(primary).names[1])
        ):
            self.pair(primary).lacking.mark_all()
        return super().resync(primary)


@breaks("resync-exact")
class ForgetsTheLastChunk(Probed):
    def resync(self, primary: str) -> PairInfo:
        if self.has(primary) and self.state(primary) is PairState.PSUS:
            lacking = self.pair(primary).lacking
            lacking.clear(lacking.chunks - 1, lacking.chunks)
        return super().resync(primary)


@breaks("resync-again")
class RefusesToResyncAgain(Probed):
    def resync(self, primary: str) -> PairInfo:
        if self.has(primary) and self.state(primary) is PairState.PAIR:
            raise conflict()
        return super().resync(primary)


@breaks("resync-needs-withdrawal")
class WithdrawsToResync(Probed):
    def resync(self, primary: str) -> PairInfo:
        for export in self.exports():
            if self.has(primary) and export.volume == self.pair(primary).names[1]:
                self.withdraw(export.name)
        return super().resync(primary)


@breaks("change-list-covers")
class ListsOneChunkTooFew(Probed):
    def split(self, primaries: Sequence[str]) -> tuple[PairInfo, ...]:
        infos = super().split(primaries)
        for info in infos:
            changes = self.pair(info.primary).change_list
            if changes is not None:
                changes.clear(changes.find(0), changes.find(0) + 1)
        return infos


@breaks("change-list-named")
class NamesTheWrongSplit(Probed):
    def split(self, primaries: Sequence[str]) -> tuple[PairInfo, ...]:
        return tuple(replace(info, previous_split_id=info.split_id) for info in super().split(primaries))


@breaks("export-again")
class RefusesToExportAgain(Probed):
    def export(self, volume: str, *, name: str | None = None, writable: bool, owner: str | None = None) -> Export:
        if (name or volume) in self._held.exports:
            raise conflict()
        return super().export(volume, name=name, writable=writable, owner=owner)


@breaks("export-conflict")
class AnswersForAnyExport(Probed):
    def export(self, volume: str, *, name: str | None = None, writable: bool, owner: str | None = None) -> Export:
        for export in self.exports():
            if export.name == (name or volume):
                return export
        return super().export(volume, name=name, writable=writable, owner=owner)


class OpensOtherwise(Probed):
    """Puts something wrong in front of what the NBD server serves."""

    def opened(self, name: str, backend: VolumeBackend | ImportBackend) -> VolumeBackend | ImportBackend:
        raise AssertionError

    def __init__(self, settings: object) -> None:
        super().__init__(settings)  # type: ignore[arg-type] # handed on
        table_open = self._table.open
        self._table.open = lambda name: self.opened(name, table_open(name))  # type: ignore[method-assign] # the fault


@breaks("export-read-only")
class WritesReadOnlyExports(OpensOtherwise):
    def opened(self, name: str, backend: VolumeBackend | ImportBackend) -> VolumeBackend | ImportBackend:
        if "-export-" in name and isinstance(backend, VolumeBackend):
            backend._writable = True
        return backend


@breaks("import-passes-through")
class HidesContexts(OpensOtherwise):
    def opened(self, name: str, backend: VolumeBackend | ImportBackend) -> VolumeBackend | ImportBackend:
        if isinstance(backend, ImportBackend):
            backend._contexts = (ALLOCATION,)
        return backend


@breaks("import-writable")
class DropsZeroes(OpensOtherwise):
    def opened(self, name: str, backend: VolumeBackend | ImportBackend) -> VolumeBackend | ImportBackend:
        if isinstance(backend, ImportBackend):
            backend.zero = lambda *_, **__: None  # type: ignore[method-assign] # the fault
        return backend


@breaks("export-listed")
class CountsEachConnectionTwice(Probed):
    def exports(self) -> tuple[Export, ...]:
        return tuple(replace(export, connections=2 * export.connections) for export in super().exports())


@breaks("withdraw-cuts")
class WithdrawsLate(Probed):
    """Forgets the export at once, but cuts its writers only later."""

    def withdraw(self, name: str, *, owner: str | None = None) -> None:
        if "-export-" not in name or not self.server.connections(name):
            super().withdraw(name, owner=owner)
            return
        with self._held.lock, self._held.change():
            del self._held.exports[name]
        self._late = threading.Timer(0.7, self.server.disconnect, [name])
        self._late.start()

    def delete_volume(self, name: str, *, owner: str | None = None) -> None:
        late = vars(self).get("_late")
        if late is not None:
            late.join()
        super().delete_volume(name, owner=owner)


@breaks("import-refused")
class CallsAClosedPortMissing(Probed):
    def import_volume(self, url: str, *, name: str, writable: bool, owner: str | None = None) -> Export:
        try:
            return super().import_volume(url, name=name, writable=writable, owner=owner)
        except UnreachableError:
            raise missing() from None


@breaks("import-again")
class RefusesToImportAgain(Probed):
    def import_volume(self, url: str, *, name: str, writable: bool, owner: str | None = None) -> Export:
        if name in self._held.imports:
            raise conflict()
        return super().import_volume(url, name=name, writable=writable, owner=owner)


@breaks("release")
class ReleasesForAnybody(Probed):
    def release(self, name: str, *, owner: str | None = None) -> None:
        super().release(name)
