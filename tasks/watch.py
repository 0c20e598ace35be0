"""Who watches a run beside the log of its flow run: a terminal, when one asked to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from nightwell.cli.display import RunDisplay
from nightwell.protocol import Event, Run
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
    """Show an event on the terminal that watches; the flow run's page has it from the log."""
    display = _display.get()
    if display is not None:
        display.on_event(run, event)


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
