"""The transitions: every change of a run's state is in this file, and nothing else changes it.

Theory. A run is a saga with one pivot. Before the pivot its rows can be taken back, so the answer to an error is to
turn back, and the answer to doubt (a crash, a lost reply) is to do the step again, because every effect makes sure of
a state instead of changing one; after :data:`~nightwell.protocol.tables.ATTEMPTS` attempts doubt counts as an error.
The failed step itself is taken back too, since an error does not prove that nothing happened. After the pivot there is
no way back, so a cleanup step that fails is recorded and the others still run.

The one dangerous doubt is about the pivot itself. Its undo is a question (``fence``): it first makes sure that the
pivot cannot happen any more and then asks whether it did. :class:`FoundCommitted` is the answer that turns a run
forward again; nothing else has been undone by then, because the pivot is the last row that could have started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, cast

from nightwell.protocol.events import (
    CancelRequested,
    Doubted,
    Event,
    Failed,
    Finished,
    FoundCommitted,
    Opened,
    Problem,
    Reopened,
    Resolved,
    Resumed,
    Started,
    UndoFailed,
    Undone,
    UndoStarted,
)
from nightwell.protocol.facts import Facts
from nightwell.protocol.run import Do, Leftover, Phase, ProtocolViolation, Run, Undo
from nightwell.protocol.steps import Step
from nightwell.protocol.tables import ATTEMPTS, TABLES, Tables


def begin(opened: Opened, tables: Tables = TABLES) -> Run:
    """Return the run that an opening makes.

    Raises
    ------
    KeyError
        When there is no such protocol, or the protocol has no such mode.
    """
    table = tables[opened.kind, opened.site]
    table.rows(opened.mode)
    return Run(table=table, opened=opened, facts=opened.facts)


def evolve(run: Run, event: Event) -> Run:
    """Return the run after one more event.

    Raises
    ------
    ProtocolViolation
        When the run's state does not allow the event; it names the event, the state and what was next.
    """
    transition = _TRANSITIONS.get(type(event))
    if transition is None:
        raise ProtocolViolation(run, event)
    return replace(transition(run, event), sequence=run.sequence + 1)


def replay(events: Iterable[Event], tables: Tables = TABLES) -> Run:
    """Return the run that a journal's events make; the first must be :class:`Opened`."""
    run: Run | None = None
    for event in events:
        if run is not None:
            run = evolve(run, event)
        elif isinstance(event, Opened):
            run = begin(event, tables)
        else:
            raise ValueError(f"a journal begins with Opened, not with {event!r}")
    if run is None:
        raise ValueError("a journal holds at least Opened")
    return run


# ---------------------------------------------------------------- forward


def _started(run: Run, event: Started) -> Run:
    if run.open is not None or run.next() != Do(event.step):
        raise ProtocolViolation(run, event)
    return replace(run, open=event.step, started=(*run.started, event.step))


def _finished(run: Run, event: Finished) -> Run:
    _expect_open(run, event, event.step, Phase.FORWARD)
    return _settle(
        run,
        event.step,
        facts=_learn(run, event, event.step, event.facts),
        done=(*run.done, event.step),
        committed=run.committed or event.step is run.table.pivot,
    )


def _failed(run: Run, event: Failed) -> Run:
    _expect_open(run, event, event.step, Phase.FORWARD)
    return _give_up(run, event.step, event.problem)


def _doubted(run: Run, event: Doubted) -> Run:
    if run.phase is Phase.REVERTING:
        return _undo_doubted(run, event)
    _expect_open(run, event, event.step, Phase.FORWARD)
    if event.step in run.table.ask or run.attempts(event.step) >= ATTEMPTS:
        return _give_up(run, event.step, event.problem)
    return replace(run, open=None)


def _give_up(run: Run, step: Step, problem: Problem) -> Run:
    """Turn back before the pivot; after it, record what is owed and go on."""
    if not run.committed:
        return _turn_back(replace(run, failure=problem))
    return _settle(run, step, leftovers=(*run.leftovers, Leftover(step, step, problem)))


def _settle(run: Run, step: Step, **changes: Any) -> Run:
    """Go past a step, and close the run when nothing is left to do forward."""
    run = replace(run, position=run.table.index(run.mode, step) + 1, open=None, **changes)
    if run.next_row() is not None:
        return run
    return replace(run, phase=Phase.STUCK if run.leftovers else Phase.DONE)


# ---------------------------------------------------------------- back


def _turn_back(run: Run) -> Run:
    rows = reversed(run.table.rows(run.mode))
    owed = [
        row.step
        for row in rows
        if row.undo is not None
        and row.step in run.started
        and row.undo not in run.done  # a forward step has taken it back already: the host is thawed
        and (row.undo_when is None or row.undo_when.holds(run.facts))
    ]
    owed.sort(key=lambda step: step not in run.table.thaw)
    return replace(run, phase=Phase.REVERTING if owed else Phase.REVERTED, to_undo=tuple(owed), open=None)


def _undo_started(run: Run, event: UndoStarted) -> Run:
    if run.phase is not Phase.REVERTING or run.open is not None or run.waiting or run.to_undo[0] is not event.step:
        raise ProtocolViolation(run, event)
    return replace(run, open=event.step)


