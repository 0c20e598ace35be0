"""Which connections are open, and on which export: so that an export can be withdrawn for good."""

from __future__ import annotations

import threading
from typing import Protocol


class Abortable(Protocol):
    """A connection that any thread can cut."""

    def abort(self) -> None:
        """Cut it; its own thread notices and ends."""
        ...


class ConnectionRegistry:
    """Counts connections per export; thread-safe.

    A connection binds itself to a name *before* it opens that export. So after an export was taken from its table,
    :meth:`disconnect` misses nobody: who is bound is cut and waited for, who binds later finds no export.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._bound: dict[Abortable, str] = {}
        self._open: set[Abortable] = set()

    def add(self, connection: Abortable, limit: int) -> bool:
        """Note a new connection; ``False`` when ``limit`` are open already."""
        with self._changed:
            if len(self._open) >= limit:
                return False
            self._open.add(connection)
            return True

    def remove(self, connection: Abortable) -> None:
        """Forget a connection that has ended."""
        with self._changed:
            self._open.discard(connection)
            self._bound.pop(connection, None)
            self._changed.notify_all()

    def bind(self, connection: Abortable, export: str) -> None:
        """Note that a connection is about to open an export."""
        with self._changed:
            self._bound[connection] = export

    def unbind(self, connection: Abortable) -> None:
        """Note that a connection has closed its export: none of its requests is in flight any more."""
        with self._changed:
            self._bound.pop(connection, None)
            self._changed.notify_all()

    def count(self, export: str) -> int:
        """Return how many connections hold an export open."""
        with self._changed:
            return sum(1 for name in self._bound.values() if name == export)

    def disconnect(self, export: str) -> None:
        """Cut the connections of an export and wait until none of their requests is in flight."""
        with self._changed:
            victims = {connection for connection, name in self._bound.items() if name == export}
            for connection in victims:
                connection.abort()
            self._changed.wait_for(lambda: not any(self._bound.get(victim) == export for victim in victims))

    def disconnect_all(self) -> None:
        """Cut every connection and wait until all have ended."""
        with self._changed:
            for connection in self._open:
                connection.abort()
            self._changed.wait_for(lambda: not self._open)
