"""Who watches a run: the flow run's log in the UI always, and a terminal when one asked to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from nightwell.cli.display import RunDisplay
from nightwell.protocol import Event, Failed, FoundCommitted, Run, UndoFailed, Undone
from tasks.artifacts import CopyProgress

_display: ContextVar[RunDisplay | None] = ContextVar("display", default=None)


@contextmanager
def shown_on(display: RunDisplay) -> Iterator[None]:
    """Show the events of every run of this process on a terminal while the block runs."""
    token = _display.set(display)
    try:
        yield
    finally:
        _display.reset(token)


def on_event(run: Run, event: Event) -> None:
    """Log what a task's own state does not say: why a run turned back, and how it went on."""
    display = _display.get()
    if display is not None:
        display.on_event(run, event)
    if isinstance(event, Failed | UndoFailed):
        problem = event.problem
        _log(f"{event.step}: expected {problem.expected}; found {problem.found}. Next step: {problem.next_step}.")
    elif isinstance(event, Undone):
        _log(f"{event.step} was taken back")
    elif isinstance(event, FoundCommitted):
        _log(f"version {event.version_id} had been committed: going forward")


class WatchedProgress:
    """A copy's progress, as an artifact and on the terminal that watches."""

    def __init__(self, subject: str) -> None:
        self._artifact = CopyProgress(subject)

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        """Show how far the copy is."""
        self._artifact(done_bytes, total_bytes)
        display = _display.get()
        if display is not None:
            display.on_progress(done_bytes, total_bytes)


def _log(text: str) -> None:
    try:
        get_run_logger().warning(text)
    except MissingContextError:  # driven outside a flow: the terminal has shown it
        return
