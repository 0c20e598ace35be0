"""The states in which a run can end, or wait: each has a section in docs/runbook.md, which a test makes sure of."""

from __future__ import annotations

from enum import StrEnum

from nightwell.protocol.run import Phase, Run

RUNBOOK = "docs/runbook.md"


class Ending(StrEnum):
    """How a run has ended, or why it has not; the words are the headings of the runbook."""

    DONE = "done"
    CLEANUP_OWED = (
        "cleanup owed"  # the work is done; something it made or changed stands yet, here or at the other site
    )
    DONE_BY_HAND = "done by hand"  # a person did what it owed
    TAKEN_BACK = "taken back"  # a step failed; everything is as before
    CANCELLED = "cancelled"  # somebody asked for its end; everything is as before
    PARTLY_OVERWRITTEN = "partly overwritten"  # a restore that wrote on its target and did not finish
    NOT_TAKEN_BACK = "not taken back"  # it failed, and a step of the way back failed too
    UNDER_WAY = "under way"
    BEING_TAKEN_BACK = "being taken back"
    WAITING = "waits for the destination"


def ending(run: Run) -> Ending:
    """Return how a run has ended, or how it stands."""
    if run.waiting:
        return Ending.WAITING
    if run.is_open:
        return Ending.BEING_TAKEN_BACK if run.phase is Phase.REVERTING else Ending.UNDER_WAY
    if run.phase is Phase.STUCK and not run.committed:
        return Ending.NOT_TAKEN_BACK
    return _of_work(run) if run.committed else _of_no_work(run)


def _of_work(run: Run) -> Ending:
    # What the other site's half of the run owes is a fact of this one; what this one owes makes it stuck.
    if run.phase is Phase.STUCK or run.facts.get("cleanup_owed"):
        return Ending.CLEANUP_OWED
    return Ending.DONE_BY_HAND if run.resolved_by else Ending.DONE


def _of_no_work(run: Run) -> Ending:
    if run.spoiled:
        return Ending.PARTLY_OVERWRITTEN
    if run.resolved_by:
        return Ending.DONE_BY_HAND
    return Ending.CANCELLED if run.failure is None else Ending.TAKEN_BACK


def runbook(run: Run) -> str:
    """Return where the runbook says what to do about a run."""
    return section_of(ending(run))


def section_of(one: Ending) -> str:
    """Return the address of a section of the runbook."""
    return f"{RUNBOOK}#{one.value.replace(' ', '-')}"
