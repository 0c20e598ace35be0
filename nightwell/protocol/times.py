"""How long each step took, from the journal alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nightwell.protocol.events import (
    CancelRequested,
    Doubted,
    Failed,
    Finished,
    FoundCommitted,
    Resumed,
    Started,
    UndoFailed,
    Undone,
    UndoStarted,
)
from nightwell.protocol.journal import Recorded
from nightwell.protocol.steps import Step


class Outcome(StrEnum):
    """How one attempt of a step, or of its undo, ended."""

    FINISHED = "finished"
    FAILED = "failed"
    DOUBTED = "doubted"
    INTERRUPTED = "interrupted"  # cancelled, or its driver died
    UNDER_WAY = "under way"


@dataclass(frozen=True, slots=True)
class StepTime:
    """One attempt of a step. ``seconds`` is ``None`` while it is under way, and when its driver died."""

    step: Step
    undo: bool
    started_at: datetime
    seconds: float | None
    outcome: Outcome


_OUTCOMES = {
    Finished: Outcome.FINISHED,
    Undone: Outcome.FINISHED,
    FoundCommitted: Outcome.FINISHED,
    Failed: Outcome.FAILED,
    UndoFailed: Outcome.FAILED,
    Doubted: Outcome.DOUBTED,
    CancelRequested: Outcome.INTERRUPTED,
}


def timeline(events: Iterable[Recorded]) -> tuple[StepTime, ...]:
    """Return every attempt of every step, in the order they began.

    Parameters
    ----------
    events
        A run's events as :meth:`Journal.events` returns them.
    """
    times: list[StepTime] = []
    begun: tuple[Step, bool, datetime] | None = None
    for recorded in events:
        event = recorded.event
        if isinstance(event, Started | UndoStarted):
            begun = (event.step, isinstance(event, UndoStarted), recorded.at)
        elif begun is not None and isinstance(event, Resumed):
            # When the driver died is not known: the time until somebody noticed is not the step's.
            times.append(StepTime(*begun, None, Outcome.INTERRUPTED))
            begun = None
        elif begun is not None and type(event) in _OUTCOMES:
            seconds = (recorded.at - begun[2]).total_seconds()
            times.append(StepTime(*begun, seconds, _OUTCOMES[type(event)]))
            begun = None
    if begun is not None:
        times.append(StepTime(*begun, None, Outcome.UNDER_WAY))
    return tuple(times)
