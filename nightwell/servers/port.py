"""The port that every virtual-server driver implements.

A virtual server is produced for one request and deleted afterwards. It runs one program (the mover) and can reach
only the destination array and the store. The driver holds no state in memory that deletion needs: whoever comes after
a crash can list and delete what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, Protocol

from nightwell.nbd.tls import TlsFiles


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address as the program writes it: a name or a literal address, and a port.

    Where the driver limits the network, ``export`` says that an NBD server is there of which the program may open this
    export and no other. With ``tls`` the driver proves itself to that server; the program speaks without TLS.
    """

    host: str
    port: int
    export: str | None = None
    tls: TlsFiles | None = None


class Limit(StrEnum):
    """How far a driver enforces one limit on this host."""

    SERVER = "for the server as a whole"
    PROCESS = "for each process of the server"
    ASKED = "asked of the program, which can undo it"
    NONE = "not enforced"


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a driver enforces on this host. Nobody is told that a limit holds which does not."""

    memory: Limit
    cpus: Limit
    processes: Limit
    files: bool  # the program sees its own files and what it needs to run, read-only, and no other
    network: bool  # the program reaches the addresses of its spec, and no other
    means: str  # by what, in words


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """What to produce: an identity keyed by the run, a program, and limits."""

    server_id: str  # derived from the run id: producing again after a crash finds the old one
    run_id: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)  # credentials go here, never in the command
    memory_bytes: int = 512 << 20
    cpus: int = 2
    processes: int = 256  # processes and threads together
    files: Mapping[str, str] = field(default_factory=dict)  # text files in the program's working directory, by name
    reachable: tuple[Address, ...] = ()  # what the program may connect to


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """One virtual server, alive or left over."""

    server_id: str
    run_id: str
    driver: str
    alive: bool
    detail: str = ""


class ServerHandle(Protocol):
    """A running virtual server, as its producer holds it.

    ``stdin`` is also the lifeline: the program ends without committing when it closes, so a dead producer leaves no
    live virtual server behind.
    """

    info: ServerInfo
    stdin: IO[bytes]
    stdout: IO[bytes]  # the program's events, one JSON document a line

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Return the exit status, or ``None`` when it still runs after ``timeout_s``."""
        ...

    def read_errors(self) -> str:
        """Return the last lines the program wrote to its standard error."""
        ...


class VirtualServers(Protocol):
    """Produces and deletes virtual servers."""

    driver: str

    @property
    def isolation(self) -> Isolation:
        """What this driver enforces on this host."""
        ...

    def produce(self, spec: ServerSpec) -> ServerHandle:
        """Produce a virtual server and start its program; one left over with this id is deleted first."""
        ...

    def delete(self, server_id: str) -> None:
        """End the program and delete everything of the server; idempotent; blocks until it is gone."""
        ...

    def servers(self) -> tuple[ServerInfo, ...]:
        """Return all servers of this driver on this host, sorted by id."""
        ...
