"""A model of both sites in memory: array, host, line 1, virtual server, store, and two journals.

Effects behave as the ports promise: they make sure of a state, and refuse what a real driver refuses. The model also
notes at once what must never happen (``wrongs``), such as deleting what a person made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from nightwell.errors import ConflictError, FencedError, NightwellError, UnknownOutcomeError
from nightwell.protocol import (
    NO_FACTS,
    BackupMode,
    EffectContext,
    Event,
    Facts,
    Mode,
    Opened,
    Run,
    RunKind,
    Site,
    Started,
    Step,
    UndoStarted,
    begin,
    cancel,
    drive,
    evolve,
)
from nightwell.protocol.answers import fence_outcome, request_outcome
from nightwell.protocol.tables import TABLES, Tables

RUN = "run-1"
VERSION = f"version-of-{RUN}"


class Crash(BaseException):
    """The process is gone: nothing of it runs any more."""


class Before(StrEnum):
    """What stood before the run."""

    NOTHING = "nothing"
    PAIR = "pair in step"
    PSUS = "pair split"
    SECONDARY = "a person's S without a pair"


class Kind(StrEnum):
    """What goes wrong at one point."""

    CRASH_BEFORE = "crash before the journal's Started"
    CRASH_BETWEEN = "crash between Started and the effect"
    CRASH_AFTER = "crash after the effect, before its outcome is journaled"
    ERROR_BEFORE = "error, nothing happened"
    ERROR_AFTER = "error, yet it happened"
    DOUBT_BEFORE = "unknown, nothing happened"
    DOUBT_AFTER = "unknown, yet it happened"
    INTERRUPT = "interrupted after the effect"
    LOST = "the destination dies and line 2 is down for a while"


@dataclass(frozen=True)
class Case:
    kind: RunKind
    mode: Mode
    before: Before = Before.NOTHING
    keep: bool = False

    def __str__(self) -> str:
        return f"{self.kind}/{self.mode}, {self.before}{', keep' if self.keep else ''}"


@dataclass(frozen=True)
class Point:
    """One place where a fault can strike: the start of an effect."""

    site: Site
    effect: Step
    undo: bool


class Node:
    """A journal's state and what can follow it: schedules share their beginnings, and need not evolve them again."""

    __slots__ = ("run", "then")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.then: dict[Event, Node] = {}

    def after(self, event: Event) -> Node:
        node = self.then.get(event)
        if node is None:
            node = self.then[event] = Node(evolve(self.run, event))
        return node


class MemoryJournal:
    """A site's journal and lease; ``dead`` while the process that drives the run is gone."""

    def __init__(self, world: World, site: Site) -> None:
        self.world = world
        self.site = site
        self.log: list[Event] = []
        self.node: Node | None = None
        self.dead = False
        self.token = 0
        self.owner = "model"

    def check(self) -> None:
        pass

    def open_run(self, opened: Opened) -> None:
        assert not self.log
        self.log.append(opened)
        if opened not in self.world.roots:
            self.world.roots[opened] = Node(begin(opened, self.world.tables))
        self.node = self.world.roots[opened]

    def load(self, run_id: str) -> Run:
        if self.dead:
            raise Crash
        assert self.node is not None
        return self.node.run

    def append(self, run: Run, event: Event, *, token: int | None = None) -> Run:
        if self.dead:
            raise Crash
        if token != self.token:
            raise FencedError("run", expected="", found="", cause="", next_step="")
        assert self.node is not None
        assert run is self.node.run, "a driver goes on from what the journal holds"
        node = self.node.after(event)
        if isinstance(event, Started | UndoStarted):
            action = run.next()
            assert action is not None
            self.world.reach(Point(self.site, action.effect, isinstance(event, UndoStarted)))
        self.log.append(event)
        self.node = node
        return node.run


