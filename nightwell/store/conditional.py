"""Proof that a server's conditional writes hold when several clients write at once.

A version is committed by one conditional write; on a server that lets two of them win, a backup could vanish behind
another. Some servers accept the header and ignore it, so the only proof is to try.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from nightwell.errors import SettingsError
from nightwell.store.objects import Objects

_WRITERS = 4


def check_conditional_writes(objects: Objects) -> None:
    """Race creations and replacements of one object against each other; leaves nothing behind.

    Raises
    ------
    SettingsError
        Another number than one of the writers won.
    """
    key = f"probe/{uuid4().hex}"
    try:
        created = _race(lambda writer: objects.put_new(key, b"%d" % writer))
        _expect_one(objects, "create it only if it is absent", created)
        tag = objects.entity_tag(key)
        replaced = _race(lambda writer: objects.replace(key, b"again %d" % writer, tag=tag))
        _expect_one(objects, "replace it only if it is unchanged", replaced)
    finally:
        objects.delete(key)


def _race(write: Callable[[int], bool]) -> int:
    """Return how many of the writers, all let go at once, were told that they had written."""
    barrier = threading.Barrier(_WRITERS)

    def go(writer: int) -> bool:
        barrier.wait()
        return write(writer)

    with ThreadPoolExecutor(_WRITERS) as pool:
        return sum(pool.map(go, range(_WRITERS)))


def _expect_one(objects: Objects, wish: str, winners: int) -> None:
    if winners != 1:
        raise SettingsError(
            str(objects.location),
            expected=f"one winner when {_WRITERS} writers of one object ask to {wish}",
            found=f"{winners} winners",
            cause="the server ignores conditional writes, or lets them race",
            next_step="use a server whose conditional writes hold; 'nightwell validate store' repeats this check",
        )
