"""One deliberately broken array per clause of the suite: each breaks its clause, and no other."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from nightwell.arrays.embedded.array import EmbeddedArray
from nightwell.arrays.embedded.pair import Action, Pair
from nightwell.arrays.embedded.volume import STATE_CODES, Volume
from nightwell.arrays.port import Export, PairInfo, PairState, VolumeInfo
from nightwell.errors import ConflictError, InputError, NotFoundError

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
            time.sleep(0.05)  # time for a writer to be forgotten, however quick the copy was
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
                time.sleep(0.5)

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
