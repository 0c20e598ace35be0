"""An export of another array, attached over line 1 and served here."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from nightwell.arrays.embedded.state import ImportRecord
from nightwell.errors import ConflictError, NightwellError, UnreachableError
from nightwell.nbd.client import NbdClient
from nightwell.nbd.faults import RequestError, WireError
from nightwell.nbd.tls import TlsFiles
from nightwell.nbd.wire import ALLOCATION, CHANGED, PAIR, Extent

STALL_S = 30.0
_CONTEXTS = (ALLOCATION, CHANGED, PAIR)
_MOST_IDLE = 4
_PAUSE_S = 0.1
_SILENCE_S = 10.0  # a line that is cut without a word is noticed after this long without an answer

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


def reach(url: str, tls: TlsFiles | None, timeout_s: float) -> NbdClient:
    """Connect to another array; the client's errors are the port's own (UnreachableError, NotFoundError, ...)."""
    return NbdClient.connect(url, contexts=_CONTEXTS, tls=tls if _is_secure(url) else None, timeout_s=timeout_s)


def probe(url: str, tls: TlsFiles | None, *, writable: bool) -> int:
    """Return the size of another array's export in bytes; ConflictError when it may not be written as asked."""
    with reach(url, tls, _SILENCE_S) as client:
        if writable and client.read_only:
            raise ConflictError(
                f"export {url!r}",
                expected="an export that may be written",
                found="a read-only one",
                cause="the other array serves it read-only",
                next_step="export it writable there, or import it read-only",
            )
        return client.size_bytes


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
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def open(self) -> ImportBackend:
        """Return a view for one connection; the other array's answer to a first connection passes through."""
        client = self._borrow(min(_SILENCE_S, self._stall_s))
        contexts = client.contexts
        self._give_back(client)
        return ImportBackend(self, tuple(name for name in _CONTEXTS if name in contexts))

    def call(self, work: Callable[[NbdClient], _Result]) -> _Result:
        """Carry out one request; OSError with the other array's errno, or EIO when the line stays cut."""
        deadline = time.monotonic() + self._stall_s
        while True:
            try:
                return self._attempt(work, deadline)
            except (UnreachableError, WireError) as problem:
                if time.monotonic() + _PAUSE_S >= deadline or self._closed.wait(_PAUSE_S):
                    _log.warning("import %s: %s", self.record.name, problem)
                    raise OSError(errno.EIO, f"the line to {self.record.url} stays cut") from problem

    def _attempt(self, work: Callable[[NbdClient], _Result], deadline: float) -> _Result:
        left_s = max(deadline - time.monotonic(), _PAUSE_S)
        try:
            client = self._borrow(min(_SILENCE_S, left_s))
        except (UnreachableError, WireError):
            raise
        except NightwellError as problem:  # the other array answers, and refuses: waiting does not help
            raise OSError(errno.EIO, str(problem)) from problem
        try:
            result = work(client)
        except RequestError:
            self._give_back(client)
            raise
        except BaseException:
            client.close()
            raise
        self._give_back(client)
        return result

    def _borrow(self, timeout_s: float) -> NbdClient:
        with self._lock:
            if self._closed.is_set():
                raise OSError(errno.ESHUTDOWN, f"import {self.record.name} was released")
            if self._idle:
                return self._idle.pop()
        client = reach(self.record.url, self._tls, timeout_s)
        if client.size_bytes != self.record.size_bytes:
            client.close()
            raise OSError(errno.EIO, f"the size of {self.record.url} has changed to {client.size_bytes} bytes")
        return client

    def _give_back(self, client: NbdClient) -> None:
        with self._lock:
            if not self._closed.is_set() and len(self._idle) < _MOST_IDLE:
                self._idle.append(client)
                return
        client.close()

    def interrupt(self) -> None:
        """Make every request that waits for the line fail now, and none begin."""
        self._closed.set()

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


def _is_secure(url: str) -> bool:
    return url.startswith("nbds")
