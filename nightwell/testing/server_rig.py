"""What the clauses of the virtual-server suite share: the rig, the error, and ways to look with patience."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from nightwell.servers.port import Address, ServerHandle, ServerInfo, ServerSpec, VirtualServers

T = TypeVar("T")

PATIENCE_S = 90.0  # an emulated machine on a busy host takes its time
MEMORY_BYTES: Final = 256 << 20
PROCESSES: Final = 60


class ClauseBrokenError(AssertionError):
    """A driver does not keep a clause of its port."""


@dataclass(frozen=True, slots=True)
class ServersUnderTest:
    """A driver and how to run Python in its servers.

    ``open_driver`` returns a driver object that knows nothing of those opened before, as another process would have
    it. ``python`` starts Python inside a virtual server.
    """

    open_driver: Callable[[], VirtualServers]
    python: tuple[str, ...]

    def spec(
        self,
        server_id: str,
        program: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        memory_bytes: int = MEMORY_BYTES,
        files: Mapping[str, str] | None = None,
        reachable: tuple[Address, ...] = (),
    ) -> ServerSpec:
        """Return what asks for a server that runs this Python text."""
        command = (*self.python, "-c", program, *arguments)
        return ServerSpec(
            server_id,
            f"run-of-{server_id}",
            command,
            environment or {},
            memory_bytes,
            processes=PROCESSES,
            files=files or {},
            reachable=reachable,
        )


def require(condition: bool, message: str) -> None:  # noqa: FBT001 - reads like an assertion
    """Raise ClauseBrokenError unless a condition holds."""
    if not condition:
        raise ClauseBrokenError(message)


def equal(what: str, found: object, expected: object) -> None:
    """Raise ClauseBrokenError unless what was found is what was expected."""
    require(found == expected, f"{what}: expected {expected!r}, found {found!r}")


def refused(kind: type[Exception], call: Callable[[], object], what: str) -> None:
    """Raise ClauseBrokenError unless a call is refused with this kind of error."""
    try:
        call()
    except kind:
        return
    except Exception as error:
        raise ClauseBrokenError(f"{what} raised {error!r} and not {kind.__name__}") from error
    raise ClauseBrokenError(f"{what} was not refused")


def listed(driver: VirtualServers, server_id: str) -> ServerInfo:
    """Return a server as its driver lists it."""
    for info in driver.servers():
        if info.server_id == server_id:
            return info
    raise ClauseBrokenError(f"{server_id!r} is not listed")


def line(handle: ServerHandle) -> bytes:
    """Return the next line of the program's output."""
    return within(handle.stdout.readline, "a line on stdout").strip()


def rest(handle: ServerHandle) -> bytes:
    """Return the program's output up to its end."""
    return within(handle.stdout.read, "the end of stdout")


def within(call: Callable[[], T], what: str) -> T:
    """Return what a call gives, or raise ClauseBrokenError when it takes too long."""
    answers: queue.Queue[T] = queue.Queue()
    threading.Thread(target=lambda: answers.put(call()), daemon=True).start()
    try:
        return answers.get(timeout=PATIENCE_S)
    except queue.Empty:
        raise ClauseBrokenError(f"{what} did not come within {PATIENCE_S:.0f} s") from None
