"""The driver: it does what the run says comes next, and journals before and after.

The order is the guarantee: ``Started`` is durable before an effect begins, the outcome after it ended. Whatever dies in
between leaves a journal that says what is in doubt; driving the run again, here or in a recovery, goes on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from nightwell.errors import FencedError, NightwellError, UnknownOutcomeError
from nightwell.protocol.events import (
    CancelRequested,
    Doubted,
    Event,
    Failed,
    Finished,
    FoundCommitted,
    Problem,
    Resumed,
    Started,
    UndoFailed,
    Undone,
    UndoStarted,
)
from nightwell.protocol.facts import Facts
from nightwell.protocol.keeper import Hold
from nightwell.protocol.run import Action, Do, Run
from nightwell.protocol.shield import shielded
from nightwell.protocol.steps import Step
from nightwell.protocol.transitions import unfit

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EffectContext:
    """What an effect is handed.

    Parameters
    ----------
    run
        The run as journaled, with this effect under way.
    hold
        The lease. An effect passes ``token`` on to what can be fenced, and one that takes long asks ``check()`` now
        and then.
    undo
        Whether the effect is called to take a step back.
    """

    run: Run
    hold: Hold
    undo: bool

    @property
    def run_id(self) -> str:
        """The id that keys everything the effect makes."""
        return self.run.run_id

    @property
    def facts(self) -> Facts:
        """Everything recorded so far."""
        return self.run.facts

    @property
    def token(self) -> int:
        """The fencing token."""
        return self.hold.token

    @property
    def attempt(self) -> int:
        """Which attempt of the run's current step this is, from 1."""
        step = self.run.open
        return self.run.attempts(step) if step is not None and not self.undo else 1


Effect = Callable[[EffectContext], Facts]
"""Makes sure of a state and returns what it learnt.

Every effect can be called again after any end of an earlier call, also by another process, and has the same result.
It raises :class:`UnknownOutcomeError` when it cannot tell whether it happened; any other error means that it did not
succeed. ``fence`` returns when the pivot cannot happen any more, with the fact ``committed`` and, when that is true,
``version_id``.
"""


class RunJournal(Protocol):
    """What the driver needs of a journal."""

    def load(self, run_id: str) -> Run:
        """Return a run by replaying its events."""
        ...

    def append(self, run: Run, event: Event, *, token: int | None = None) -> Run:
        """Record one more event and return the run after it."""
        ...


OnEvent = Callable[[Run, Event], None]


def drive(
    journal: RunJournal,
    run_id: str,
    effects: Mapping[Step, Effect],
    *,
    lease: Hold,
    on_event: OnEvent | None = None,
    pause: Callable[[int], None] | None = None,
) -> Run:
    """Drive a run to its end, or until it has to wait for the other site.

    Parameters
    ----------
    journal
        Where the run is recorded.
    run_id
        The run; it may be new, or left over from a driver that died.
    effects
        One effect for every step that :meth:`ProtocolTable.effects` lists for the run's mode.
    lease
        The volume's lease, held by this process.
    on_event
        Called after each event is durable. What it raises is logged and changes nothing.
    pause
        Called with the number of the last attempt before a step in doubt is done again in this process.

    Returns
    -------
    Run
        With phase DONE, REVERTED or STUCK; or REVERTING with ``waiting`` set, when a recovery has to go on later.

    Raises
    ------
    FencedError
        When the lease is lost. Nothing is changed after that.
    ValueError
        When an effect is missing.
    BaseException
        What interrupted an effect (``KeyboardInterrupt``, a cancellation) is raised again after the run was taken
        back or, after the pivot, cleaned up. A second interruption ends the driver at once; a recovery goes on.
    """
    return _Driver(journal, effects, lease, on_event, pause).drive(run_id)


