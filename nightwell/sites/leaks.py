"""What stands at a site for a run that is no longer under way: it should be nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from nightwell.arrays.port import Array, PairState
from nightwell.protocol import Journal, Site, Step
from nightwell.servers.port import VirtualServers
from nightwell.store.grants.port import StoreGrants


class LeakKind(StrEnum):
    """What was left."""

    SECONDARY = "secondary"
    PAIR = "pair"  # made by the run
    SPLIT = "split"  # a pair that the run found in step and left split; an overlay grows under it
    EXPORT = "export"
    IMPORT = "import"
    VIRTUAL_SERVER = "virtual server"
    CREDENTIALS = "credentials"  # a user of the store that was made for the run


#: What may be left at which site.
KINDS = {
    Site.SOURCE: (LeakKind.SECONDARY, LeakKind.PAIR, LeakKind.SPLIT, LeakKind.EXPORT),
    Site.DESTINATION: (LeakKind.IMPORT, LeakKind.VIRTUAL_SERVER, LeakKind.CREDENTIALS),
}


@dataclass(frozen=True, slots=True)
class Leak:
    """One thing that a run made or changed and that outlived it."""

    site: Site
    kind: LeakKind
    name: str
    run_id: str


def leaks_at_source(array: Array, journal: Journal) -> tuple[Leak, ...]:
    """Return what the source array holds of runs that are not under way; a stuck run is not."""
    before = _live(journal)
    found = [leak for leak in _on_array(array, Site.SOURCE) if not _is_kept(leak, journal)]
    for summary in journal.stuck_runs():
        run = journal.load(summary.run_id)
        pair = array.pair_of(run.volume) if any(left.by is Step.RESYNC for left in run.leftovers) else None
        if pair is not None and pair.state is PairState.PSUS and not pair.owner:
            found.append(Leak(Site.SOURCE, LeakKind.SPLIT, run.volume, run.run_id))
    return _of_no_run(found, before | _live(journal))


def leaks_at_destination(
    array: Array, servers: VirtualServers, grants: StoreGrants, journal: Journal
) -> tuple[Leak, ...]:
    """Return what the destination array, host and store hold of runs that are not under way."""
    before = _live(journal)
    found = list(_on_array(array, Site.DESTINATION))
    found += [
        Leak(Site.DESTINATION, LeakKind.VIRTUAL_SERVER, server.server_id, server.run_id) for server in servers.servers()
    ]
    found += [
        Leak(Site.DESTINATION, LeakKind.CREDENTIALS, run_id, run_id)
        for run_id in grants.standing()
        if journal.find(run_id) is not None  # else another site's, at the same server
    ]
    return _of_no_run(found, before | _live(journal))


def _on_array(array: Array, site: Site) -> Iterator[Leak]:
    for volume in array.volumes():
        if volume.owner:
            yield Leak(site, LeakKind.SECONDARY, volume.name, volume.owner)
        pair = array.pair_of(volume.name)
        if pair is not None and pair.owner and pair.primary == volume.name:
            yield Leak(site, LeakKind.PAIR, pair.primary, pair.owner)
    for export in array.exports():
        if export.owner:
            kind = LeakKind.EXPORT if export.imported_from is None else LeakKind.IMPORT
            yield Leak(site, kind, export.name, export.owner)


def _is_kept(leak: Leak, journal: Journal) -> bool:
    """Tell a pair that its run was asked to keep for the next one."""
    if leak.kind not in {LeakKind.PAIR, LeakKind.SECONDARY}:
        return False
    run = journal.find(leak.run_id)
    return run is not None and run.committed and run.facts.get("keep_pair") is True


def _live(journal: Journal) -> frozenset[str]:
    return frozenset(summary.run_id for summary in journal.open_runs())


def _of_no_run(found: list[Leak], live: frozenset[str]) -> tuple[Leak, ...]:
    """Pass over what belongs to a run that was under way before or after the look: it may have ended meanwhile."""
    return tuple(leak for leak in found if leak.run_id not in live)
