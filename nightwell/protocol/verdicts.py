"""What a run's end means, and what a person must do when it is stuck."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nightwell.errors import UnknownOutcomeError
from nightwell.protocol.run import Leftover, Phase, Run
from nightwell.protocol.steps import RunKind, Step

REMEDIES: Mapping[Step, str] = MappingProxyType(
    {
        Step.THAW: "thaw the host of volume {volume}: its I/O may still be frozen",
        Step.FENCE: "end run {run_id} at the destination, and see whether it committed a version of {volume}",
        Step.WITHDRAW_EXPORT: "withdraw the export that run {run_id} made at the source array",
        Step.RESYNC: "bring the pair of volume {volume} back in step (resync)",
        Step.DELETE_PAIR: "dissolve the pair of volume {volume} that run {run_id} made",
        Step.DELETE_SECONDARY: "delete the secondary {secondary} that run {run_id} made",
        Step.DELETE_SERVER: "delete the virtual server of run {run_id} at the destination",
        Step.RELEASE_IMPORT: "release the import of run {run_id} at the destination array",
    }
)
"""For every effect that can be owed: what a person does in its place. A test holds this against the tables."""


def remedy(run: Run, leftover: Leftover) -> str:
    """Return what a person does about one leftover, with the names of this run."""
    names = {
        "volume": run.volume,
        "run_id": run.run_id,
        "secondary": str(run.facts.get("secondary", "(not named yet)")),
    }
    # The tables' own leftovers all have their words; a report must not fail for one that has none.
    words = REMEDIES.get(leftover.by, f"make sure of step {leftover.by} of run {{run_id}}")
    return words.format(**names)


def remedies(run: Run) -> tuple[str, ...]:
    """Return everything that a person must do for a stuck run; empty for any other."""
    return tuple(remedy(run, leftover) for leftover in run.leftovers) if run.phase is Phase.STUCK else ()


def may_pass(run: Run) -> bool:
    """Return whether something that a stuck run owes failed for a reason that may go away: nobody answered.

    What else it owes may be a consequence of that, such as a secondary whose pair could not be dissolved.
    """
    errors = [leftover.problem.as_error() for leftover in run.leftovers]
    return run.phase is Phase.STUCK and any(e.transient or isinstance(e, UnknownOutcomeError) for e in errors)


def verdict(run: Run) -> str:
    """Return one sentence that says what the run achieved and what it left."""
    if run.is_open:
        return _on_its_way(run)
    work = _work(run)
    if run.phase is not Phase.STUCK:
        return f"{work}; what it owed was done by hand ({run.resolved_by})" if run.resolved_by else work
    owed = "; ".join(remedies(run))
    if may_pass(run):
        owed += " (a recovery tries it again by itself)"
    return f"{work}, cleanup owed: {owed}" if run.committed else f"{work}, and could not be taken back whole: {owed}"


def _work(run: Run) -> str:
    backup = run.opened.kind is RunKind.BACKUP
    if run.committed:
        return (
            f"backup safe as version {run.version_id}" if backup else f"version {run.version_id} restored and verified"
        )
    why = "cancelled" if run.failure is None else f"failed ({run.failure.found})"
    if run.spoiled:
        return f"{why}; volume {run.volume} MAY BE PARTLY OVERWRITTEN: do not use it before another restore"
    return f"{why}; no version was made" if backup else f"{why}; volume {run.volume} was not written"


def _on_its_way(run: Run) -> str:
    if run.waiting:
        return (
            f"waits for the destination to say whether run {run.run_id} committed a version; recovery goes on by itself"
        )
    if run.phase is Phase.REVERTING:
        return "is being taken back"
    return f"backup safe as version {run.version_id}, cleaning up" if run.committed else "under way"
