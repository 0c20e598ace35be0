"""A model of both sites: their machines, their two journals, the drivers, and the faults that strike them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from protocol.machines import EFFECTS, RUN, VERSION, Case, Machines, injected, unknown
from protocol.memory import Crash, MemoryJournal, Node, Point

from nightwell.protocol import (
    NO_FACTS,
    EffectContext,
    Facts,
    Opened,
    Run,
    RunKind,
    Site,
    Step,
    cancel,
    drive,
    fence_outcome,
    request_outcome,
)
from nightwell.protocol.tables import TABLES, Tables


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


@dataclass
class World:
    case: Case
    plan: Mapping[int, Kind]
    tables: Tables = field(default_factory=lambda: TABLES)
    roots: dict[Opened, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.machines = Machines(self.case)
        self.thaw_tried = False
        self.line2_down = 0
        self.points: list[Point] = []
        self.struck: list[tuple[Point, Kind]] = []
        self.journals = {site: MemoryJournal(site, self.tables, self.roots, self.reach) for site in Site}
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
        if site is Site.DESTINATION and self.machines.server == "alive":
            self.machines.server, self.machines.copied = "dead", False  # its lifeline closed
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
        if point.undo and self.machines.frozen and not self.thaw_tried:
            self.machines.wrongs.append(f"{point.effect} while the host stands frozen")
        if point.site is Site.SOURCE and point.effect is Step.REQUEST:
            return self.request(context)
        if point.site is Site.SOURCE and point.effect is Step.FENCE:
            return self.fence(context)
        return EFFECTS[point.effect](self.machines, context) or NO_FACTS

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
