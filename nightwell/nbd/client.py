"""The NBD client: synchronous, one connection, one thread at a time."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from nightwell.errors import NotFoundError
from nightwell.nbd.connecting import negotiating
from nightwell.nbd.extents import merged
from nightwell.nbd.faults import RequestError, answered, unreachable, violated
from nightwell.nbd.negotiation import Terms
from nightwell.nbd.replies import Pending, ReplyReader
from nightwell.nbd.stream import Stream, StreamError
from nightwell.nbd.tls import TlsFiles
from nightwell.nbd.url import ExportUrl, parse_url
from nightwell.nbd.wire import Command, CommandFlag, ExportFlag, Extent, MalformedError, Request

__all__ = ["NbdClient", "list_exports"]

_WINDOW = 8
_STATUS_STEP_BYTES = 2 << 30
_ZERO_STEP_BYTES = 256 << 20
_ZEROES = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class _Job:
    """One request to send."""

    command: Command
    offset_bytes: int
    length_bytes: int
    flags: CommandFlag = CommandFlag.NONE
    payload: memoryview | None = None
    view: memoryview | None = None


class NbdClient:
    """An opened export of an NBD server. Not thread-safe: open one per thread.

    Errors: :class:`~nightwell.nbd.faults.RequestError` (an OSError with ``errno``) when the server refuses a request,
    after which the client stays usable; :class:`~nightwell.errors.UnreachableError` when the line is cut or an answer
    takes longer than the timeout, and :class:`~nightwell.nbd.faults.WireError` when the server breaks the protocol,
    after both of which every call raises UnreachableError.

    Make one with :meth:`connect`.
    """

    def __init__(self, stream: Stream, url: ExportUrl, terms: Terms) -> None:
        self._stream = stream
        self._replies = ReplyReader(stream)
        self._terms = terms
        self._subject = f"NBD export {str(url)!r}"
        self._cookie = 0
        self._broken: str | None = None
        self.size_bytes = terms.size_bytes
        self.read_only = bool(terms.flags & ExportFlag.READ_ONLY)
        self.multi_connection = bool(terms.flags & ExportFlag.CAN_MULTI_CONN)
        self.contexts = frozenset(terms.contexts.values())

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        contexts: Sequence[str] = (),
        tls: TlsFiles | None = None,
        timeout_s: float = 30.0,
    ) -> NbdClient:
        """Open an export.

        Parameters
        ----------
        url
            ``nbd://host:port/export``, ``nbds://...`` (TLS) or ``nbd+unix:///export?socket=/path``.
        contexts
            Metadata contexts to ask for; the granted ones are in :attr:`contexts`.
        tls
            When given, TLS is used and both sides are verified, whatever the URL's scheme; ``nbds`` demands it.
        timeout_s
            Longest wait for an answer without any progress, in seconds.

        Raises
        ------
        InputError
            The URL or the TLS files cannot be used.
        UnreachableError
            Nobody answers there, or not in time.
        NotFoundError
            The server has no such export.
        ConflictError
            The export's state forbids serving it now.
        CredentialsError
            TLS is missing on one side, or one side does not trust the other.
        WireError
            Whoever answers does not speak NBD.
        """
        parsed = parse_url(url)
        with negotiating(parsed, tls, timeout_s) as (negotiation, stream):
            terms = negotiation.open(contexts)
        return cls(stream, parsed, terms)

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Return a piece of the export; :meth:`read_into` spares the copy."""
        self._check_range(offset_bytes, length_bytes)
        buffer = bytearray(length_bytes)
        self.read_into(offset_bytes, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset_bytes: int, view: memoryview) -> None:
        """Fill ``view`` (contiguous, any item type) from the export, in as many requests as it takes."""
        target = view.cast("B")
        self._check_range(offset_bytes, len(target))
        self._run(
            f"reading {len(target)} bytes at {offset_bytes}",
            (
                _Job(Command.READ, offset_bytes + start, count, view=target[start : start + count])
                for start, count in _pieces(len(target), self._terms.maximum_block_bytes)
            ),
        )

    def write(self, offset_bytes: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """Write ``data``; with ``fua`` it is durable on return."""
        source = memoryview(data).cast("B")
        self._check_change(offset_bytes, len(source))
        flags = self._fua(fua)
        self._run(
            f"writing {len(source)} bytes at {offset_bytes}",
            (
                _Job(Command.WRITE, offset_bytes + start, count, flags, payload=source[start : start + count])
                for start, count in _pieces(len(source), self._terms.maximum_block_bytes)
            ),
        )
        if fua and not flags:
            self.flush()

    def zero(self, offset_bytes: int, length_bytes: int, *, may_punch: bool = True) -> None:
        """Make a range read as zero; ``may_punch`` lets the server give its space back."""
        self._check_change(offset_bytes, length_bytes)
        if not self._terms.flags & ExportFlag.SEND_WRITE_ZEROES:
            for start, count in _pieces(length_bytes, len(_ZEROES)):
                self.write(offset_bytes + start, memoryview(_ZEROES)[:count])
            return
        flags = CommandFlag.NONE if may_punch else CommandFlag.NO_HOLE
        self._run(
            f"zeroing {length_bytes} bytes at {offset_bytes}",
            (
                _Job(Command.WRITE_ZEROES, offset_bytes + start, count, flags)
                for start, count in _pieces(length_bytes, _ZERO_STEP_BYTES)
            ),
        )

    def trim(self, offset_bytes: int, length_bytes: int) -> None:
        """Tell the server that a range is not needed; what it reads as afterwards is open."""
        self._check_change(offset_bytes, length_bytes)
        if not self._terms.flags & ExportFlag.SEND_TRIM:
            return
        self._run(
            f"trimming {length_bytes} bytes at {offset_bytes}",
            (
                _Job(Command.TRIM, offset_bytes + start, count)
                for start, count in _pieces(length_bytes, _ZERO_STEP_BYTES)
            ),
        )

    def flush(self) -> None:
        """Return when everything written before is durable."""
        if self._terms.flags & ExportFlag.SEND_FLUSH:
            self._run("flushing", [_Job(Command.FLUSH, 0, 0)])

    def extents(self, context: str, offset_bytes: int = 0, length_bytes: int | None = None) -> Iterator[Extent]:
        """Yield the status of a range in one context: in order, without gaps, neighbours of equal flags merged.

        Parameters
        ----------
        context
            One of :attr:`contexts`; NotFoundError otherwise.
        offset_bytes, length_bytes
            The range; by default from the offset to the export's end.
        """
        number = next((number for number, name in self._terms.contexts.items() if name == context), None)
        if number is None:
            raise self._context_missing(context)
        if length_bytes is None:
            length_bytes = max(self.size_bytes - offset_bytes, 0)
        self._check_range(offset_bytes, length_bytes)
        return merged(self._walk(number, offset_bytes, offset_bytes + length_bytes))

    def abort(self) -> None:
        """Cut the connection from any thread; a request that waits for its answer raises UnreachableError."""
        self._stream.abort()

    def close(self) -> None:
        """Take leave of the server and close the connection; may be called again."""
        if self._broken is None:
            with suppress(StreamError):
                self._stream.send(Request(Command.DISC, 0, 0, 0, 0).pack())
        self._give_up("the client was closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _walk(self, number: int, position: int, end: int) -> Iterator[Extent]:
        while position < end:
            length_bytes = min(end - position, _STATUS_STEP_BYTES)
            (request,) = self._run(
                f"asking for the status of {length_bytes} bytes at {position}",
                [_Job(Command.BLOCK_STATUS, position, length_bytes)],
            )
            if number not in request.descriptors:
                self._give_up("the server left out a context")
                raise violated(self._subject, "a status in each agreed context", f"contexts {set(request.descriptors)}")
            for extent_bytes, flags in request.descriptors[number]:
                taken = min(extent_bytes, end - position)  # the last extent may reach beyond what was asked
                if taken:
                    yield Extent(position, taken, flags)
                position += taken

    def _run(self, action: str, jobs: Iterable[_Job]) -> list[Pending]:
        """Send the jobs, several at a time, and return them completed; the first refusal is raised at the end."""
        if self._broken is not None:
            raise unreachable(self._subject, "an open connection", self._broken)
        pending: dict[int, Pending] = {}
        completed: list[Pending] = []
        refused: Pending | None = None
        with self._guard():
            for job in jobs:
                if len(pending) >= _WINDOW:
                    completed.append(self._replies.complete_one(pending))
                    refused = refused or _refused(completed[-1])
                if refused is not None:
                    break
                self._send(job, pending)
            while pending:
                completed.append(self._replies.complete_one(pending))
                refused = refused or _refused(completed[-1])
        if refused is not None and refused.error is not None:
            raise answered(self._subject, action, *refused.error)
        return completed

    def _send(self, job: _Job, pending: dict[int, Pending]) -> None:
        self._cookie += 1
        pending[self._cookie] = Pending(job.command, job.offset_bytes, job.length_bytes, job.view)
        header = Request(job.command, job.flags, self._cookie, job.offset_bytes, job.length_bytes).pack()
        if job.payload is None:
            self._stream.send(header)
        else:
            self._stream.send(header, job.payload)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Give the connection up when anything interrupts a conversation: the next reply would be another's."""
        try:
            yield
        except StreamError as error:
            self._give_up(str(error))
            raise unreachable(self._subject, "an answer to a request", str(error)) from error
        except MalformedError as error:
            self._give_up(str(error))
            raise violated(self._subject, "replies to the requests that were sent", str(error)) from error
        except BaseException:
            self._give_up("a request was interrupted")
            raise

    def _give_up(self, reason: str) -> None:
        if self._broken is None:
            self._broken = reason
            self._stream.abort()
            self._stream.close()

    def _fua(self, wanted: bool) -> CommandFlag:  # noqa: FBT001 - private, handed on from a keyword
        return CommandFlag.FUA if wanted and self._terms.flags & ExportFlag.SEND_FUA else CommandFlag.NONE

    def _check_change(self, offset_bytes: int, length_bytes: int) -> None:
        if self.read_only:
            raise answered(self._subject, "a change", errno.EPERM, "the export is read-only")
        self._check_range(offset_bytes, length_bytes)

    def _check_range(self, offset_bytes: int, length_bytes: int) -> None:
        if offset_bytes >= 0 and 0 <= length_bytes <= self.size_bytes - offset_bytes:
            return
        raise RequestError(
            self._subject,
            number=errno.EINVAL,
            expected=f"a range inside the export's {self.size_bytes} bytes",
            found=f"{length_bytes} bytes at {offset_bytes}",
            cause="the volume is smaller than the caller believes",
            next_step="compare the size of the volume with what was asked",
        )

    def _context_missing(self, context: str) -> NotFoundError:
        return NotFoundError(
            self._subject,
            expected=f"the metadata context {context!r}",
            found=f"granted: {', '.join(sorted(self.contexts)) or 'none'}",
            cause="the serving array does not know it for this export, or the client did not ask for it",
            next_step="ask for it when connecting, or do without it",
        )


def list_exports(url: str, tls: TlsFiles | None = None, *, timeout_s: float = 30.0) -> tuple[str, ...]:
    """Return the names of a server's exports; the URL's own export does not matter.

    Raises
    ------
    InputError, UnreachableError, CredentialsError, ConflictError, WireError
        As for :meth:`NbdClient.connect`; ConflictError when the server does not list.
    """
    parsed = parse_url(url)
    with negotiating(parsed, tls, timeout_s) as (negotiation, stream):
        names = negotiation.list_exports()
        negotiation.leave()
    stream.close()
    return names


def _pieces(length_bytes: int, step_bytes: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length_bytes, step_bytes):
        yield start, min(step_bytes, length_bytes - start)


def _refused(request: Pending) -> Pending | None:
    return request if request.error is not None else None
