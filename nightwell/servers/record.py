"""The durable record of one virtual server of the ``process`` driver.

It is written before the program starts, and again once the process is known. It never holds the environment: that is
where the credentials are.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from nightwell.servers.procfs import ProcessIdentity

RECORD_NAME = "record.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """What stands on disk about a server; ``process`` is ``None`` until it is known."""

    server_id: str
    run_id: str
    command: tuple[str, ...]
    process: ProcessIdentity | None = None


def write_record(directory: Path, record: ServerRecord) -> None:
    """Write the record so that a reader finds the old one or the new one, never a part."""
    text = json.dumps({"format": _FORMAT, **asdict(record)}, indent=1)
    temporary = directory / f"{RECORD_NAME}.new"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / RECORD_NAME)


def read_record(directory: Path) -> ServerRecord | None:
    """Return the record; ``None`` when there is none that this release can read."""
    try:
        fields = json.loads((directory / RECORD_NAME).read_text(encoding="utf-8"))
        if fields["format"] != _FORMAT:
            return None
        process = fields["process"]
        return ServerRecord(
            server_id=str(fields["server_id"]),
            run_id=str(fields["run_id"]),
            command=tuple(fields["command"]),
            process=None if process is None else ProcessIdentity(**process),
        )
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
