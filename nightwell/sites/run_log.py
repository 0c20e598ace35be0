"""What a run logs: one line when it begins, one for each step, one when it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from nightwell.logs import about, now_about
from nightwell.protocol import (
    CancelRequested,
    Doubted,
    Event,
    Failed,
    Finished,
    FoundCommitted,
    Problem,
    Reopened,
    Resumed,
    Run,
    Started,
    UndoFailed,
    Undone,
    UndoStarted,
    ending,
    remedies,
    verdict,
)
from nightwell.protocol.driver import OnEvent

_log = logging.getLogger(__name__)
_Line = tuple[int, str, dict[str, object]]

_LINES: Mapping[type[Event], tuple[int, str]] = MappingProxyType(
    {
        Started: (logging.DEBUG, "{step} begins"),
        UndoStarted: (logging.DEBUG, "taking back {step}"),
        Finished: (logging.INFO, "{step} finished"),
        Undone: (logging.WARNING, "{step} was taken back"),
        Failed: (logging.WARNING, "{step} failed: {why}"),
        Doubted: (logging.WARNING, "{step} cannot tell its outcome: {why}"),
        UndoFailed: (logging.ERROR, "{step} could not be taken back: {why}"),
        FoundCommitted: (logging.WARNING, "version {event.version_id} had been committed: going forward"),
        CancelRequested: (logging.WARNING, "cancelled ({event.reason})"),
        Resumed: (logging.WARNING, "taken up again by {event.owner}"),
        Reopened: (logging.WARNING, "what it owes is tried again, asked for by {event.by}"),
    }
)


@contextmanager
def logging_run(run: Run, on_event: OnEvent | None) -> Iterator[OnEvent]:
    """Give a watcher that logs a run's events and hands each on; what effects log meanwhile belongs to the run.

    Parameters
    ----------
    run
        The run as it is taken up.
    on_event
        Called after each event was logged.
    """
    with about(site=str(run.opened.site), run=run.run_id, volume=run.volume, step=""):
        if run.sequence == 1:
            _log.info("%s begins, mode %s", run.opened.kind, run.mode, extra={"fields": {"event": "opened"}})
        yield RunLog(on_event)


class RunLog:
    """Logs events of one run as they are journaled.

    Parameters
    ----------
    then
        Called with the same event afterwards.
    """

    def __init__(self, then: OnEvent | None = None) -> None:
        self._then = then
        self._begun_s: float | None = None

    def __call__(self, run: Run, event: Event) -> None:
        """Log one event."""
        step = getattr(event, "step", None)
        begins = isinstance(event, Started | UndoStarted)
        if step is not None:
            now_about(step=str(step))
        level, words, fields = _line(event)
        if begins:
            self._begun_s = time.monotonic()
        elif step is not None and self._begun_s is not None:
            fields["seconds"] = round(time.monotonic() - self._begun_s, 3)
        _log.log(level, "%s", words, extra={"fields": fields})
        if not begins:
            self._begun_s = None
            now_about(step="")
        if run.waiting or not run.is_open:
            _log_end(run)
        if self._then is not None:
            self._then(run, event)


def _line(event: Event) -> _Line:
    """Return an event's level, words and fields; none holds a fact, so none can hold an address."""
    level, words = _LINES.get(type(event), (logging.INFO, type(event).__name__))
    problem: Problem | None = getattr(event, "problem", None)
    fields: dict[str, object] = {"event": type(event).__name__}
    why = ""
    if problem is not None:
        fields["error"] = problem.as_error().as_dict()
        why = f"{problem.subject}: expected {problem.expected}; found {problem.found}. Next step: {problem.next_step}"
    step = str(getattr(event, "step", "")).replace("_", " ")
    return level, words.format(step=step, event=event, why=why), fields


def _log_end(run: Run) -> None:
    owed = remedies(run)
    level = logging.ERROR if owed else logging.INFO if run.committed else logging.WARNING
    fields = {
        "event": "waits" if run.waiting else "ended",
        "phase": str(run.phase),
        "ending": str(ending(run)),
        "owed": list(owed),
    }
    _log.log(level, "%s: %s", run.opened.kind, verdict(run), extra={"fields": fields})
