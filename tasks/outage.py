"""A Prefect server that is away: what is told to it waits, and the work itself goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import httpx
from prefect.exceptions import PrefectHTTPStatusError

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_PAUSE_S = 0.5

#: How long the server may be away before what it was to be told is given up.
OUTAGE_S = 600.0


def is_outage(error: BaseException) -> bool:
    """Return whether the server did not answer, or could not; not that it refused."""
    if isinstance(error, PrefectHTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx.TransportError)


def outlast(call: Callable[[], T], *, outage_s: float = OUTAGE_S) -> T:
    """Call the server until it answers; what it says, or its error after so long, is returned or raised."""
    until_s = time.monotonic() + outage_s
    while True:
        try:
            return call()
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            if not is_outage(error) or time.monotonic() > until_s:
                raise
            _LOG.warning("The Prefect server is away (%s); trying again.", type(error).__name__)
        time.sleep(_PAUSE_S)