def _undone(run: Run, event: Undone) -> Run:
    undo = _expect_undo(run, event, event.step)
    if event.step is run.table.pivot and event.facts.flag("committed"):
        raise ProtocolViolation(run, event, "what was committed is not undone")
    return _shorten(replace(run, facts=_learn(run, event, undo.by, event.facts)))


def _undo_failed(run: Run, event: UndoFailed) -> Run:
    undo = _expect_undo(run, event, event.step)
    return _shorten(replace(run, leftovers=(*run.leftovers, Leftover(event.step, undo.by, event.problem))))


def _undo_doubted(run: Run, event: Doubted) -> Run:
    undo = _expect_undo(run, event, event.step)
    run = replace(run, open=None, doubts=(*run.doubts, event.step))
    if undo.by in run.table.patient:
        return replace(run, waiting=True)
    if run.doubts.count(event.step) >= ATTEMPTS:
        return _shorten(replace(run, leftovers=(*run.leftovers, Leftover(event.step, undo.by, event.problem))))
    return run


def _found_committed(run: Run, event: FoundCommitted) -> Run:
    undo = _expect_undo(run, event, run.table.pivot)
    facts = _learn(run, event, undo.by, event.facts).with_({"version_id": event.version_id})
    forward = {"phase": Phase.FORWARD, "facts": facts, "to_undo": (), "failure": None, "committed": True}
    return _settle(run, run.table.pivot, **forward)


def _shorten(run: Run) -> Run:
    """Take the first step off what is to be undone, and close the run when it was the last."""
    rest = run.to_undo[1:]
    ended = Phase.STUCK if run.leftovers else Phase.REVERTED
    return replace(run, open=None, to_undo=rest, phase=Phase.REVERTING if rest else ended)


# ---------------------------------------------------------------- from outside


def _resumed(run: Run, event: Resumed) -> Run:
    if not run.is_open:
        raise ProtocolViolation(run, event)
    interrupted = run.open
    run = replace(run, open=None, waiting=False)
    if run.phase is Phase.REVERTING or run.committed:
        return run  # no other way to go: the action in doubt is done again, however often
    if interrupted is not None and interrupted in run.table.ask:
        return _turn_back(run)
    run = _renew(run)
    following = run.next_row()
    assert following is not None, "before the pivot there is always a next row"
    return _turn_back(run) if run.attempts(following[1].step) >= ATTEMPTS else run


def _renew(run: Run) -> Run:
    """Go back to the step whose effect died with the driver that did it."""
    if run.table.renewed is None:
        return run
    return replace(run, position=min(run.position, run.table.index(run.mode, run.table.renewed)))


def _cancel_requested(run: Run, event: CancelRequested) -> Run:
    if not run.is_open:
        raise ProtocolViolation(run, event)
    run = replace(run, cancelled=True, open=None)
    return run if run.committed or run.phase is Phase.REVERTING else _turn_back(run)


def _reopened(run: Run, event: Reopened) -> Run:
    if run.phase is not Phase.STUCK:
        raise ProtocolViolation(run, event)
    owed = tuple(left.step for left in run.leftovers)
    run = replace(run, leftovers=(), doubts=())
    if not run.committed:
        return replace(run, phase=Phase.REVERTING, to_undo=owed)
    after_pivot = run.table.index(run.mode, run.table.pivot) + 1
    return replace(run, phase=Phase.FORWARD, position=after_pivot, again=frozenset(owed))


def _resolved(run: Run, event: Resolved) -> Run:
    if run.phase is not Phase.STUCK:
        raise ProtocolViolation(run, event)
    return replace(run, phase=Phase.DONE if run.committed else Phase.REVERTED, resolved_by=event.by)


# ---------------------------------------------------------------- checks


def _expect_open(run: Run, event: Event, step: Step, phase: Phase) -> None:
    if run.phase is not phase or run.open is not step:
        raise ProtocolViolation(run, event)


def _expect_undo(run: Run, event: Event, step: Step) -> Undo:
    _expect_open(run, event, step, Phase.REVERTING)
    undo = run.next()
    if not isinstance(undo, Undo) or undo.step is not step:
        raise ProtocolViolation(run, event)
    return undo


def _learn(run: Run, event: Event, effect: Step, facts: Facts) -> Facts:
    reason = unfit(run, effect, facts)
    if reason is not None:
        raise ProtocolViolation(run, event, reason)
    return run.facts.with_(facts)


def unfit(run: Run, effect: Step, facts: Facts) -> str | None:
    """Return why these facts cannot be the outcome of an effect, or ``None`` when they can.

    An effect must return the facts its table asks of it, and may not change one that is fixed.
    """
    for name, kind in run.table.records.get(effect, {}).items():
        if not isinstance(facts.get(name), kind):
            return f"{effect} must record {name!r} as {kind.__name__}"
    for name in facts:
        if name in run.table.fixed and name in run.facts and run.facts[name] != facts[name]:
            return f"{name!r} was recorded as {run.facts[name]!r} and cannot become {facts[name]!r}"
    return None


_TRANSITIONS = cast(
    "dict[type[Event], Callable[[Run, Any], Run]]",
    {
        Started: _started,
        Finished: _finished,
        Failed: _failed,
        Doubted: _doubted,
        UndoStarted: _undo_started,
        Undone: _undone,
        UndoFailed: _undo_failed,
        FoundCommitted: _found_committed,
        Resumed: _resumed,
        CancelRequested: _cancel_requested,
        Reopened: _reopened,
        Resolved: _resolved,
    },
)
