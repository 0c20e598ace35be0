"""A run as a frozen value: what was done, what is in doubt, and what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nightwell.errors import NightwellError
from nightwell.protocol.events import Opened, Problem
from nightwell.protocol.facts import Facts
from nightwell.protocol.steps import Mode, Step
from nightwell.protocol.tables import ProtocolTable, Row


class Phase(StrEnum):
    """Where a run stands as a whole."""

    FORWARD = "forward"
    REVERTING = "reverting"
    DONE = "done"
    REVERTED = "reverted"
    STUCK = "stuck"


OPEN_PHASES = frozenset({Phase.FORWARD, Phase.REVERTING})


@dataclass(frozen=True, slots=True)
class Do:
    """The next action is a step's effect."""

    step: Step

    @property
    def effect(self) -> Step:
        """The effect to call."""
        return self.step


@dataclass(frozen=True, slots=True)
class Undo:
    """The next action takes ``step`` back by calling the effect ``by``."""

    step: Step
    by: Step

    @property
    def effect(self) -> Step:
        """The effect to call."""
        return self.by


Action = Do | Undo


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a stuck run owes: the effect ``by`` did not succeed for ``step`` (the same step, when it was cleanup)."""

    step: Step
    by: Step
    problem: Problem


@dataclass(frozen=True, slots=True)
class Run:
    """The state of one run; only :func:`nightwell.protocol.transitions.evolve` makes new ones.

    Parameters
    ----------
    table, opened
        The protocol and what the run was opened with.
    facts
        Everything recorded so far, laid over the facts of the opening.
    position
        How many rows are settled: finished, passed over, or failed after the pivot.
    started
        Every step started so far, once per attempt, in order.
    done
        The steps that finished.
    open
        The step, or the step whose undo, is under way (``None`` between actions).
    to_undo
        Steps still to be taken back, next first.
    doubts
        Undos that could not tell, once per attempt.
    leftovers
        What could not be undone or cleaned up.
    failure
        The first error that made the run turn back (``None`` when it was cancelled or is on its way).
    committed
        The pivot has happened: the run's work is durable.
    cancelled
        Somebody asked for its end.
    waiting
        A patient undo cannot tell yet: nothing is done until the run is resumed.
    again
        After a stuck cleanup was reopened: the only rows that are done.
    resolved_by
        The person who did by hand what the run owed.
    sequence
        Number of events so far.
    """

    table: ProtocolTable
    opened: Opened
    facts: Facts
    phase: Phase = Phase.FORWARD
    position: int = 0
    started: tuple[Step, ...] = ()
    done: tuple[Step, ...] = ()
    open: Step | None = None
    to_undo: tuple[Step, ...] = ()
    doubts: tuple[Step, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    failure: Problem | None = None
    committed: bool = False
    cancelled: bool = False
    waiting: bool = False
    again: frozenset[Step] | None = None
    resolved_by: str | None = None
    sequence: int = 1

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.opened.run_id

    @property
    def volume(self) -> str:
        """The volume that the run protects or restores."""
        return self.opened.volume

    @property
    def mode(self) -> Mode:
        """The mode it was opened with."""
        return self.opened.mode

    @property
    def is_open(self) -> bool:
        """Whether there is still something to do without a person."""
        return self.phase in OPEN_PHASES

    @property
    def version_id(self) -> str | None:
        """The version this run committed or restores, once known."""
        value = self.facts.get("version_id")
        return value if isinstance(value, str) else None

    @property
    def spoiled(self) -> bool:
        """Whether a restore's target may be partly overwritten and was not completed."""
        spoils = self.table.spoils
        return (
            spoils is not None
            and spoils in self.started
            and not self.committed
            and self.facts.get("target_touched") is not False
        )

    def attempts(self, step: Step) -> int:
        """Return how often a step has been started."""
        return self.started.count(step)

    def row(self, step: Step) -> Row:
        """Return the table's row of a step in this run's mode."""
        return self.table.row(self.mode, step)

    def next_row(self) -> tuple[int, Row] | None:
        """Return the index and row of the next step forward, passing over rows whose guard does not hold."""
        rows = self.table.rows(self.mode)
        for index in range(self.position, len(rows)):
            row = rows[index]
            wanted = self.again is None or row.step in self.again
            if wanted and (row.when is None or row.when.holds(self.facts)):
                return index, row
        return None

    def next(self) -> Action | None:
        """Return what comes next; ``None`` when the run has ended."""
        if self.phase is Phase.FORWARD:
            found = self.next_row()
            return Do(found[1].step) if found is not None else None
        if self.phase is Phase.REVERTING:
            step = self.to_undo[0]
            undo = self.row(step).undo
            assert undo is not None, f"{step} has no undo, yet it is to be undone"
            return Undo(step, undo)
        return None


class ProtocolViolation(NightwellError):  # noqa: N818 -- a violation of the protocol, by the protocol's own word
    """An event that the run's state does not allow: a defect, a damaged journal, or a second driver.

    Parameters
    ----------
    run
        The run before the event.
    event
        The event that was refused.
    reason
        What is wrong with it, when it is not only out of turn.
    """

    def __init__(self, run: Run, event: object, reason: str = "") -> None:
        NightwellError.__init__(
            self,
            f"run {run.run_id!r} ({run.table.name}, mode {run.mode}) after {run.sequence} events",
            expected=f"in phase {run.phase}, {_words(run)}",
            found=f"{event!r}" + (f" ({reason})" if reason else ""),
            cause="a defect, a damaged journal, or a second driver of the same run",
            next_step=f"change nothing by hand; look at the journal with `nightwell runs {run.run_id}`",
        )


def _words(run: Run) -> str:
    action = run.next()
    if action is None:
        return "no further step"
    under_way = "the outcome of" if run.open is not None else "the start of"
    what = f"{action.step}" if isinstance(action, Do) else f"the undo of {action.step} by {action.by}"
    return f"{under_way} {what}"