@dataclass
class World:
    case: Case
    plan: Mapping[int, Kind]
    tables: Tables = field(default_factory=lambda: TABLES)
    roots: dict[Opened, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        existed = self.case.before in (Before.PAIR, Before.PSUS)
        self.pair = {Before.PAIR: "PAIR", Before.PSUS: "PSUS"}.get(self.case.before, "SMPL")
        self.secondary = existed or self.case.before is Before.SECONDARY
        self.persons_pair = existed
        self.persons_secondary = self.secondary
        self.frozen = self.exported = self.imported = self.copied = self.resynced = self.thaw_tried = False
        self.server = "none"
        self.versions: set[str] = set()
        self.target = "old"
        self.line2_down = 0
        self.points: list[Point] = []
        self.struck: list[tuple[Point, Kind]] = []
        self.wrongs: list[str] = []
        self.journals = {site: MemoryJournal(self, site) for site in Site}
        self.effects = dict.fromkeys(Step, self.call)
        facts = Facts(keep_pair=self.case.keep) if self.case.kind is RunKind.BACKUP else Facts(version_id=VERSION)
        self._open(Site.SOURCE, facts)

    # ------------------------------------------------------------ faults

    def reach(self, point: Point) -> None:
        """Count a point and crash there when that is planned; called before Started is durable."""
        self.points.append(point)
        if self._planned(len(self.points) - 1) is Kind.CRASH_BEFORE:
            self.crash(point.site)

    def _planned(self, index: int) -> Kind | None:
        kind = self.plan.get(index)
        if kind is not None and (self.points[index], kind) not in self.struck:
            self.struck.append((self.points[index], kind))
        return kind

    def crash(self, site: Site) -> None:
        self.journals[site].dead = True
        if site is Site.DESTINATION and self.server == "alive":
            self.server, self.copied = "dead", False  # its lifeline closed
        raise Crash

    def call(self, context: EffectContext) -> Facts:
        """Do one effect, with the fault that is planned for it."""
        index, point = len(self.points) - 1, self.points[-1]
        kind = self._planned(index)
        self.thaw_tried |= point.undo and point.effect is Step.THAW
        if kind in (Kind.CRASH_BETWEEN, Kind.LOST):
            self.line2_down = 5 if kind is Kind.LOST else self.line2_down
            self.crash(point.site)
        if kind is Kind.ERROR_BEFORE:
            raise injected()
        if kind is Kind.DOUBT_BEFORE:
            raise unknown()
        facts = self._effect(point, context)
        if kind is Kind.CRASH_AFTER:
            self.crash(point.site)
        if kind is Kind.ERROR_AFTER:
            raise injected()
        if kind is Kind.DOUBT_AFTER:
            raise unknown()
        if kind is Kind.INTERRUPT:
            raise KeyboardInterrupt
        return facts

    def _effect(self, point: Point, context: EffectContext) -> Facts:
        if point.undo and self.frozen and not self.thaw_tried:
            self.wrongs.append(f"{point.effect} while the host stands frozen")
        if point.effect is Step.FENCE and point.site is Site.DESTINATION:
            return self._ask_store()
        effect: Callable[[World, EffectContext], Facts | None] = _EFFECTS[point.effect]
        return effect(self, context) or NO_FACTS

    # ------------------------------------------------------------ the two sites' drivers

    def _open(self, site: Site, facts: Facts) -> None:
        opened = Opened(RUN, self.case.kind, site, "well-7", self.case.mode, facts)
        self.journals[site].open_run(opened)

    def drive(self, site: Site) -> Run:
        """Drive one site's run as a new process that holds a new token."""
        journal = self.journals[site]
        journal.dead = False
        journal.token += 1
        return drive(journal, RUN, self.effects, lease=journal)

    def recover_destination(self) -> Run | None:
        """What the destination's scheduled recovery does; ``None`` when it never heard of the run."""
        journal = self.journals[Site.DESTINATION]
        if not journal.log:
            return None
        try:
            return self.drive(Site.DESTINATION)
        except (Crash, KeyboardInterrupt):
            return None

    def _over_line2(self, ask: Callable[[], Run]) -> Run:
        if self.line2_down:
            self.line2_down -= 1
            raise unknown()
        try:
            return ask()
        except (Crash, KeyboardInterrupt):
            raise unknown() from None

    def request(self, context: EffectContext) -> Facts:
        def ask() -> Run:
            if not self.journals[Site.DESTINATION].log:
                self._open(Site.DESTINATION, NO_FACTS if self.case.kind is RunKind.BACKUP else context.facts)
            return self.drive(Site.DESTINATION)

        return request_outcome(self._over_line2(ask))

    def fence(self, context: EffectContext) -> Facts:
        def ask() -> Run:
            journal = self.journals[Site.DESTINATION]
            if not journal.log:
                self._open(Site.DESTINATION, NO_FACTS)
            journal.dead = False
            journal.token += 1
            cancel(journal, journal.load(RUN), "fenced", lease=journal)
            return self.drive(Site.DESTINATION)

        return fence_outcome(self._over_line2(ask))

    # ------------------------------------------------------------ source array and host

    def check_pair(self, _: EffectContext) -> Facts:
        return Facts(
            pair_existed=self.pair != "SMPL",
            secondary_existed=self.secondary,
            secondary="well-7.S",
            pair_state=self.pair,
        )

    def create_secondary(self, _: EffectContext) -> None:
        self.secondary = True

    def create_pair(self, _: EffectContext) -> None:
        need(self.secondary, "a pair needs S")
        self.pair = "COPY" if self.pair == "SMPL" else self.pair

    def wait_pair(self, _: EffectContext) -> None:
        need(self.pair in ("COPY", "PAIR"), "only a pair that copies gets in step")
        self.pair = "PAIR"

    def quiesce(self, _: EffectContext) -> None:
        self.frozen = True

    def split(self, _: EffectContext) -> None:
        need(self.pair in ("PAIR", "PSUS"), "only a pair in step is split")
        if self.pair == "PAIR" and not self.frozen:
            self.wrongs.append("split under a host that was not quiesced")
        self.pair = "PSUS"

    def thaw(self, _: EffectContext) -> None:
        self.frozen = False

    def export(self, _: EffectContext) -> None:
        need(self.pair != "COPY", "S is not usable while it is copied")
        self.exported = True

    def withdraw(self, _: EffectContext) -> None:
        self.exported = False

    def resync(self, _: EffectContext) -> None:
        need(not self.exported, "S is exported")
        need(self.pair != "SMPL", "there is no pair")
        self.pair = "PAIR"
        self.resynced = True

    def delete_pair(self, _: EffectContext) -> None:
        need(not self.exported, "S is exported")
        if self.persons_pair:
            self.wrongs.append("deleted a person's pair")
        self.pair = "SMPL"

    def delete_secondary(self, _: EffectContext) -> None:
        need(self.pair == "SMPL", "S is in a pair")
        need(not self.exported, "S is exported")
        if self.persons_secondary:
            self.wrongs.append("deleted a person's S")
        self.secondary = False

    # ------------------------------------------------------------ destination array, virtual server, store

    def import_volume(self, _: EffectContext) -> None:
        need(self.exported, "there is no such export")
        self.imported = True

    def produce(self, _: EffectContext) -> None:
        self.server, self.copied = "alive", False

    def copy(self, _: EffectContext) -> None:
        if self.case.kind is RunKind.RESTORE:
            self.target = "partial"
        need(self.server == "alive", "there is no virtual server")
        need(self.imported and self.exported, "line 1 is cut")
        wanted = (
            {BackupMode.SPLIT: "PSUS", BackupMode.PAIR: "PAIR"}.get(BackupMode(self.case.mode), self.pair)
            if (self.case.kind is RunKind.BACKUP)
            else self.pair
        )
        need(self.pair == wanted, "the pair is in the wrong state")
        self.copied = True
        if self.case.kind is RunKind.RESTORE:
            self.target = "written"

    def commit(self, _: EffectContext) -> Facts:
        if VERSION not in self.versions:
            need(self.server == "alive" and self.copied, "the mover has nothing to commit")
            if not self.exported:
                self.wrongs.append("committed after the source took S back")
        self.versions.add(VERSION)
        return Facts(version_id=VERSION)

    def verify(self, _: EffectContext) -> None:
        need(self.server == "alive" and self.target == "written", "there is nothing to verify")

    def _ask_store(self) -> Facts:
        self.server, self.copied = "none", False
        found = VERSION in self.versions
        return Facts(committed=found, version_id=VERSION if found else None)

    def delete_server(self, _: EffectContext) -> None:
        self.server, self.copied = "none", False

    def release(self, _: EffectContext) -> None:
        need(self.server != "alive", "the virtual server still reads the import")
        self.imported = False


def nothing(_world: World, _context: EffectContext) -> None:
    """Check what the model has no counterpart of."""


_EFFECTS: Mapping[Step, Callable[[World, EffectContext], Facts | None]] = {
    Step.CHECK_PAIR: World.check_pair,
    Step.CREATE_SECONDARY: World.create_secondary,
    Step.CREATE_PAIR: World.create_pair,
    Step.RESYNC_STALE: World.resync,
    Step.WAIT_PAIR: World.wait_pair,
    Step.QUIESCE: World.quiesce,
    Step.SPLIT: World.split,
    Step.THAW: World.thaw,
    Step.EXPORT: World.export,
    Step.REQUEST: World.request,
    Step.FENCE: World.fence,
    Step.WITHDRAW_EXPORT: World.withdraw,
    Step.RESYNC: World.resync,
    Step.DELETE_PAIR: World.delete_pair,
    Step.DELETE_SECONDARY: World.delete_secondary,
    Step.IMPORT: World.import_volume,
    Step.PRODUCE: World.produce,
    Step.COPY: World.copy,
    Step.COMMIT: World.commit,
    Step.VERIFY: World.verify,
    Step.DELETE_SERVER: World.delete_server,
    Step.RELEASE_IMPORT: World.release,
    Step.CHECK_TARGET: nothing,
    Step.EXPORT_TARGET: World.export,
}


def need(held: object, found: str) -> None:
    """Refuse as a driver of a port does."""
    if not held:
        raise ConflictError("the model", expected="another state", found=found, cause="a consequence", next_step="none")


def injected() -> NightwellError:
    return NightwellError("the model", expected="no fault", found="injected", cause="the plan", next_step="none")


def unknown() -> UnknownOutcomeError:
    return UnknownOutcomeError("the model", expected="a reply", found="none", cause="the plan", next_step="none")
