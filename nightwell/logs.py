"""Structured logs: every line says which run, volume, site and step it belongs to; as text, or as JSON lines.

The library logs with Python's own ``logging`` below the name ``nightwell``, and never decides where it goes: a program
calls :func:`write_logs` once. What a line belongs to is set round the work with :func:`about`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum

#: The logger above all of ours.
ROOT = logging.getLogger("nightwell")

#: What a line may belong to, in the order in which text shows it.
SUBJECTS = ("site", "run", "volume", "step")

_about: ContextVar[Mapping[str, str]] = ContextVar("about")
_NONE: Mapping[str, str] = {}


class LogForm(StrEnum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """From which level on they are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@contextmanager
def about(**subjects: str) -> Iterator[None]:
    """Let every line that is logged in this block say what it belongs to, beside what surrounds it.

    A thread that is started in the block does not inherit it, as it inherits no context variable.
    """
    token = _about.set({**_about.get(_NONE), **subjects})
    try:
        yield
    finally:
        _about.reset(token)


def now_about(**subjects: str) -> None:
    """Change what lines belong to from here to the end of the surrounding :func:`about`; empty text takes it away."""
    _about.set({**_about.get(_NONE), **subjects})


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what a record belongs to, and what it was given beside its words (``extra={"fields": ...}``)."""
    own: Mapping[str, object] = getattr(record, "fields", _NONE)
    found: dict[str, object] = {name: value for name, value in _about.get(_NONE).items() if value}
    return {**found, **own}


class JsonLines(logging.Formatter):
    """One JSON document a line: time, level, logger, message, process, then what :func:`fields_of` returns."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        document: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            **fields_of(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


class TextLines(logging.Formatter):
    """One line for people: time, level, what it belongs to, words."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return f"{_time(record)} {record.levelname.lower()} {in_text(record)}" + (
            f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        )


def in_text(record: logging.LogRecord) -> str:
    """Return a record's words behind what it belongs to."""
    found = fields_of(record)
    subjects = [f"{name}={found[name]}" for name in SUBJECTS if name in found]
    return " ".join([*subjects, record.getMessage()])


class _ToStandardError(logging.Handler):
    """Writes to what standard error is at that moment; a program may redirect it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            self.handleError(record)


def write_logs(form: LogForm, level: LogLevel | None = None) -> None:
    """Write this process's log lines to standard error; calling again replaces what was chosen before.

    Parameters
    ----------
    form
        Text, or JSON lines.
    level
        From which level on. ``None``: ``info`` for JSON. For text, ``warning`` and without the events of runs, which
        whoever drives a run shows better: a terminal, a flow run's page.
    """
    chosen = level or (LogLevel.INFO if form is LogForm.JSON else LogLevel.WARNING)
    handler = _ToStandardError(logging.getLevelNamesMapping()[chosen.upper()])
    handler.setFormatter(JsonLines() if form is LogForm.JSON else TextLines())
    if level is None and form is LogForm.TEXT:
        handler.addFilter(lambda record: "event" not in getattr(record, "fields", _NONE))
    put(handler)


def put(handler: logging.Handler) -> None:
    """Let a handler have our lines, in place of an earlier one of its class; others keep what they have."""
    for standing in [one for one in ROOT.handlers if type(one) is type(handler)]:
        ROOT.removeHandler(standing)
    ROOT.addHandler(handler)
    _let_through()


def take_away(handler: logging.Handler) -> None:
    """Let a handler have our lines no more."""
    ROOT.removeHandler(handler)
    _let_through()


def _let_through() -> None:
    ROOT.setLevel(min((one.level for one in ROOT.handlers), default=logging.NOTSET))


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
