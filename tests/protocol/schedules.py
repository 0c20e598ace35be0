"""Every schedule of up to two faults, and the account that must balance after each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from protocol.machines import VERSION, Before, Case
from protocol.memory import Crash, Node, Point
from protocol.world import Kind, World

from nightwell.protocol import BackupMode, Opened, Phase, RestoreMode, Run, RunKind, Site, Step, replay, verdict
from nightwell.protocol.tables import TABLES, Tables

CASES = (
    *(
        Case(RunKind.BACKUP, mode, before, keep)
        for mode in (BackupMode.SPLIT, BackupMode.PAIR)
        for before in Before
        for keep in (False, True)
    ),
    Case(RunKind.BACKUP, BackupMode.DIRECT),
    Case(RunKind.RESTORE, RestoreMode.VOLUME),
)

Plan = Mapping[int, Kind]


@dataclass
class Ending:
    case: Case
    plan: Plan
    world: World
    source: Run | None = None
    destination: Run | None = None
    defect: Exception | None = None

    def wrongs(self) -> list[str]:
        """Everything that is wrong at the end; empty when all is accounted for."""
        if self.defect is not None:
            return [f"the driver itself failed: {self.defect!r}"]
        if self.source is None or self.source.is_open:
            return ["the source's run never ended"]
        if self.destination is not None and self.destination.is_open:
            return ["the destination's run never ended"]
        return [
            *self.world.machines.wrongs,
            *_version_wrongs(self.source, self.destination, self.world),
            *_leftover_wrongs(self.source, self.destination, self.world),
            *_target_wrongs(self.source, self.world),
            *_promise_wrongs(self.source, self.world),
            *_replay_wrongs(self.world),
        ]


def finish(case: Case, plan: Plan, tables: Tables = TABLES, roots: dict[Opened, Node] | None = None) -> Ending:
    """Run one schedule to its end, with as many recoveries as it takes."""
    ending = Ending(case, plan, World(case, plan, tables, {} if roots is None else roots))
    try:
        _finish(ending)
    except Exception as defect:  # noqa: BLE001 -- a mutant may break the driver itself; that counts as found
        ending.defect = defect
    return ending


def _finish(ending: Ending) -> None:
    world = ending.world
    for _ in range(20):
        try:
            ending.source = world.drive(Site.SOURCE)
        except (Crash, KeyboardInterrupt):
            continue
        if not ending.source.is_open:
            break
    for _ in range(20):
        ending.destination = world.recover_destination()
        if not world.journals[Site.DESTINATION].log or (ending.destination and not ending.destination.is_open):
            break


def schedules(
    case: Case, tables: Tables = TABLES, *, faults: int = 2, kinds: Iterable[Kind] = Kind
) -> Iterator[Ending]:
    """Run every schedule of up to ``faults`` faults; a later fault strikes a point that the earlier ones led to."""
    yield from _deeper(finish(case, {}, tables), faults, tuple(kinds))


def _deeper(ending: Ending, faults: int, kinds: tuple[Kind, ...]) -> Iterator[Ending]:
    yield ending
    if not faults:
        return
    first = max(ending.plan, default=-1) + 1
    for index in range(first, len(ending.world.points)):
        for kind in kinds:
            if kind is Kind.LOST and ending.world.points[index].site is Site.SOURCE:
                continue
            world = ending.world
            worse = finish(ending.case, {**ending.plan, index: kind}, world.tables, world.roots)
            yield from _deeper(worse, faults - 1, kinds)


# ---------------------------------------------------------------- the account


def _owed(run: Run | None) -> Counter[Step]:
    return Counter(leftover.by for leftover in run.leftovers) if run is not None else Counter()


def _version_wrongs(source: Run, destination: Run | None, world: World) -> Iterator[str]:
    exists = VERSION in world.machines.versions
    if world.case.kind is RunKind.BACKUP:
        for run in (source, destination):
            if run is not None and run.committed != exists and Step.FENCE not in _owed(run):
                yield f"{run.table.name} ended {run.phase}, committed={run.committed}, but version exists={exists}"
    if source.committed and VERSION not in verdict(source):
        yield "the verdict does not name the version"
    if destination is not None and destination.committed and destination.facts.get("version_id") not in (None, VERSION):
        yield "the destination names another version"


def _leftover_wrongs(source: Run, destination: Run | None, world: World) -> Iterator[str]:
    owed = _owed(source) + _owed(destination)
    for step, what in _left(source, world).items():
        if step not in owed:
            yield f"{what}, but nobody is told ({source.phase})"
        owed[step] = 0
    for run in (source, destination):
        if run is not None:
            yield from _stuck_wrongs(run, world)


def _left(source: Run, world: World) -> dict[Step, str]:
    """What deviates from how it should be, by the effect that a person would be told to do."""
    left: dict[Step, str] = {}
    machines = world.machines
    if machines.frozen:
        left[Step.THAW] = "the host is frozen"
    if machines.exported:
        left[Step.WITHDRAW_EXPORT] = "the export is left"
    if machines.server != "none":
        left[Step.DELETE_SERVER] = f"a virtual server is left ({machines.server})"
    if machines.imported:
        left[Step.RELEASE_IMPORT] = "the import is left"
    kept = world.case.keep and source.committed and world.case.mode is not BackupMode.DIRECT
    pair_expected = machines.persons_pair or kept
    if pair_expected and machines.pair == "SMPL":
        left[Step.CREATE_PAIR] = "the pair is gone"  # never owed: always a wrong
    elif pair_expected and machines.pair == "PSUS" and (world.case.before is not Before.PSUS or machines.resynced):
        left[Step.RESYNC] = "the pair is left split"
    elif not pair_expected and machines.pair != "SMPL":
        left[Step.DELETE_PAIR] = f"a pair is left ({machines.pair})"
    if machines.secondary != (machines.persons_secondary or kept):
        left[Step.DELETE_SECONDARY] = f"S exists={machines.secondary}"
    return left


def _stuck_wrongs(run: Run, world: World) -> Iterator[str]:
    if (run.phase is Phase.STUCK) != bool(run.leftovers):
        yield f"{run.table.name} is {run.phase} with {len(run.leftovers)} leftovers"
    struck = {point.effect for point, kind in world.struck if kind in (Kind.ERROR_BEFORE, Kind.ERROR_AFTER)}
    for leftover in run.leftovers:
        consequence = leftover.problem.cause == "a consequence" and len(run.leftovers) > 1
        if leftover.by not in struck and not consequence and leftover.by is not Step.FENCE:
            yield f"{run.table.name} is stuck at {leftover.by}, which no fault struck: {leftover.problem.found}"
    if run.leftovers and not struck:
        yield f"{run.table.name} is stuck although nothing ever failed"


def _target_wrongs(source: Run, world: World) -> Iterator[str]:
    if world.case.kind is not RunKind.RESTORE:
        return
    if source.committed and world.machines.target != "written":
        yield f"restored, but the target is {world.machines.target}"
    if not source.committed and world.machines.target != "old" and "MAY BE PARTLY OVERWRITTEN" not in verdict(source):
        yield "the target is overwritten, and nobody is told"
    copied = any(point.effect is Step.COPY for point in world.points)
    if source.spoiled and not copied and Step.FENCE not in _owed(source):
        yield "the target is untouched, and yet called overwritten"


def _replay_wrongs(world: World) -> Iterator[str]:
    """What the journal holds is the whole truth: replayed, it gives the run that was driven."""
    for journal in world.journals.values():
        if journal.node is not None and len(world.plan) < 2 and replay(journal.log, world.tables) != journal.node.run:
            yield f"the {journal.site}'s journal gives another run when replayed"


def _promise_wrongs(source: Run, world: World) -> Iterator[str]:
    """One crash, or one lost reply, costs no backup."""
    if len(world.plan) != 1 or not world.struck:
        return
    point, kind = world.struck[0]
    at_commit = point == Point(Site.DESTINATION, Step.COMMIT, undo=False)
    happened = kind in (Kind.CRASH_AFTER, Kind.DOUBT_AFTER, Kind.ERROR_AFTER)
    harmless = kind in (Kind.CRASH_BEFORE, Kind.CRASH_BETWEEN, Kind.CRASH_AFTER, Kind.DOUBT_BEFORE, Kind.DOUBT_AFTER)
    promised = happened if at_commit else harmless
    if promised and not (source.committed and source.phase is Phase.DONE):
        yield f"{kind} at {point} cost the run: {source.phase}"
