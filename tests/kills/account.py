"""What stood before a run and what stands after its recovery: everything as before, or said by the run."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backups import contents
from kills.cases import FLOWS, Before, Case
from kills.place import Place
from machine import Machine

from nightwell.arrays.port import PairState
from nightwell.protocol import Phase, Resumed, Run, RunKind, Site, Step, remedies, timeline, verdict
from nightwell.sites.build import open_servers
from nightwell.store.store import BackupStore
from nightwell.store.versions import Version

TARGET = "third"

_MOST_OVERLAYS = 2

#: Of every version that was ever looked into.
_DIGESTS: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Account:
    """What a person sees of both arrays and of the store."""

    volumes: tuple[str, ...]
    exports: tuple[str, ...]
    pairs: dict[str, tuple[str, str | None, PairState]]
    files: dict[str, int]
    versions: dict[str, tuple[str, ...]]
    digests: dict[str, str]

    @classmethod
    def of(cls, machine: Machine) -> Account:
        """Take it now."""
        arrays = (machine.source_array, machine.destination_array)
        volumes = [v.name for v in machine.source_array.volumes()]
        pairs = {name: machine.source_array.pair_of(name) for name in volumes}
        with BackupStore.open(machine.destination.location) as store:
            versions = {name: tuple(v.version_id for v in store.versions(name)) for name in store.volumes()}
        return cls(
            volumes=tuple(f"{array.name}/{v.name}" for array in arrays for v in array.volumes()),
            exports=tuple(f"{array.name}/{export.name}" for array in arrays for export in array.exports()),
            pairs={name: (pair.secondary, pair.owner, pair.state) for name, pair in pairs.items() if pair is not None},
            files=_files(machine),
            versions=versions,
            digests={name: _volume_digest(machine, name) for name in (*Before, TARGET)},
        )


def wrongs_after(machine: Machine, case: Case, run_id: str, before: Account) -> list[str]:
    """Return everything that is not as it has to be; nothing is left behind when it is empty."""
    after = Account.of(machine)
    here = machine.source.ledger.journal.find(run_id)
    there = machine.destination.ledger.journal.find(run_id)
    if here is None:
        return [] if after == before else ["a run that was never opened changed something"]
    pairs = _expected_pairs(case, here, before, after)
    # A pair that a person left split, and that the run never came to, stays split.
    as_it_was = {f"pair of {name} in {state}" for name, (_, _, state) in pairs.items()}
    return [
        *(left for left in machine.leftovers() if left not in as_it_was),
        *_ended_wrongs(machine, case, here),
        *([] if there is None else _ended_wrongs(machine, case, there)),
        *_array_wrongs(pairs, before, after),
        *_server_wrongs(machine),
        *_version_wrongs(machine, case, here, there, before, after),
        *_volume_wrongs(machine, case, here, before, after),
        *_told_wrongs(machine, case, here),
    ]


def _ended_wrongs(machine: Machine, case: Case, run: Run) -> Iterator[str]:
    if run.phase not in {Phase.DONE, Phase.REVERTED}:
        owed = [(left.by.value, left.problem.found) for left in run.leftovers]
        yield f"the run at the {run.opened.site} ended {run.phase}: {owed} {remedies(run)}"


def _expected_pairs(
    case: Case, run: Run, before: Account, after: Account
) -> dict[str, tuple[str, str | None, PairState]]:
    """Return what was, but for a pair that had been left split: a run brings it in step, and leaves it so."""
    if case.before is not Before.STALE or Step.RESYNC_STALE not in run.started:
        return before.pairs
    in_step = dict(before.pairs)
    for name in (Before.STALE, f"{Before.STALE}-copy"):
        in_step[name] = (*before.pairs[name][:2], PairState.PAIR)
    # A resync that failed may have been done by the array, or may not have reached it.
    tried_in_vain = Step.RESYNC_STALE not in run.done
    return before.pairs if tried_in_vain and after.pairs == before.pairs else in_step


def _array_wrongs(
    expected: dict[str, tuple[str, str | None, PairState]], before: Account, after: Account
) -> Iterator[str]:
    for what, was, now in (
        ("volumes", before.volumes, after.volumes),
        ("exports", before.exports, after.exports),
        ("pairs", expected, after.pairs),
        ("files of the arrays", before.files, after.files),
    ):
        if was != now:
            yield f"{what}: {was} before, {now} after"


def _server_wrongs(machine: Machine) -> Iterator[str]:
    servers = machine.settings.servers_directory()
    yield from (f"virtual server {server.server_id} is left" for server in open_servers(machine.settings).servers())
    yield from (f"{file.name} is left of a virtual server" for file in servers.glob(".new-*"))
    yield from (f"container {file.name} is left" for file in servers.glob(".runc/*"))
    yield from (f"process {pid} of a virtual server" for pid in Place(machine.folder).server_processes())
    status = servers.stat()
    groups = Path("/sys/fs/cgroup").rglob(f"{status.st_dev}-{status.st_ino}-*")
    yield from (f"control group {group} is left" for group in groups)


def _version_wrongs(
    machine: Machine, case: Case, here: Run, there: Run | None, before: Account, after: Account
) -> Iterator[str]:
    made = case.kind is RunKind.BACKUP and here.committed
    for volume, old in before.versions.items():
        new = after.versions.get(volume, ())
        expected = (*old, str(here.version_id)) if made and volume == case.volume else old
        if new != expected:
            yield f"versions of {volume}: {len(old)} before, {len(new)} after; committed={here.committed}"
    if there is not None and there.committed != here.committed:
        yield f"committed at the source: {here.committed}, at the destination: {there.committed}"
    with BackupStore.open(machine.destination.location) as store:
        versions = store.versions(case.volume)
        for version in dict.fromkeys((versions[0], *versions[-2:])):
            found = _version_digest(store, version)
            if made and version.run_id == here.run_id and found != before.digests[case.volume]:
                yield "the new version holds other bytes than the volume held"
            if _DIGESTS.setdefault(version.version_id, found) != found:
                yield f"version {version.version_id} holds other bytes than it held before"


def _volume_wrongs(machine: Machine, case: Case, run: Run, before: Account, after: Account) -> Iterator[str]:
    for volume in Before:
        if before.digests[volume] != after.digests[volume]:
            yield f"volume {volume} was changed"
    if case.kind is RunKind.BACKUP or not run.committed:
        touched = before.digests[TARGET] != after.digests[TARGET]
        if touched and "MAY BE PARTLY OVERWRITTEN" not in verdict(run):
            yield f"the third volume was changed, and the run says: {verdict(run)}"
        return
    with BackupStore.open(machine.destination.location) as store:
        if _version_digest(store, store.find_version(case.volume, str(run.version_id))) != after.digests[TARGET]:
            yield "restored, but the third volume holds other bytes"


def _told_wrongs(machine: Machine, case: Case, run: Run) -> Iterator[str]:
    """The run's journal says what happened to it."""
    events = machine.source.ledger.journal.events(run.run_id)
    if not timeline(events):
        yield "the journal names no step"
    resumed = any(isinstance(recorded.event, Resumed) for recorded in events)
    if Site.SOURCE in FLOWS.get(case.victim, ()) and Place(machine.folder).happened("struck") and not resumed:
        yield "the journal does not say that another process went on with the run"
    if run.phase is Phase.REVERTED and run.failure is None and not resumed and not run.cancelled:
        yield "the journal does not say why the run was taken back"


def _files(machine: Machine) -> dict[str, int]:
    """Count what the arrays keep, by folder: nothing may pile up.

    A volume of a qemu array has one overlay after a split and two after another, until the next copy folds them.
    """
    found: Counter[str] = Counter()
    overlays: Counter[str] = Counter()
    for site in Site:
        root = machine.folder / "arrays" / site
        for file in root.rglob("*"):
            if file.suffix == ".qcow2":
                overlays[file.name.split(".")[0]] += 1
            elif file.is_file():
                found[str(file.parent.relative_to(machine.folder))] += 1
    return dict(found) | {f"overlays of {name}": n for name, n in overlays.items() if n > _MOST_OVERLAYS}


def _volume_digest(machine: Machine, name: str) -> str:
    """Return the digest of a volume's bytes, read through an export of our own."""
    array = machine.source_array
    array.export(name, name="look", writable=False)
    try:
        return machine.digest(name)
    finally:
        array.withdraw("look")


def _version_digest(store: BackupStore, version: Version) -> str:
    return hashlib.sha256(contents(store, version).tobytes()).hexdigest()
