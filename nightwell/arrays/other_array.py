"""Reaching another array over line 1."""

from __future__ import annotations

from nightwell.errors import ConflictError
from nightwell.nbd.client import NbdClient
from nightwell.nbd.tls import TlsFiles
from nightwell.nbd.wire import ALLOCATION, CHANGED, PAIR

#: What is asked for of every import.
CONTEXTS = (ALLOCATION, CHANGED, PAIR)

#: How long a request to an import waits for a cut line, unless told otherwise.
STALL_S = 30.0

#: A line that is cut without a word is noticed after this long without an answer.
SILENCE_S = 10.0


def reach(url: str, tls: TlsFiles | None, timeout_s: float) -> NbdClient:
    """Connect to another array; the client's errors are the port's own (UnreachableError, NotFoundError, ...)."""
    return NbdClient.connect(url, contexts=CONTEXTS, tls=tls if url.startswith("nbds") else None, timeout_s=timeout_s)


def probe(url: str, tls: TlsFiles | None, *, writable: bool) -> int:
    """Return the size of another array's export in bytes; ConflictError when it may not be written as asked."""
    with reach(url, tls, SILENCE_S) as client:
        if writable and client.read_only:
            raise ConflictError(
                f"export {url!r}",
                expected="an export that may be written",
                found="a read-only one",
                cause="the other array serves it read-only",
                next_step="export it writable there, or import it read-only",
            )
        return client.size_bytes
