"""Broken arrays for the clauses about splits, resyncs, exports and imports; see :mod:`arrays.broken`."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from arrays.broken import Probed, breaks, conflict, missing

from nightwell.arrays.embedded.backends import VolumeBackend
from nightwell.arrays.embedded.imports import ImportBackend
from nightwell.arrays.port import Export, PairInfo, PairState
from nightwell.errors import ConflictError, UnreachableError
from nightwell.nbd.wire import ALLOCATION


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
        return tuple(replace(export, connections=2 * (export.connections or 0)) for export in super().exports())


@breaks("withdraw-cuts")
class WithdrawsLate(Probed):
    """Forgets the export at once, but cuts its writers only later."""

    def withdraw(self, name: str, *, owner: str | None = None) -> None:
        record = self._held.exports.get(name)
        if record is None or not record.writable or "-export-" not in name or not self.server.connections(name):
            super().withdraw(name, owner=owner)
            return
        with self._held.lock, self._held.change():
            del self._held.exports[name]
        self._late = threading.Timer(2.5, self.server.disconnect, [name])
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
