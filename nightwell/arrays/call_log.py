"""What an array logs: one line for each call that changes something, with the run that asked and the volume."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from nightwell.arrays.control import CAPABILITIES, EXPORTS, PAIR_OF, VOLUMES, Request
from nightwell.errors import NightwellError
from nightwell.logs import about

_log = logging.getLogger(__name__)

#: Calls that only look, some of them several times a second while a pair copies.
_LOOKS = frozenset(call.name for call in (CAPABILITIES, VOLUMES, PAIR_OF, EXPORTS))


@contextmanager
def logging_call(array: str, request: Request) -> Iterator[None]:
    """Log a call of the control socket with its seconds, and why it was refused; what it logs itself belongs to it."""
    began_s = time.monotonic()
    with about(array=array, call=request.call, **_subjects(request)):
        try:
            yield
        except NightwellError as problem:
            words = "%s refused: %s: found %s"
            fields = {**_seconds(began_s), "error": problem.as_dict()}
            _log.warning(words, request.call, problem.subject, problem.found, extra={"fields": fields})
            raise
        level = logging.DEBUG if request.call in _LOOKS else logging.INFO
        _log.log(level, "%s done", request.call, extra={"fields": _seconds(began_s)})


def _subjects(request: Request) -> dict[str, str]:
    """Return run and volume as far as the call names them; the names of exports and imports are no volumes."""
    given = request.arguments
    found = {
        "run": given.get("owner"),
        "volume": given.get("volume") or given.get("primary"),
        "name": given.get("name"),
    }
    primaries = given.get("primaries")
    if isinstance(primaries, list):
        found["volume"] = ", ".join(map(str, primaries))
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _seconds(began_s: float) -> dict[str, object]:
    return {"seconds": round(time.monotonic() - began_s, 3)}
