"""Errors of the NBD client, and the road of ``errno`` over the wire in both directions."""

from __future__ import annotations

import errno
import os

from nightwell.errors import NightwellError, UnreachableError

_WIRE_ERRNOS = frozenset(
    {errno.EPERM, errno.EIO, errno.ENOMEM, errno.EINVAL, errno.ENOSPC, errno.EOVERFLOW, errno.ENOTSUP, errno.ESHUTDOWN}
)
_TRANSLATED_ERRNOS = {
    errno.EACCES: errno.EPERM,
    errno.EROFS: errno.EPERM,
    errno.EDQUOT: errno.ENOSPC,
    errno.EFBIG: errno.ENOSPC,
}


class WireError(NightwellError):
    """The server sent what the NBD protocol does not allow; the connection is closed."""


class RequestError(NightwellError, OSError):
    """The server answered a request with an error, or the request cannot be served by this export.

    It is an :class:`OSError` too: ``errno`` carries the server's number, so a backend that forwards requests can let
    it pass through. The connection stays usable.

    Parameters
    ----------
    number
        The ``errno``.
    subject, expected, found, cause, next_step
        As for every :class:`~nightwell.errors.NightwellError`.
    """

    def __init__(self, subject: str, *, number: int, expected: str, found: str, cause: str, next_step: str) -> None:
        super().__init__(subject, expected=expected, found=found, cause=cause, next_step=next_step)
        self.errno = number
        self.strerror = os.strerror(number)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.errno, self.as_dict()))


def _rebuild(number: int, fields: dict[str, str]) -> RequestError:
    return RequestError(
        fields["subject"],
        number=number,
        expected=fields["expected"],
        found=fields["found"],
        cause=fields["cause"],
        next_step=fields["next_step"],
    )


def answered(subject: str, action: str, number: int, message: str) -> RequestError:
    """Return the error for a request that the server refused with ``number`` and its own ``message``."""
    name = errno.errorcode.get(number, str(number))
    return RequestError(
        subject,
        number=number,
        expected=f"{action} to succeed",
        found=f"{name} ({message or os.strerror(number)})",
        cause=_CAUSES.get(number, "the array that serves the export met an error of its own"),
        next_step=_NEXT_STEPS.get(number, "look at the serving array's log, then try again"),
    )


_CAUSES = {
    errno.EPERM: "the export is read-only",
    errno.ENOSPC: "the file system under the serving array is full",
    errno.EINVAL: "the request reaches beyond the export's end or is not aligned to its blocks",
    errno.ENOTSUP: "the server does not know this kind of request",
    errno.ESHUTDOWN: "the serving array is being stopped",
}
_NEXT_STEPS = {
    errno.EPERM: "export the volume writable, or write somewhere else",
    errno.ENOSPC: "free space at the serving array, then try again",
    errno.EINVAL: "compare the size of the volume with what was asked",
}


def violated(subject: str, expected: str, found: str) -> WireError:
    """Return the error for a server that breaks the protocol."""
    return WireError(
        subject,
        expected=expected,
        found=found,
        cause="the program at this address is not an NBD server, or it has a defect",
        next_step="check the address in the URL, and the version of the server",
    )


def unreachable(subject: str, expected: str, found: str) -> UnreachableError:
    """Return the error for a server that does not answer, or answers no more."""
    return UnreachableError(
        subject,
        expected=expected,
        found=found,
        cause="the serving array is down, restarting, or cut off from here",
        next_step="check that the array runs and that the line to it is up, then try again",
    )


def wire_errno(error: BaseException) -> int:
    """Return the number that tells a client of ``error``: one of the few that the protocol knows, else EIO."""
    number = error.errno if isinstance(error, OSError) and error.errno is not None else errno.EIO
    number = _TRANSLATED_ERRNOS.get(number, number)
    return number if number in _WIRE_ERRNOS else errno.EIO


def summary(error: NightwellError) -> str:
    """Return an error in few words, for the other side, which adds its own cause and next step."""
    return f"{error.subject}: {error.found}"
