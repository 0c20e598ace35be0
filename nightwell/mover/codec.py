"""Frozen dataclasses as JSON, strictly: nothing missing, nothing unknown, every value of its declared type.

Both ends of the mover's pipes are ours, but not always of one release, and what stands between them is a boundary:
a document that is not exactly what was declared is refused, never guessed at.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_JSON_TYPES = (str, int, float, bool, types.NoneType)


class CodecError(ValueError):
    """A document does not fit its declaration; the caller says in which conversation."""


def to_json(value: object) -> Any:
    """Return a dataclass (or a value in one) as what :mod:`json` can write."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if isinstance(value, _JSON_TYPES):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def from_json(kind: type[T], document: object, *, where: str = "") -> T:
    """Return the dataclass that this document stands for; :class:`CodecError` says where it does not fit."""
    where = where or kind.__name__
    if not isinstance(document, Mapping):
        raise CodecError(f"{where}: expected an object, found {type(document).__name__}")
    declared = typing.get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # only dataclasses come here
    if missing := [name for name in names if name not in document]:
        raise CodecError(f"{where}: {', '.join(missing)} missing")
    if unknown := [name for name in document if name not in names]:
        raise CodecError(f"{where}: {', '.join(map(repr, unknown))} unknown")
    return kind(**{name: _value(declared[name], document[name], f"{where}.{name}") for name in names})


def _value(kind: Any, found: object, where: str) -> object:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _optional(kind, found, where)
    if origin is tuple:
        return _tuple(kind, found, where)
    if is_dataclass(kind):
        return from_json(typing.cast("type[object]", kind), found, where=where)
    if kind is float and type(found) in (int, float):
        return float(typing.cast("float", found))
    if kind in _JSON_TYPES and type(found) is kind:  # exact: True is no int here
        return found
    if isinstance(found, str) and (kind in (datetime, Path) or issubclass(kind, Enum)):
        return _from_text(kind, found, where)
    raise CodecError(f"{where}: expected {getattr(kind, '__name__', kind)}, found {found!r}")


def _optional(kind: Any, found: object, where: str) -> object:
    if found is None and types.NoneType in typing.get_args(kind):
        return None
    some = [option for option in typing.get_args(kind) if option is not types.NoneType]
    if found is None or len(some) != 1:
        raise CodecError(f"{where}: expected {kind}, found {found!r}")
    return _value(some[0], found, where)


def _tuple(kind: Any, found: object, where: str) -> tuple[object, ...]:
    item, _ = typing.get_args(kind)  # tuple[item, ...] is the only form in use
    if not isinstance(found, list):
        raise CodecError(f"{where}: expected a list, found {found!r}")
    return tuple(_value(item, value, f"{where}[{index}]") for index, value in enumerate(found))


def _from_text(kind: Any, found: str, where: str) -> object:
    try:
        value = datetime.fromisoformat(found) if kind is datetime else kind(found)
    except ValueError as error:
        raise CodecError(f"{where}: {error}") from error
    if isinstance(value, datetime) and value.tzinfo is None:
        raise CodecError(f"{where}: {found!r} has no time zone")
    return value
