"""Reaching an NBD server: the socket, the greeting, TLS, and typed errors for all that fails on the way."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from nightwell.errors import CredentialsError, InputError
from nightwell.nbd.faults import unreachable
from nightwell.nbd.negotiation import Negotiation
from nightwell.nbd.stream import Stream, StreamEndError, StreamError, StreamTlsError, StreamTlsExpiredError
from nightwell.nbd.tls import TlsFiles, client_context
from nightwell.nbd.url import ExportUrl


@contextmanager
def negotiating(url: ExportUrl, tls: TlsFiles | None, timeout_s: float) -> Iterator[tuple[Negotiation, Stream]]:
    """Connect, greet, and put TLS on when ``tls`` is given.

    The stream stays open after the block, and is closed when the block raises; its stream errors come out typed.
    """
    subject = f"NBD export {str(url)!r}"
    if url.secure and tls is None:
        raise _tls_missing(subject)
    context = client_context(tls) if tls is not None else None
    try:
        stream = Stream(_dial(url, timeout_s), timeout_s=timeout_s, unacknowledged_s=timeout_s)
    except OSError as error:
        raise unreachable(subject, "an NBD server that answers", error.strerror or str(error)) from error
    try:
        negotiation = Negotiation(stream, url)
        negotiation.greet()
        if context is not None:
            negotiation.start_tls(context)
        yield negotiation, stream
    except StreamTlsExpiredError as error:
        stream.close()
        raise _expired(subject, str(error)) from error
    except StreamTlsError as error:
        stream.close()
        raise _untrusted(subject, str(error)) from error
    except StreamEndError as error:
        stream.close()
        if stream.secure:  # with TLS 1.3 a server refuses a client's certificate after the client's own handshake
            raise _untrusted(subject, str(error)) from error
        raise unreachable(subject, "an answer while opening the export", str(error)) from error
    except StreamError as error:
        stream.close()
        raise unreachable(subject, "an answer while opening the export", str(error)) from error
    except BaseException:
        stream.close()
        raise


def _dial(url: ExportUrl, timeout_s: float) -> socket.socket:
    if url.socket_path is None:
        return socket.create_connection((url.host, url.port), timeout=timeout_s)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout_s)
        sock.connect(os.fsencode(url.socket_path))
    except BaseException:
        sock.close()
        raise
    return sock


def _tls_missing(subject: str) -> InputError:
    return InputError(
        subject,
        expected="TLS files for an nbds:// address",
        found="none",
        cause="the TLS paths are not set",
        next_step="set the paths of CA, certificate and key",
    )


def _untrusted(subject: str, found: str) -> CredentialsError:
    return CredentialsError(
        subject,
        expected="both sides to trust each other's certificate",
        found=found,
        cause="a certificate of another CA, one that has expired, or one that names another host",
        next_step="check the TLS files of both sides: one CA, valid dates, the host name in the server's certificate",
    )


def _expired(subject: str, found: str) -> CredentialsError:
    return CredentialsError(
        subject,
        expected="a certificate of the other side that is valid now",
        found=found,
        cause="the certificate of the array that serves the export, or of its CA, has expired",
        next_step="make a new certificate for that array and start it again with it; compare both hosts' clocks",
    )
