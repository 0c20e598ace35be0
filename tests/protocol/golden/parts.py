"""Both sites without machines: the sites' own effects, on an array and a destination that only remember states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from protocol.samples import succeed

from nightwell.arrays.port import Capabilities, Export, PairInfo, PairState, VolumeInfo
from nightwell.errors import NightwellError
from nightwell.protocol import Effect, EffectContext, Facts, Step
from nightwell.settings import SourceSettings
from nightwell.sites.requests import (
    BackupAnswer,
    BackupRequest,
    FenceAnswer,
    FenceRequest,
    RestoreAnswer,
    RestoreRequest,
    VersionAnswer,
)
from nightwell.sites.source import SourceEffects

VERSION = "20260101T000000Z-000001"
SIZE_BYTES = 8 << 20
_VOLUMES = ("lone", "paired", "paired-copy", "stale", "stale-copy", "third")
_CAPABILITIES = Capabilities(
    persistent_pair=True, group_split=True, change_list=True, secondary_readable_while_pair=True
)
_BACKUP = BackupAnswer(
    version_id=VERSION,
    blocks_total=8,
    blocks_read=8,
    blocks_zero=0,
    blocks_skipped_by_hint=0,
    blocks_unchanged=0,
    blocks_stored=8,
    bytes_read=SIZE_BYTES,
    bytes_stored=SIZE_BYTES,
    point_in_time=True,
)
_RESTORE = RestoreAnswer(version_id=VERSION, bytes_written=SIZE_BYTES, bytes_zeroed=0)


@dataclass
class RememberedArray:
    """An array of any volumes; a pair is in step at once."""

    pairs: dict[str, PairState] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    name: str = "source"
    capabilities: Capabilities = _CAPABILITIES

    def close(self) -> None:
        pass

    def volumes(self) -> tuple[VolumeInfo, ...]:
        return tuple(VolumeInfo(name, SIZE_BYTES) for name in (*_VOLUMES, *self.made))

    def create_volume(self, name: str, size_bytes: int, *, owner: str | None = None) -> VolumeInfo:
        self.made.append(name)
        return VolumeInfo(name, size_bytes, owner)

    def grow_volume(self, name: str, size_bytes: int) -> VolumeInfo:
        return VolumeInfo(name, size_bytes)

    def delete_volume(self, name: str, *, owner: str | None = None) -> None:
        pass

    def pair_of(self, volume: str) -> PairInfo | None:
        return self._pair(volume) if volume in self.pairs else None

    def create_pair(self, primary: str, secondary: str, *, owner: str | None = None) -> PairInfo:
        self.pairs[primary] = PairState.PAIR
        return self._pair(primary)

    def split(self, primaries: Sequence[str]) -> tuple[PairInfo, ...]:
        for primary in primaries:
            self.pairs[primary] = PairState.PSUS
        return tuple(self._pair(primary) for primary in primaries)

    def resync(self, primary: str) -> PairInfo:
        self.pairs[primary] = PairState.PAIR
        return self._pair(primary)

    def delete_pair(self, primary: str, *, owner: str | None = None) -> None:
        self.pairs.pop(primary, None)

    def exports(self) -> tuple[Export, ...]:
        return ()

    def export(self, volume: str, *, name: str | None = None, writable: bool, owner: str | None = None) -> Export:
        self.made.append(volume)
        return Export(str(name), volume, f"nbd://127.0.0.1:10809/{name}", writable, owner=owner)

    def withdraw(self, name: str, *, owner: str | None = None) -> None:
        pass

    def import_volume(self, url: str, *, name: str, writable: bool, owner: str | None = None) -> Export:
        return Export(name, name, f"nbd://127.0.0.1:10810/{name}", writable, owner=owner, imported_from=url)

    def release(self, name: str, *, owner: str | None = None) -> None:
        pass

    def _pair(self, primary: str) -> PairInfo:
        state = self.pairs[primary]
        split = {"split_id": "split-2", "previous_split_id": "split-1", "split_at": datetime(2026, 1, 1, tzinfo=UTC)}
        more: dict[str, Any] = split if state is PairState.PSUS else {}
        return PairInfo(primary, f"{primary}-copy", state, copied_bytes=0, to_copy_bytes=0, **more)


@dataclass(frozen=True)
class RememberedDestination:
    """A destination that carries everything out at once."""

    def back_up(self, request: BackupRequest) -> BackupAnswer:
        return _BACKUP

    def restore(self, request: RestoreRequest) -> RestoreAnswer:
        return _RESTORE

    def fence(self, request: FenceRequest) -> FenceAnswer:
        return FenceAnswer(committed=False, target_touched=False)

    def look_up(self, volume: str, selector: str) -> VersionAnswer | None:
        return VersionAnswer(version_id=VERSION, size_bytes=SIZE_BYTES, fencing_token=1)


def source_effects(pairs: Mapping[str, PairState], made: Sequence[str] = ()) -> SourceEffects:
    """Return the source's own effects on an array with these pairs, on which runs have made some volumes."""
    return SourceEffects(RememberedArray(dict(pairs), list(made)), RememberedDestination(), SourceSettings())


class DestinationParts:
    """The destination's effects, in place of :class:`nightwell.sites.destination.DestinationEffects`."""

    def backup(self, request: BackupRequest) -> dict[Step, Effect]:
        return _destination(request.url, dict(_BACKUP.model_dump()))

    def restore(self, request: RestoreRequest) -> dict[Step, Effect]:
        return _destination(request.url, {})

    def close(self) -> None:
        pass


def _destination(url: str, version: dict[str, Any]) -> dict[Step, Effect]:
    assert url

    def after(facts: Mapping[str, Any]) -> Effect:
        return lambda context: succeed(context).with_(facts)

    return {
        Step.IMPORT: after({"import_url": "nbd://127.0.0.1:10810/x"}),
        Step.PRODUCE: after({"server_id": "vs-x"}),
        Step.COPY: after({} if version else {"bytes_written": SIZE_BYTES, "bytes_zeroed": 0}),
        Step.COMMIT: after(version),
        Step.FENCE: succeed,
        Step.VERIFY: succeed,
        Step.DELETE_SERVER: succeed,
        Step.RELEASE_IMPORT: succeed,
    }


def failing(effects: Mapping[Step, Effect], faults: Mapping[Step, type[NightwellError]]) -> dict[Step, Effect]:
    """Return effects of which some fail."""
    return {**effects, **{step: _failing(error) for step, error in faults.items()}}


def _failing(error: type[NightwellError]) -> Callable[[EffectContext], Facts]:
    def fail(context: EffectContext) -> Facts:
        raise error("array 'source'", expected="an answer", found="silence", cause="it is off", next_step="wait")

    return fail
