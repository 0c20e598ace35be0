"""A site's journal in memory, for the many runs of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nightwell.errors import FencedError
from nightwell.protocol import Event, Opened, Run, Site, Started, Step, UndoStarted, begin, evolve
from nightwell.protocol.tables import Tables


class Crash(BaseException):
    """The process is gone: nothing of it runs any more."""


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

    def __init__(self, site: Site, tables: Tables, roots: dict[Opened, Node], reach: Callable[[Point], None]) -> None:
        self.site = site
        self._tables = tables
        self._roots = roots
        self._reach = reach
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
        if opened not in self._roots:
            self._roots[opened] = Node(begin(opened, self._tables))
        self.node = self._roots[opened]

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
            self._reach(Point(self.site, action.effect, isinstance(event, UndoStarted)))
        self.log.append(event)
        self.node = node
        return node.run
