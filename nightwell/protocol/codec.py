"""Events as text: the journal's format, which old releases' journals keep forever.

One JSON object per event: ``v`` (the format's version), ``event`` (its name) and the event's fields by name. A newer
version is refused; a field or a name that this version does not know is refused too, because a run that is only half
understood must not be driven on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any

from nightwell.errors import FormatError
from nightwell.protocol.events import (
    CancelRequested,
    Doubted,
    Event,
    Failed,
    Finished,
    FoundCommitted,
    Opened,
    Problem,
    Reopened,
    Resolved,
    Resumed,
    Started,
    UndoFailed,
    Undone,
    UndoStarted,
)
from nightwell.protocol.facts import Facts
from nightwell.protocol.steps import BackupMode, Mode, RestoreMode, RunKind, Site, Step

VERSION = 1

_NAMES: Mapping[str, type[Event]] = {
    "opened": Opened,
    "resumed": Resumed,
    "started": Started,
    "finished": Finished,
    "failed": Failed,
    "doubted": Doubted,
    "undo_started": UndoStarted,
    "undone": Undone,
    "undo_failed": UndoFailed,
    "found_committed": FoundCommitted,
    "cancel_requested": CancelRequested,
    "reopened": Reopened,
    "resolved": Resolved,
}
_CLASSES: Mapping[type[Event], str] = {kind: name for name, kind in _NAMES.items()}


def encode(event: Event) -> str:
    """Return an event as one line of JSON."""
    plain = {field.name: _plain(getattr(event, field.name)) for field in fields(event)}
    return json.dumps({"v": VERSION, "event": _CLASSES[type(event)], **plain}, sort_keys=True, separators=(",", ":"))


def decode(text: str) -> Event:
    """Return the event that :func:`encode` wrote.

    Raises
    ------
    FormatError
        When the text is of a newer version, or is no event of this one.
    """
    document = _document(text)
    version = document.pop("v", None)
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        raise FormatError(
            "an event in the journal",
            expected=f"format version {VERSION}",
            found=f"version {version!r}",
            cause="a newer release of nightwell wrote it" if newer else "the journal is damaged",
            next_step="drive this run with the release that wrote it" if newer else "restore the journal's database",
        )
    kind: Callable[..., Event] | None = _NAMES.get(str(document.pop("event", None)))
    if kind is None:
        raise _damaged(text, "an event's name")
    try:
        return kind(**{name: _FIELDS[name](value) for name, value in document.items()})
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(text, "the fields of this event, all known and of their types") from error


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _damaged(text, "JSON") from error
    if not isinstance(document, dict):
        raise _damaged(text, "a JSON object")
    return document


def _damaged(text: str, expected: str) -> FormatError:
    return FormatError(
        "an event in the journal",
        expected=expected,
        found=text[:200],
        cause="the journal is damaged, or something else wrote to it",
        next_step="restore the journal's database from its backup",
    )


def _plain(value: object) -> object:
    if isinstance(value, Facts):
        return dict(value)
    if isinstance(value, Problem):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return str(value) if isinstance(value, StrEnum) else value


def _mode(value: str) -> Mode:
    return BackupMode(value) if value in set(BackupMode) else RestoreMode(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a whole number")
    return value


_FIELDS: Mapping[str, Callable[[Any], object]] = {
    "run_id": _text,
    "kind": RunKind,
    "site": Site,
    "volume": _text,
    "mode": _mode,
    "facts": Facts,
    "step": Step,
    "problem": lambda value: Problem(**{name: _text(text) for name, text in value.items()}),
    "version_id": _text,
    "token": _number,
    "owner": _text,
    "reason": _text,
    "by": _text,
    "note": _text,
}
