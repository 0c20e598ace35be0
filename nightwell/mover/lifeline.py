"""Standard input as the lifeline: who holds its other end may let the mover commit, or end it by letting go."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import IO

from nightwell.errors import InputError, NightwellError
from nightwell.store.ports import StoppedError

EXIT_LIFELINE_CLOSED = 3
EXIT_COMMIT_ABANDONED = 4

#: Time to stop and to delete packs, after the other end let go; then the process ends, whatever it is doing.
GRACE_S = 3.0
#: The same once leave to commit was given: a commit that runs is finished rather than left in doubt.
COMMIT_GRACE_S = 60.0

_LEAVE = b"commit"
_LONGEST_LINE_BYTES = 1 << 20


class Lifeline:
    """Reads standard input on a thread of its own.

    Parameters
    ----------
    stream
        Standard input, in bytes.
    end
        Ends the process at once with an exit status, whatever it is doing.

    Attributes
    ----------
    stop
        Set when the other end lets go.
    """

    def __init__(self, stream: IO[bytes], *, end: Callable[[int], object] = os._exit) -> None:
        self.stop = threading.Event()
        self._end = end
        self._stream = stream
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._leave_given = threading.Event()
        threading.Thread(target=self._listen, name="lifeline", daemon=True).start()

    @property
    def leave_given(self) -> bool:
        """Whether the line ``commit`` has come."""
        return self._leave_given.is_set()

    def read_job(self) -> bytes:
        """Return the first line; StoppedError when none comes."""
        return self._next()

    def wait_for_leave(self) -> None:
        """Block until the line ``commit`` comes; StoppedError when the other end lets go instead."""
        line = self._next()
        if line != _LEAVE:
            raise InputError(
                "the mover's standard input",
                expected="the line 'commit'",
                found=repr(line[:80]),
                cause="something other than nightwell speaks to the mover",
                next_step="start movers through a nightwell flow or command",
            )

    def _listen(self) -> None:
        while line := self._stream.readline(_LONGEST_LINE_BYTES):
            if line.strip() == _LEAVE:
                self._leave_given.set()
            self._lines.put(line.strip())
        self._lines.put(None)
        self.stop.set()
        time.sleep(COMMIT_GRACE_S if self.leave_given else GRACE_S)
        # Still here: a library waits for a server. Nothing that was not committed is worth waiting for.
        self._end(EXIT_COMMIT_ABANDONED if self.leave_given else EXIT_LIFELINE_CLOSED)

    def _next(self) -> bytes:
        line = self._lines.get()
        if line is None:
            raise _closed()
        return line


def _closed() -> NightwellError:
    return StoppedError(
        "the mover",
        expected="its producer to hold standard input open",
        found="the other end closed",
        cause="the producer ended or cancelled the run",
        next_step="run again; nothing was committed",
    )
