"""An export of another array, attached over line 1 and served here."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from nightwell.arrays.other_array import CONTEXTS, SILENCE_S, STALL_S, reach
from nightwell.arrays.served import ImportRecord
from nightwell.errors import ConflictError, NightwellError, NotFoundError, UnreachableError
from nightwell.nbd.client import NbdClient
from nightwell.nbd.faults import RequestError, WireError
from nightwell.nbd.tls import TlsFiles
from nightwell.nbd.wire import Extent

_MOST_IDLE = 4
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5
_OPENING_S = 5.0  # the NBD server gives a client 10 s to be let in

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class ImportedVolume:
    """The line to one export of another array, shared by all who have it open here.

    A request that meets a cut line is repeated over a new connection until ``stall_s`` have passed since it began;
    then it fails with EIO. Repeating is safe: a write that was not answered has no promised order, and gives the same
    bytes when made twice.

    Parameters
    ----------
    record
        What was attached.
    tls
        Files with which this array proves itself to the other one.
    stall_s
        How long a request may wait for the line.
    """

    def __init__(self, record: ImportRecord, *, tls: TlsFiles | None, stall_s: float = STALL_S) -> None:
        self.record = record
        self._tls = tls
        self._stall_s = stall_s
        self._idle: list[NbdClient] = []
        self._busy: set[NbdClient] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def open(self) -> ImportBackend:
        """Return a view for one connection.

        Raises
        ------
        UnreachableError
            The line stayed cut for as long as a client waits to be let in.
        NotFoundError, ConflictError, CredentialsError
            The other array's own answer.
        """
        granted = self._repeat(lambda client: client.contexts, min(_OPENING_S, self._stall_s))
        return ImportBackend(self, tuple(name for name in CONTEXTS if name in granted))

    def call(self, work: Callable[[NbdClient], _Result]) -> _Result:
        """Carry out one request; OSError with the other array's errno, or EIO when the line stays cut."""
        try:
            return self._repeat(work, self._stall_s)
        except OSError:
            raise
        except NightwellError as problem:
            _log.warning("import %s: %s", self.record.name, problem)
            raise OSError(errno.EIO, str(problem)) from problem

    def _repeat(self, work: Callable[[NbdClient], _Result], patience_s: float) -> _Result:
        """Try until the line has carried the work once; what the other array answers to it is final."""
        began = time.monotonic()
        deadline = began + patience_s
        pause_s = _FIRST_PAUSE_S
        cut = False
        while True:
            try:
                result = self._attempt(work, max(deadline - time.monotonic(), _FIRST_PAUSE_S))
            except (UnreachableError, WireError) as problem:
                if time.monotonic() + pause_s >= deadline or self._closed.wait(pause_s):
                    raise
                if not cut:
                    _log.warning(
                        "import %s: the line is cut (%s); trying for %.0f s",
                        self.record.name,
                        problem.found,
                        patience_s,
                    )
                cut = True
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                if cut:
                    _log.warning("import %s: the line is back after %.1f s", self.record.name, time.monotonic() - began)
                return result

    def _attempt(self, work: Callable[[NbdClient], _Result], left_s: float) -> _Result:
        client = self._borrow(min(SILENCE_S, left_s))
        try:
            with self._in_use(client):
                result = work(client)
        except RequestError:
            self._give_back(client)
            raise
        except BaseException:
            client.close()
            raise
        self._give_back(client)
        return result

    @contextmanager
    def _in_use(self, client: NbdClient) -> Iterator[None]:
        with self._lock:
            if self._closed.is_set():
                raise _released(self.record)
            self._busy.add(client)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(client)

    def _borrow(self, timeout_s: float) -> NbdClient:
        with self._lock:
            if self._closed.is_set():
                raise _released(self.record)
            if self._idle:
                return self._idle.pop()
        client = reach(self.record.url, self._tls, timeout_s)
        if client.size_bytes != self.record.size_bytes:
            client.close()
            raise _resized(self.record, client.size_bytes)
        return client

    def _give_back(self, client: NbdClient) -> None:
        with self._lock:
            if not self._closed.is_set() and len(self._idle) < _MOST_IDLE:
                self._idle.append(client)
                return
        client.close()

    def interrupt(self) -> None:
        """Make every request that waits for the line fail now, and none begin.

        Also one that is being answered: over a slow line the rest of an answer can take minutes.
        """
        with self._lock:
            self._closed.set()
            busy = tuple(self._busy)
        for client in busy:
            client.abort()

    def close(self) -> None:
        """Leave the other array."""
        self._closed.set()
        with self._lock:
            idle, self._idle = self._idle, []
        for client in idle:
            client.close()


class ImportBackend:
    """One connection's view of an import; contexts and errors pass through unchanged."""

    def __init__(self, volume: ImportedVolume, contexts: tuple[str, ...]) -> None:
        self._volume = volume
        self._contexts = contexts

    @property
    def size_bytes(self) -> int:
        """Size of the other array's export."""
        return self._volume.record.size_bytes

    @property
    def read_only(self) -> bool:
        """As it was imported."""
        return not self._volume.record.writable

    def file_descriptor(self) -> None:
        """Return nothing: the bytes are elsewhere."""

    def read(self, offset_bytes: int, length_bytes: int) -> memoryview:
        """Return a range from the other array."""
        view = memoryview(bytearray(length_bytes))
        self._volume.call(lambda client: client.read_into(offset_bytes, view))
        return view

    def write(self, offset_bytes: int, data: memoryview, *, fua: bool) -> None:
        """Write a range at the other array."""
        self._volume.call(lambda client: client.write(offset_bytes, data, fua=fua))

    def zero(self, offset_bytes: int, length_bytes: int, *, may_punch: bool, fua: bool) -> None:
        """Zero a range at the other array."""

        def request(client: NbdClient) -> None:
            client.zero(offset_bytes, length_bytes, may_punch=may_punch)
            if fua:
                client.flush()

        self._volume.call(request)

    def trim(self, offset_bytes: int, length_bytes: int) -> None:
        """Free a range at the other array."""
        self._volume.call(lambda client: client.trim(offset_bytes, length_bytes))

    def flush(self) -> None:
        """Have the other array bring every earlier write to its disk."""
        self._volume.call(lambda client: client.flush())

    def contexts(self) -> tuple[str, ...]:
        """Return what the other array offers."""
        return self._contexts

    def extents(self, context: str, offset_bytes: int, length_bytes: int) -> Iterable[Extent]:
        """Return the status that the other array gives."""
        return self._volume.call(lambda client: list(client.extents(context, offset_bytes, length_bytes)))

    def close(self) -> None:
        """Do nothing: the line is shared."""


def _released(record: ImportRecord) -> NotFoundError:
    return NotFoundError(
        f"import {record.name!r}",
        expected="an import of this array",
        found="one that was released",
        cause="its run has ended",
        next_step="import the volume again",
    )


def _resized(record: ImportRecord, found_bytes: int) -> ConflictError:
    return ConflictError(
        f"import {record.name!r} of {record.url}",
        expected=f"{record.size_bytes} bytes, as when it was attached",
        found=f"{found_bytes} bytes",
        cause="the volume has grown, or another one is exported under the name",
        next_step="release the import, then attach it anew",
    )
