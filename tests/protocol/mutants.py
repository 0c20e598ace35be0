"""Deliberate mistakes in the tables and the transitions; the schedules must find every one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pytest
from protocol.machines import Case
from protocol.schedules import CASES

from nightwell.protocol import Facts, Phase, Run, RunKind, Site, Step, UndoFailed, Undone, transitions
from nightwell.protocol.events import Failed, FoundCommitted
from nightwell.protocol.tables import TABLES, ProtocolTable, Row, Tables

Rows = tuple[Row, ...]
SOURCE = (RunKind.BACKUP, Site.SOURCE)
DESTINATION = (RunKind.BACKUP, Site.DESTINATION)
RESTORE = (RunKind.RESTORE, Site.SOURCE)


@dataclass(frozen=True)
class Mutant:
    """One mistake. ``patched`` is entered while the schedules run; ``faults`` is how many it takes to see it."""

    name: str
    tables: Tables = field(default_factory=lambda: TABLES)
    patched: Callable[[], AbstractContextManager[None]] = nullcontext
    faults: int = 1
    cases: tuple[Case, ...] = CASES


def _with(table: ProtocolTable) -> Tables:
    return MappingProxyType({**TABLES, (table.kind, table.site): table})


def _rows(which: tuple[RunKind, Site], change: Callable[[Rows], Rows]) -> Tables:
    table = TABLES[which]
    return _with(replace(table, modes=MappingProxyType({mode: change(rows) for mode, rows in table.modes.items()})))


def _without_undo(which: tuple[RunKind, Site], step: Step) -> Tables:
    return _rows(which, lambda rows: tuple(replace(row, undo=None) if row.step is step else row for row in rows))


def _unguarded(which: tuple[RunKind, Site], step: Step) -> Tables:
    return _rows(which, lambda rows: tuple(replace(row, when=None) if row.step is step else row for row in rows))


def _without(which: tuple[RunKind, Site], step: Step) -> Tables:
    return _rows(which, lambda rows: tuple(row for row in rows if row.step is not step))


def _pivot(which: tuple[RunKind, Site], pivot: Step) -> Tables:
    return _with(replace(TABLES[which], pivot=pivot))


def _existence_ignored() -> Tables:
    """The answer of check_pair counts for nothing: what exists is taken for made by this run."""
    return _rows(SOURCE, lambda rows: tuple(replace(row, when=None) if row.when else row for row in rows))


def _forgets_in_doubt(run: Run) -> Run:
    """Turn back without the step in doubt."""
    done = tuple(step for step in run.started if step in run.done)
    return _REAL_TURN_BACK(replace(run, started=done))


def _forward_order(run: Run) -> Run:
    after = _REAL_TURN_BACK(run)
    return replace(after, to_undo=tuple(reversed(after.to_undo)))


def _stops_at_first(run: Run, event: Failed) -> Run:
    """A cleanup that fails ends the run at once."""
    after = _REAL_FAILED(run, event)
    return replace(after, phase=Phase.STUCK) if after.committed else after


def _swallows(run: Run, event: UndoFailed) -> Run:
    return transitions._undone(run, Undone(event.step, Facts(committed=False)))


def _ignores_found(run: Run, event: FoundCommitted) -> Run:
    return transitions._undone(run, Undone(run.table.pivot, Facts(committed=False)))


def _forgets_version(run: Run, event: FoundCommitted) -> Run:
    return replace(_REAL_FOUND(run, event), facts=run.facts)


_REAL_TURN_BACK = transitions._turn_back
_REAL_FAILED = transitions._failed
_REAL_FOUND = transitions._found_committed


def _function(name: str, mutated: object) -> Callable[[], AbstractContextManager[None]]:
    @contextmanager
    def patched() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transitions, name, mutated)
            yield

    return patched


def _transition(event: type, mutated: object) -> Callable[[], AbstractContextManager[None]]:
    @contextmanager
    def patched() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(transitions._TRANSITIONS, event, mutated)
            yield

    return patched


MUTANTS = (
    Mutant("S is not deleted when turning back", _without_undo(SOURCE, Step.CREATE_SECONDARY)),
    Mutant("the pair is not deleted when turning back", _without_undo(SOURCE, Step.CREATE_PAIR)),
    Mutant("the host is not thawed when turning back", _without_undo(SOURCE, Step.QUIESCE)),
    Mutant("a person's pair is left split when turning back", _without_undo(SOURCE, Step.SPLIT)),
    Mutant("the export is left when turning back", _without_undo(SOURCE, Step.EXPORT)),
    Mutant("the source turns back without fencing the destination", _without_undo(SOURCE, Step.REQUEST)),
    Mutant("the import is left when turning back", _without_undo(DESTINATION, Step.IMPORT)),
    Mutant("the virtual server is left when turning back", _without_undo(DESTINATION, Step.PRODUCE)),
    Mutant("a commit in doubt counts as a failure", _without_undo(DESTINATION, Step.COMMIT)),
    Mutant("a restore turns back without fencing", _without_undo(RESTORE, Step.REQUEST), cases=CASES[-1:]),
    Mutant("the pair's pre-existence is ignored", _existence_ignored()),
    Mutant("a pair that is to be kept is deleted", _unguarded(SOURCE, Step.DELETE_PAIR)),
    Mutant("a stale pair is not brought in step", _without(SOURCE, Step.RESYNC_STALE)),
    Mutant("the export is not withdrawn at the end", _without(SOURCE, Step.WITHDRAW_EXPORT)),
    Mutant("the pair is not brought back in step at the end", _without(SOURCE, Step.RESYNC)),
    Mutant("S is not deleted at the end", _without(SOURCE, Step.DELETE_SECONDARY)),
    Mutant("the virtual server is not deleted at the end", _without(DESTINATION, Step.DELETE_SERVER)),
    Mutant("the host is not thawed after the split", _without(SOURCE, Step.THAW)),
    Mutant("the host is not quiesced", _without(SOURCE, Step.QUIESCE)),
    Mutant("thaw does not come first", _with(replace(TABLES[SOURCE], thaw=frozenset()))),
    Mutant("the source's pivot is one step early", _pivot(SOURCE, Step.EXPORT)),
    Mutant("the source's pivot is one step late", _pivot(SOURCE, Step.WITHDRAW_EXPORT)),
    Mutant("the destination's pivot is one step early", _pivot(DESTINATION, Step.COPY)),
    Mutant("the destination's pivot is one step late", _pivot(DESTINATION, Step.DELETE_SERVER)),
    Mutant("a fence that cannot tell gives up", _with(replace(TABLES[SOURCE], patient=frozenset()))),
    Mutant("a dead virtual server is not produced again", _with(replace(TABLES[DESTINATION], renewed=None))),
    Mutant("an overwritten target is not told", _with(replace(TABLES[RESTORE], spoils=None)), cases=CASES[-1:]),
    Mutant("the step in doubt is not taken back", patched=_function("_turn_back", _forgets_in_doubt)),
    Mutant("undo goes in forward order", patched=_function("_turn_back", _forward_order)),
    Mutant("the first failed cleanup ends the run", patched=_transition(Failed, _stops_at_first)),
    Mutant(
        "an undo that failed is not recorded", patched=_transition(UndoFailed, _swallows), faults=2, cases=CASES[-2:]
    ),
    Mutant("a version that was found is ignored", patched=_transition(FoundCommitted, _ignores_found)),
    Mutant("a version that was found is not named", patched=_transition(FoundCommitted, _forgets_version)),
    Mutant("a lost reply counts as a failure", patched=_function("ATTEMPTS", 0)),
)
