"""The control protocol: JSON lines over a Unix socket.

The server greets first: ``{"nightwell_array": 1, "name": ...}``. Then comes one request per line,
``{"call": "split", "arguments": {"primaries": ["p"]}}``, and one answer per request: ``{"result": ...}`` or
``{"error": {...}}`` with the five fields of a :class:`~nightwell.errors.NightwellError`. The calls are the port's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic_core import to_json

from nightwell.arrays.port import Array, Capabilities, Export, PairInfo, VolumeInfo

PROTOCOL = 1
LONGEST_LINE_BYTES = 1 << 20
_LONGEST_SOCKET_PATH_BYTES = 107

_Size = Annotated[int, Field(ge=0, lt=1 << 63)]


@dataclass(frozen=True, slots=True)
class _Arguments:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class NoArguments(_Arguments):
    """Of a call that takes none."""


@dataclass(frozen=True, slots=True)
class VolumeName(_Arguments):
    """Of ``pair_of`` and ``resync``."""

    volume: str


@dataclass(frozen=True, slots=True)
class Owned(_Arguments):
    """Of every call that removes something."""

    name: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class CreateVolume(_Arguments):
    """Of ``create_volume``."""

    name: str
    size_bytes: _Size
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class GrowVolume(_Arguments):
    """Of ``grow_volume``."""

    name: str
    size_bytes: _Size


@dataclass(frozen=True, slots=True)
class CreatePair(_Arguments):
    """Of ``create_pair``."""

    primary: str
    secondary: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Split(_Arguments):
    """Of ``split``."""

    primaries: list[str]


@dataclass(frozen=True, slots=True)
class ServeVolume(_Arguments):
    """Of ``export``."""

    volume: str
    writable: bool
    name: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class ImportVolume(_Arguments):
    """Of ``import_volume``."""

    url: str
    name: str
    writable: bool
    owner: str | None = None


A = TypeVar("A")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Call(Generic[A, R]):
    """One call: its name on the wire, what goes in and comes out, and how the array carries it out."""

    name: str
    arguments: TypeAdapter[A]
    result: TypeAdapter[R]
    run: Callable[[Array, A], R]

    def serve(self, array: Array, arguments: object) -> object:
        """Carry the call out with arguments as they came over the wire; return what goes back.

        Raises
        ------
        ValidationError
            The arguments are not this call's.
        NightwellError
            The array refused.
        """
        # By way of JSON, whose strict rules take an object for a dataclass, but never "1" for 1.
        result = self.run(array, self.arguments.validate_json(to_json(arguments)))
        return self.result.dump_python(result, mode="json")


CAPABILITIES = Call(
    "capabilities", TypeAdapter(NoArguments), TypeAdapter(Capabilities), lambda array, _: array.capabilities
)
VOLUMES = Call(
    "volumes", TypeAdapter(NoArguments), TypeAdapter(tuple[VolumeInfo, ...]), lambda array, _: array.volumes()
)
CREATE_VOLUME = Call(
    "create_volume",
    TypeAdapter(CreateVolume),
    TypeAdapter(VolumeInfo),
    lambda array, asked: array.create_volume(asked.name, asked.size_bytes, owner=asked.owner),
)
GROW_VOLUME = Call(
    "grow_volume",
    TypeAdapter(GrowVolume),
    TypeAdapter(VolumeInfo),
    lambda array, asked: array.grow_volume(asked.name, asked.size_bytes),
)
DELETE_VOLUME = Call(
    "delete_volume",
    TypeAdapter(Owned),
    TypeAdapter(None),
    lambda array, asked: array.delete_volume(asked.name, owner=asked.owner),
)
PAIR_OF = Call(
    "pair_of",
    TypeAdapter(VolumeName),
    TypeAdapter[PairInfo | None](PairInfo | None),
    lambda array, asked: array.pair_of(asked.volume),
)
CREATE_PAIR = Call(
    "create_pair",
    TypeAdapter(CreatePair),
    TypeAdapter(PairInfo),
    lambda array, asked: array.create_pair(asked.primary, asked.secondary, owner=asked.owner),
)
SPLIT = Call(
    "split", TypeAdapter(Split), TypeAdapter(tuple[PairInfo, ...]), lambda array, asked: array.split(asked.primaries)
)
RESYNC = Call("resync", TypeAdapter(VolumeName), TypeAdapter(PairInfo), lambda array, asked: array.resync(asked.volume))
DELETE_PAIR = Call(
    "delete_pair",
    TypeAdapter(Owned),
    TypeAdapter(None),
    lambda array, asked: array.delete_pair(asked.name, owner=asked.owner),
)
EXPORTS = Call("exports", TypeAdapter(NoArguments), TypeAdapter(tuple[Export, ...]), lambda array, _: array.exports())
EXPORT = Call(
    "export",
    TypeAdapter(ServeVolume),
    TypeAdapter(Export),
    lambda array, asked: array.export(asked.volume, name=asked.name, writable=asked.writable, owner=asked.owner),
)
WITHDRAW = Call(
    "withdraw",
    TypeAdapter(Owned),
    TypeAdapter(None),
    lambda array, asked: array.withdraw(asked.name, owner=asked.owner),
)
IMPORT_VOLUME = Call(
    "import_volume",
    TypeAdapter(ImportVolume),
    TypeAdapter(Export),
    lambda array, asked: array.import_volume(asked.url, name=asked.name, writable=asked.writable, owner=asked.owner),
)
RELEASE = Call(
    "release", TypeAdapter(Owned), TypeAdapter(None), lambda array, asked: array.release(asked.name, owner=asked.owner)
)

CALLS: dict[str, Call[Any, Any]] = {
    call.name: call
    for call in (
        CAPABILITIES,
        VOLUMES,
        CREATE_VOLUME,
        GROW_VOLUME,
        DELETE_VOLUME,
        PAIR_OF,
        CREATE_PAIR,
        SPLIT,
        RESYNC,
        DELETE_PAIR,
        EXPORTS,
        EXPORT,
        WITHDRAW,
        IMPORT_VOLUME,
        RELEASE,
    )
}


@dataclass(frozen=True, slots=True)
class Greeting:
    """The server's first line."""

    nightwell_array: int
    name: str


@dataclass(frozen=True, slots=True)
class Request(_Arguments):
    """One line of a client."""

    call: str
    arguments: dict[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of the server: a result, or an error."""

    result: object = None
    error: dict[str, str] | None = None


GREETING = TypeAdapter(Greeting)
REQUEST = TypeAdapter(Request)
ANSWER = TypeAdapter(Answer)


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Give a socket's path in a form that fits the kernel's 107 bytes, however deep the directory is."""
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH_BYTES:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
