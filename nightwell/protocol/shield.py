"""Undoing must not be interrupted: signals that arrive meanwhile are delivered afterwards."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def shielded() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM while the block runs, then raise the last one that came.

    Only the main thread can; in any other the block runs as it is, because signals do not arrive there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = {number: signal.signal(number, lambda got, _frame: arrived.append(got)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # `None` stands for a handler that was not set from Python; it cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if arrived:
            signal.raise_signal(arrived[-1])
