"""What a mover is asked to do: one job, one JSON line.

A job never holds credentials; they come in the environment (``CREDENTIAL_VARIABLES``), where no log prints them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from nightwell.errors import FormatError, InputError
from nightwell.mover.codec import CodecError, from_json, to_json
from nightwell.store.location import OUTAGE_S

#: The memory a mover may take, whatever the size of the volume. A test measures a real mover against it.
MOVER_MEMORY_BYTES = 512 << 20

ACCESS_KEY_VARIABLE = "NIGHTWELL_MOVER_ACCESS_KEY"
SECRET_KEY_VARIABLE = "NIGHTWELL_MOVER_SECRET_KEY"  # noqa: S105 - the name of the variable, not a secret
SESSION_TOKEN_VARIABLE = "NIGHTWELL_MOVER_SESSION_TOKEN"  # noqa: S105 - as above; only temporary credentials have one
CREDENTIAL_VARIABLES = (ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE, SESSION_TOKEN_VARIABLE)

#: How long an answer of the array is waited for. The array itself waits for line 1, and its error says more.
LINE_TIMEOUT_S = 60.0

_FORMAT = 1


class CopyMode(StrEnum):
    """What the mover finds at the volume's end of the line, and confirms before and after the copy."""

    SPLIT = "split"  # a secondary that stands still
    PAIR = "pair"  # a secondary in step with its primary
    DIRECT = "direct"  # the volume itself


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """Where the mover finds its TLS files, as the virtual server sees them."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where the store is, without who we are."""

    endpoint_url: str
    bucket: str
    prefix: str = ""
    region: str = "us-east-1"
    outage_s: float = OUTAGE_S


@dataclass(frozen=True, slots=True)
class BackupJob:
    """Copy a volume into the store, and wait for leave to commit.

    ``split_id`` names the point in time of what is read; ``previous_split_id`` the point the array's change list counts
    from. ``tells_pair`` is false where the arrays on the road cannot tell the pair's state; then a secondary is trusted
    to stand still because no array resyncs one that it exports. ``block_bytes`` is ``None`` for the parent version's
    block size, or the store's default. ``line_timeout_s`` bounds the wait for an answer of the array.
    """

    run_id: str
    fencing_token: int
    volume: str
    source: str
    url: str
    store: StoreAddress
    mode: CopyMode = CopyMode.SPLIT
    tls: TlsPaths | None = None
    split_at: datetime | None = None
    split_id: str | None = None
    previous_split_id: str | None = None
    tells_pair: bool = True
    block_bytes: int | None = None
    threads: int = 4
    line_timeout_s: float = LINE_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class RestoreJob:
    """Copy a version from the store to a volume; ``verify`` reads the volume back and compares."""

    run_id: str
    volume: str
    version_id: str
    url: str
    store: StoreAddress
    tls: TlsPaths | None = None
    verify: bool = True
    threads: int = 4
    line_timeout_s: float = LINE_TIMEOUT_S


Job = BackupJob | RestoreJob
_KINDS: dict[str, type[BackupJob | RestoreJob]] = {"backup": BackupJob, "restore": RestoreJob}


def mover_command() -> tuple[str, ...]:
    """Return the command line of the mover, for a driver that runs this host's own Python."""
    return (sys.executable, "-m", "nightwell.mover")


def encode_job(job: Job) -> bytes:
    """Return the job as one JSON line."""
    kind = next(name for name, known in _KINDS.items() if isinstance(job, known))
    return json.dumps({"format": _FORMAT, "job": kind, "fields": to_json(job)}).encode() + b"\n"


def decode_job(line: bytes) -> Job:
    """Return the job that a line holds; FormatError for another format, InputError for anything else that is wrong."""
    try:
        document = json.loads(line)
        if not isinstance(document, dict):
            raise CodecError("expected an object")
        if document.get("format") != _FORMAT:
            raise _other_format(document.get("format"))
        kind = _KINDS.get(str(document.get("job")))
        if kind is None:
            raise CodecError(f"expected one of {', '.join(_KINDS)}, found {document.get('job')!r}")
        return from_json(kind, document.get("fields"))
    except ValueError as error:  # JSON's and the codec's own
        raise InputError(
            "the mover's job",
            expected="one JSON line as nightwell.mover.job writes it",
            found=str(error),
            cause="the line was cut, or something other than nightwell started the mover",
            next_step="start movers through a nightwell flow or command",
        ) from error


def _other_format(found: object) -> FormatError:
    return FormatError(
        "the mover's job",
        expected=f"format {_FORMAT}",
        found=f"format {found!r}",
        cause="the virtual server runs another release of nightwell than the site that produced it",
        next_step="install one release on both",
    )
