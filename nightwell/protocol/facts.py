"""Facts: what a run has learnt, as plain values that survive a crash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

FactValue = str | int | bool | None


class Facts(Mapping[str, FactValue]):
    """A frozen mapping of names to plain values.

    An effect is handed the facts of its run and returns new ones; the driver journals those with the outcome. Names
    of facts that the tables themselves read stand in :mod:`nightwell.protocol.tables`.

    Parameters
    ----------
    values
        The facts. A value other than ``str``, ``int``, ``bool`` and ``None`` is a :class:`TypeError`: what cannot be
        journaled must not steer a run.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, FactValue] | None = None, /, **named: FactValue) -> None:
        merged = {**(values or {}), **named}
        for name, value in merged.items():
            if not isinstance(name, str) or not isinstance(value, FactValue):
                raise TypeError(f"fact {name!r} is a {type(value).__name__}; facts are str, int, bool or None")
        self._values = MappingProxyType(merged)

    def __getitem__(self, name: str) -> FactValue:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts) and dict(self._values) == dict(other._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Facts({dict(self._values)!r})"

    def __reduce__(self) -> tuple[type[Facts], tuple[dict[str, FactValue]]]:
        # A mapping proxy does not pickle, and an effect may be handed to another process.
        return (Facts, (dict(self._values),))

    def with_(self, more: Mapping[str, FactValue]) -> Facts:
        """Return these facts with ``more`` laid over them."""
        return Facts({**self._values, **more}) if more else self

    def text(self, name: str) -> str:
        """Return a fact that is text; :class:`KeyError` when it is missing, :class:`TypeError` when it is not text."""
        value = self._values[name]
        if not isinstance(value, str):
            raise TypeError(f"fact {name!r} is {value!r}, not text")
        return value

    def flag(self, name: str) -> bool:
        """Return a fact that is true or false; a missing one is false, any other type a :class:`TypeError`."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise TypeError(f"fact {name!r} is {value!r}, neither true nor false")
        return value

    def number(self, name: str) -> int:
        """Return a fact that is a whole number; :class:`KeyError` when missing, :class:`TypeError` otherwise."""
        value = self._values[name]
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"fact {name!r} is {value!r}, not a whole number")
        return value


NO_FACTS = Facts()