@dataclass(frozen=True, slots=True)
class _Driver:
    journal: RunJournal
    effects: Mapping[Step, Effect]
    lease: Hold
    on_event: OnEvent | None
    pause: Callable[[int], None] | None

    def drive(self, run_id: str) -> Run:
        run = self.journal.load(run_id)
        missing = run.table.effects(run.mode) - self.effects.keys()
        if missing:
            raise ValueError(f"no effect given for {', '.join(sorted(missing))} of {run.table.name}")
        try:
            if run.is_open and run.sequence > 1:
                run = self._append(run, Resumed(self.lease.token, self.lease.owner))
            return self._to_the_end(run)
        except Exception:
            raise
        except BaseException as interruption:
            with shielded():
                self._cancel(run_id, type(interruption).__name__)
            raise

    def _cancel(self, run_id: str, reason: str) -> None:
        # Loaded afresh: the interruption may have come between the database's commit and our knowing of it.
        run = self.journal.load(run_id)
        if run.is_open:
            self._to_the_end(self._append(run, CancelRequested(reason)))

    def _to_the_end(self, run: Run) -> Run:
        while not run.waiting and (action := run.next()) is not None:
            run = self._act(run, action)
        return run

    def _act(self, run: Run, action: Action) -> Run:
        forward = isinstance(action, Do)
        if forward and self.pause is not None and run.attempts(action.step) and run.started[-1] is action.step:
            self.pause(run.attempts(action.step))
        self.lease.check()
        run = self._append(run, Started(action.step) if forward else UndoStarted(action.step))
        try:
            facts = self.effects[action.effect](EffectContext(run, self.lease, undo=not forward))
        except Exception as error:  # noqa: BLE001 -- whatever an effect raises is an outcome of the run
            if isinstance(error, FencedError):
                self.lease.check()  # our own lease: stop here. Another's word about a still valid lease: a failure.
            return self._append(run, _outcome_of_error(run, action, error))
        return self._append(run, _outcome(run, action, facts))

    def _append(self, run: Run, event: Event) -> Run:
        after = self.journal.append(run, event, token=self.lease.token)
        if self.on_event is not None:
            try:
                self.on_event(after, event)
            except Exception:  # noqa: BLE001 -- a display that fails must not leave a pair split
                _LOG.exception("what watches run %r failed at %r", run.run_id, event)
        return after


def _outcome(run: Run, action: Action, facts: Facts) -> Event:
    reason = unfit(run, action.effect, facts) if isinstance(facts, Facts) else f"it returned {facts!r}, not Facts"
    if reason is not None:
        defect = _defect(action, reason)
        return Failed(action.step, defect) if isinstance(action, Do) else UndoFailed(action.step, defect)
    if isinstance(action, Do):
        return Finished(action.step, facts)
    if action.step is run.table.pivot and facts.flag("committed"):
        return FoundCommitted(facts.text("version_id"), facts)
    return Undone(action.step, facts)


def _outcome_of_error(run: Run, action: Action, error: Exception) -> Event:
    problem = Problem.of(error, action.effect)
    unknown = isinstance(error, UnknownOutcomeError)
    if isinstance(action, Do):
        return Doubted(action.step, problem) if unknown else Failed(action.step, problem)
    # A question that could not be asked now may be asked later: everything stays in place until then.
    later = action.by in run.table.patient and isinstance(error, NightwellError) and error.transient
    return Doubted(action.step, problem) if unknown or later else UndoFailed(action.step, problem)


def _defect(action: Action, reason: str) -> Problem:
    return Problem(
        error="TypeError",
        subject=f"effect {action.effect}",
        expected="the facts that the protocol's table asks of it",
        found=reason,
        cause="a defect in the effect",
        next_step="report it; the run was handled as if the effect had failed",
    )


def cancel(journal: RunJournal, run: Run, reason: str, *, lease: Hold) -> Run:
    """Record that a run is to end; :func:`drive` then takes it back, or cleans up when it is past the pivot.

    A run that has ended is returned as it is. For a request that never arrived, open the run and cancel it: a run that
    was reverted before it began is how the destination remembers to refuse the request when it does arrive.
    """
    return journal.append(run, CancelRequested(reason), token=lease.token) if run.is_open else run
