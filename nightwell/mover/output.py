"""Standard output as the row of events, kept clean of everything else."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from nightwell.logs import put, take_away
from nightwell.mover.events import Event, Logged, Phase, Progressed, encode_event
from nightwell.store.ports import Progress, ProgressCallback

_PROGRESS_INTERVAL_S = 0.25


class EventOutput:
    """Writes events. Thread-safe.

    Parameters
    ----------
    descriptor
        An open file descriptor to write to; it stays open.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    @classmethod
    def take_over_stdout(cls) -> EventOutput:
        """Return the output to standard output; what libraries print there goes to standard error from here on."""
        descriptor = os.dup(1)
        os.dup2(2, 1)
        return cls(descriptor)

    def tell(self, event: Event) -> None:
        """Write one event. When nobody listens any more, that is for the lifeline to notice."""
        line = memoryview(encode_event(event))
        with self._lock, suppress(BrokenPipeError):
            while line:
                line = line[os.write(self._descriptor, line) :]

    @contextmanager
    def telling_logs(self) -> Iterator[None]:
        """Tell every line that is logged from level ``info`` on while the block runs."""
        handler = _ToldLogs(self)
        put(handler)
        try:
            yield
        finally:
            take_away(handler)

    def progress(self, phase: Phase, block_bytes: int) -> ProgressCallback:
        """Return what tells how far a pass is, at most four times a second."""
        next_s = 0.0

        def report(progress: Progress) -> None:
            nonlocal next_s
            now_s = time.monotonic()
            if now_s >= next_s:
                next_s = now_s + _PROGRESS_INTERVAL_S
                done, total = progress.blocks_done * block_bytes, progress.blocks_total * block_bytes
                self.tell(Progressed(phase, done, total))

        return report


class _ToldLogs(logging.Handler):
    def __init__(self, output: EventOutput) -> None:
        super().__init__(logging.INFO)
        self._output = output
        self.setFormatter(logging.Formatter())  # words, and the traceback below them when there is one

    def emit(self, record: logging.LogRecord) -> None:
        self._output.tell(Logged(record.levelname.lower(), record.name, self.format(record)))
