"""What a mover tells while it works: one event, one JSON line.

A backup tells ``progress`` ..., ``copied``, and after the leave to commit ``committed``. A restore tells ``progress``
..., ``written``, ``progress`` ..., ``verified`` (when asked to), ``done``. Either may end with ``failed`` instead, and
tells ``logged`` wherever it has something to say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from nightwell.errors import FormatError, NightwellError, from_dict
from nightwell.mover.codec import CodecError, from_json, to_json
from nightwell.store.versions import BlockStatistics, Version


class Phase(StrEnum):
    """Which of the two passes a progress counts."""

    COPY = "copy"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Progressed:
    """So many bytes of the volume have been looked at; sent at most four times a second."""

    phase: Phase
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Copied:
    """All blocks are in the store; the mover waits for leave to commit."""

    statistics: BlockStatistics
    point_in_time: bool


@dataclass(frozen=True, slots=True)
class Committed:
    """The version exists."""

    version: Version


@dataclass(frozen=True, slots=True)
class Written:
    """All of the version is on the target, and flushed: data, and zeros for the rest."""

    bytes_written: int
    bytes_zeroed: int


@dataclass(frozen=True, slots=True)
class Verified:
    """The target has been read back, and equals the version."""

    bytes_compared: int


@dataclass(frozen=True, slots=True)
class Done:
    """The restore has ended well."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A line of the mover's log: what is only on the virtual server's disk is deleted with it."""

    level: str
    logger: str
    message: str


@dataclass(frozen=True, slots=True)
class ErrorFields:
    """A :class:`~nightwell.errors.NightwellError` on its way between two processes."""

    error: str
    subject: str
    expected: str
    found: str
    cause: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The mover gives up; nothing was committed unless the error is UnknownOutcomeError."""

    error: ErrorFields


Event = Progressed | Copied | Committed | Written | Verified | Done | Logged | Failed
_KINDS: dict[str, type[Event]] = {
    "progress": Progressed,
    "copied": Copied,
    "committed": Committed,
    "written": Written,
    "verified": Verified,
    "done": Done,
    "logged": Logged,
    "failed": Failed,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode_event(event: Event) -> bytes:
    """Return the event as one JSON line."""
    return json.dumps({"event": _NAMES[type(event)], **to_json(event)}).encode() + b"\n"


def decode_event(line: bytes) -> Event:
    """Return the event that a line holds; FormatError when it holds none."""
    try:
        document = json.loads(line)
        if not isinstance(document, dict) or document.get("event") not in _KINDS:
            raise CodecError("no known event")
        return from_json(_KINDS[document.pop("event")], document)
    except ValueError as error:  # JSON's and the codec's own
        raise FormatError(
            "an event of the mover",
            expected="one JSON line as nightwell.mover.events writes it",
            found=f"{error}: {line[:200]!r}",
            cause="the virtual server runs another release of nightwell, or something else wrote to its output",
            next_step="install one release on both",
        ) from error


def failed(error: NightwellError) -> Failed:
    """Return the event that carries this error."""
    return Failed(ErrorFields(**error.as_dict()))


def error_of(event: Failed) -> NightwellError:
    """Return the error that an event carries."""
    return from_dict(to_json(event.error))
