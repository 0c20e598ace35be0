"""The host's side of the conversation with a mover.

``start``, ``wait_copied``, ``commit`` for a backup; ``start``, ``wait_restored``, ``wait_verified`` for a restore. The
conversation never ends the virtual server: whoever produced it deletes it, also after an error from here.

What an error means: before ``commit`` was sent, nothing was committed and nothing will be. Afterwards, an end without
an answer is :class:`~nightwell.errors.UnknownOutcomeError`, and only the store can tell.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from nightwell.errors import FormatError, NightwellError, UnknownOutcomeError, UnreachableError
from nightwell.mover.events import (
    Committed,
    Copied,
    Done,
    Event,
    Failed,
    Logged,
    Progressed,
    Verified,
    Written,
    decode_event,
    error_of,
)
from nightwell.mover.job import Job, RestoreJob, encode_job
from nightwell.servers.port import ServerHandle
from nightwell.store.versions import BlockStatistics, Version

ProgressCallback = Callable[[int, int], None]
Wanted = TypeVar("Wanted", Copied, Committed, Written, Verified, Done)

STALL_TIMEOUT_S = 120.0
COMMIT_TIMEOUT_S = 600.0
_END_TIMEOUT_S = 5.0
_LAST_LINES = 10


class MoverConversation:
    """One job, from the job line to the last event. Not thread-safe, but for :meth:`abort`.

    Parameters
    ----------
    handle
        The virtual server, fresh from its producer.
    stall_timeout_s
        Longest silence of a mover that has work to do. It speaks only when it gets on, so this is what no progress
        means; it must be longer than the mover's own timeouts, whose errors say more.
    commit_timeout_s
        Longest wait for the answer to ``commit``; then the outcome is unknown.

    Attributes
    ----------
    longest_stall_s
        Longest time without progress between two pieces of the copy so far: what a line that was cut has cost.
    """

    def __init__(
        self,
        handle: ServerHandle,
        *,
        stall_timeout_s: float = STALL_TIMEOUT_S,
        commit_timeout_s: float = COMMIT_TIMEOUT_S,
    ) -> None:
        self._handle = handle
        self._stall_timeout_s = stall_timeout_s
        self._commit_timeout_s = commit_timeout_s
        self._subject = f"mover in virtual server {handle.info.server_id!r}"
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._verifies = False
        self._commit_sent = False
        self.longest_stall_s = 0.0
        self._reader = threading.Thread(target=self._listen, name="mover-events", daemon=True)
        self._reader.start()

    def start(self, job: Job) -> None:
        """Hand over the job."""
        self._verifies = isinstance(job, RestoreJob) and job.verify
        self._say(encode_job(job))

    def wait_copied(self, progress: ProgressCallback | None = None) -> BlockStatistics:
        """Wait until all blocks are in the store; the mover's own error is raised as it is.

        Raises
        ------
        UnreachableError
            The mover made no progress for the stall timeout.
        NightwellError
            The mover's own error, or how it ended.
        """
        return self._wait(Copied, self._stall_timeout_s, progress).statistics

    def commit(self) -> Version:
        """Give leave to commit, and return the version.

        Raises
        ------
        UnknownOutcomeError
            Leave was given, and no answer came: ask the store for the run's version after deleting the server.
        NightwellError
            The mover's own error, or it had ended before leave was given: no version.
        """
        self._say(b"commit\n")
        self._commit_sent = True
        return self._wait(Committed, self._commit_timeout_s).version

    def wait_restored(self, progress: ProgressCallback | None = None) -> Written:
        """Wait until the version is on the target, flushed; errors as for :meth:`wait_copied`."""
        return self._wait(Written, self._stall_timeout_s, progress)

    def wait_verified(self, progress: ProgressCallback | None = None) -> None:
        """Wait until the mover has read the target back and ended well; IntegrityError when it differs.

        With a job that does not verify this only waits for the end.
        """
        if self._verifies:
            self._wait(Verified, self._stall_timeout_s, progress)
        self._wait(Done, self._stall_timeout_s)

    def abort(self) -> None:
        """Close the lifeline and wait a little for the end; never raises. Deleting the server makes sure."""
        with suppress(OSError, ValueError):
            self._handle.stdin.close()
        self._handle.wait(_END_TIMEOUT_S)

    def close(self) -> None:
        """Close the lifeline and stop listening, as far as the mover lets go of its end."""
        self.abort()
        self._reader.join(_END_TIMEOUT_S)
        if not self._reader.is_alive():  # else it holds the pipe's lock until the server is deleted
            self._handle.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        with suppress(OSError, ValueError):  # the pipe was closed under us
            for line in self._handle.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _say(self, line: bytes) -> None:
        try:
            self._handle.stdin.write(line)
            self._handle.stdin.flush()
        except (OSError, ValueError):
            # Nobody was there to read it, so it had no effect; the mover's last event says why.
            self._raise_last()

    def _raise_last(self) -> None:
        while True:
            event = self._next(_END_TIMEOUT_S)  # raises at the mover's end
            if isinstance(event, Failed):
                raise error_of(event)

    def _wait(self, kind: type[Wanted], timeout_s: float, progress: ProgressCallback | None = None) -> Wanted:
        moved_s: float | None = None  # until the first piece it starts up, which is no stall
        while True:
            event = self._next(timeout_s)
            now_s = time.monotonic()
            if moved_s is not None:
                self.longest_stall_s = max(self.longest_stall_s, now_s - moved_s)
            if isinstance(event, kind):
                return event
            if isinstance(event, Failed):
                raise error_of(event)
            if not isinstance(event, Progressed):
                raise self._unexpected(kind, event)
            moved_s = now_s
            if progress is not None:
                progress(event.done_bytes, event.total_bytes)

    def _next(self, timeout_s: float) -> Event:
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(until_s - time.monotonic(), 0))
            except queue.Empty:
                raise self._silent(timeout_s) from None
            if line is None:
                self._lines.put(None)  # the end stays the end
                raise self._ended()
            event = decode_event(line)
            if not isinstance(event, Logged):  # to say something is not to get on
                return event
            self._log(event)

    def _log(self, event: Logged) -> None:
        level = logging.getLevelNamesMapping().get(event.level.upper(), logging.WARNING)
        fields = {"server": self._handle.info.server_id}
        logging.getLogger(event.logger).log(level, "%s", event.message, extra={"fields": fields})

    def _ended(self) -> NightwellError:
        status = self._handle.wait(_END_TIMEOUT_S)
        lines = self._handle.read_errors().splitlines()[-_LAST_LINES:]
        said = "; its last words: " + " | ".join(lines) if lines else "; it said nothing on its standard error"
        return self._failure(_how(status) + said, cause=_why(status), error=NightwellError)

    def _silent(self, timeout_s: float) -> NightwellError:
        return self._failure(
            f"silence for {timeout_s:.0f} s",
            cause="the array or the store does not answer, or the virtual server's host is overloaded",
            error=UnreachableError,
        )

    def _failure(self, found: str, *, cause: str, error: type[NightwellError]) -> NightwellError:
        if self._commit_sent:
            return UnknownOutcomeError(
                self._subject,
                expected="an answer to the leave to commit",
                found=found,
                cause=cause,
                next_step="delete the virtual server, then ask the store whether the run has a version",
            )
        return error(
            self._subject,
            expected="the job to be done, with progress on the way",
            found=found,
            cause=cause,
            next_step="delete the virtual server and run again; nothing was committed",
        )

    def _unexpected(self, kind: type[Event], event: Event) -> FormatError:
        return FormatError(
            self._subject,
            expected=f"the event {kind.__name__}",
            found=type(event).__name__,
            cause="the virtual server runs another release of nightwell",
            next_step="install one release on both",
        )


def _how(status: int | None) -> str:
    if status is None:
        return "it closed its output and did not end"
    if status < 0:
        return f"it was killed by signal {-status} ({signal.strsignal(-status)})"
    return f"it ended with exit status {status}"


def _why(status: int | None) -> str:
    if status == -signal.SIGKILL:
        return "somebody deleted the virtual server, or the host ran out of memory"
    if status == -signal.SIGABRT:
        return "it met its memory limit inside a library, or a library is broken"
    return "a defect of the mover, or an installation that lacks a library"
