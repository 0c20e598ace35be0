"""What the destination's run tells the source: the outcomes of ``request`` and of ``fence``.

Truth about a request lives in the destination's journal, under the same run id. These two functions turn the run found
there into what the source's effects return or raise, whatever carries the question over line 2.
"""

from __future__ import annotations

from nightwell.errors import ConflictError, NightwellError, UnknownOutcomeError
from nightwell.protocol.facts import Facts
from nightwell.protocol.run import Run
from nightwell.protocol.steps import Step


def request_outcome(run: Run) -> Facts:
    """Return the facts of a finished request.

    Parameters
    ----------
    run
        The destination's run, loaded from its journal.

    Raises
    ------
    UnknownOutcomeError
        While it has not ended.
    NightwellError
        The error that made it turn back; :class:`ConflictError` when it was cancelled.
    """
    if run.committed:
        return Facts(version_id=run.version_id)
    if run.is_open:
        raise _not_ended(run)
    if run.failure is not None:
        raise run.failure.as_error()
    raise ConflictError(
        f"run {run.run_id!r} at the destination",
        expected="a run that may begin",
        found="a run that was cancelled",
        cause="the source gave the request up, or a person cancelled it",
        next_step="start a new run",
    )


def fence_outcome(run: Run) -> Facts:
    """Return the answer to a fence: ``committed``, ``version_id`` when that is true, ``target_touched`` of a restore.

    Parameters
    ----------
    run
        The destination's run after it was cancelled and driven.

    Raises
    ------
    UnknownOutcomeError
        While it has not ended; the source waits and asks again.
    NightwellError
        When it ended without being able to tell; a person must find out.
    """
    if run.committed:
        return Facts(committed=True, version_id=run.version_id)
    if run.is_open:
        raise _not_ended(run)
    for leftover in run.leftovers:
        if leftover.by is Step.FENCE:
            raise NightwellError(
                f"run {run.run_id!r} at the destination",
                expected="an answer whether it committed a version",
                found="a run that could not tell",
                cause=leftover.problem.cause,
                next_step=f"look for a version of run {run.run_id} in the store, then resolve both sites' runs",
            )
    if run.table.spoils is not None:
        return Facts(committed=False, target_touched=run.spoiled)
    return Facts(committed=False)


def _not_ended(run: Run) -> UnknownOutcomeError:
    return UnknownOutcomeError(
        f"run {run.run_id!r} at the destination",
        expected="a run that has ended",
        found=f"phase {run.phase}" + (", waiting" if run.waiting else ""),
        cause="it is still under way, or its driver died and recovery has not come yet",
        next_step="nothing; recovery asks again",
    )
