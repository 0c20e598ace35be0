"""The conformance suite of the virtual-server port: what every driver keeps.

Each clause is a plain function that takes a :class:`ServersUnderTest` and raises :class:`ClauseBrokenError`. A driver
joins with one parametrised test that calls :func:`check` over ``CLAUSES``. The probes never
ask the driver whether it did well: a program that really ended has closed its end of the standard output.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from nightwell.errors import InputError, NightwellError
from nightwell.servers.port import Isolation, ServerHandle, ServerSpec, VirtualServers
from nightwell.testing import server_rig
from nightwell.testing.server_isolation_clauses import (
    gives_files,
    hides_files,
    limits_processes,
    reaches_its_addresses,
    reaches_nothing_else,
)
from nightwell.testing.server_rig import (
    MEMORY_BYTES,
    ClauseBrokenError,
    ServersUnderTest,
    equal,
    line,
    listed,
    refused,
    require,
    rest,
)

__all__ = ["CLAUSES", "Clause", "ClauseBrokenError", "ServersUnderTest", "check"]

Clause = Callable[["ServersUnderTest"], None]

_SECRET_VARIABLE = "NIGHTWELL_CONFORMANCE_SECRET"  # noqa: S105 - the name of a variable

_ECHO = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)\nsys.exit(7)"
_HOLD = "import sys; print('ready', flush=True); sys.stdin.read()"
_DEAF = "import time; print('ready', flush=True); time.sleep(600)"
_COMPLAIN = "import sys; print('said', flush=True); print('complained', file=sys.stderr)"
_TELL = "import os, sys; [print(os.environ.get(name), flush=True) for name in sys.argv[1:]]"
_BREED = (
    "import os, time\n"
    "child = os.fork()\n"
    "if child: os.waitpid(child, 0)\n"
    "os.setsid(); print('ready', flush=True); time.sleep(600)"
)
_FILL = (
    "import sys\n"
    "held = [bytearray(b'1' * (1 << 20)) for _ in range(int(sys.argv[1]) >> 20)]\n"
    "print(len(held), flush=True)"
)


def runs_the_program(rig: ServersUnderTest) -> None:
    """Check that the program gets what is written to stdin, its stdout arrives, and its exit status is told."""
    handle = rig.open_driver().produce(rig.spec("clause-runs", _ECHO))
    handle.stdin.write(b"level\nwell\n")
    handle.stdin.flush()
    equal("what the program wrote", [line(handle), line(handle)], [b"level", b"llew"])
    equal("wait() while it runs", handle.wait(0.05), None)
    handle.stdin.close()
    equal("the exit status", handle.wait(server_rig.PATIENCE_S), 7)


def keeps_errors_apart(rig: ServersUnderTest) -> None:
    """Check that standard error is kept for read_errors(), and does not mix with the events."""
    handle = rig.open_driver().produce(rig.spec("clause-errors", _COMPLAIN))
    equal("standard output", rest(handle), b"said\n")
    handle.wait(server_rig.PATIENCE_S)
    require("complained" in handle.read_errors(), f"read_errors() lacks what was written: {handle.read_errors()!r}")


def gives_the_environment(rig: ServersUnderTest) -> None:
    """Check that the program sees the variables of its spec."""
    wanted = {"NIGHTWELL_GIVEN": "value with = and spaces"}
    handle = rig.open_driver().produce(rig.spec("clause-given", _TELL, "NIGHTWELL_GIVEN", environment=wanted))
    equal("the variable", line(handle).decode(), wanted["NIGHTWELL_GIVEN"])


def inherits_no_secret(rig: ServersUnderTest) -> None:
    """Check that what stands in the producer's environment does not reach the program."""
    os.environ[_SECRET_VARIABLE] = "not for you"
    try:
        handle = rig.open_driver().produce(rig.spec("clause-secret", _TELL, _SECRET_VARIABLE))
        equal("the producer's secret inside the server", line(handle), b"None")
    finally:
        del os.environ[_SECRET_VARIABLE]


def closes_the_lifeline(rig: ServersUnderTest) -> None:
    """Check that when the producer closes stdin, the program meets its end of file."""
    handle = rig.open_driver().produce(rig.spec("clause-lifeline", _HOLD))
    line(handle)
    handle.stdin.close()
    equal("the exit status after the lifeline closed", handle.wait(server_rig.PATIENCE_S), 0)


def lists_servers(rig: ServersUnderTest) -> None:
    """Check that running servers are listed with their run, sorted by id."""
    driver = rig.open_driver()
    for server_id in ("clause-list-b", "clause-list-a"):
        line(driver.produce(rig.spec(server_id, _HOLD)))
    found = [(info.server_id, info.run_id, info.driver, info.alive) for info in driver.servers()]
    expected = [
        ("clause-list-a", "run-of-clause-list-a", driver.driver, True),
        ("clause-list-b", "run-of-clause-list-b", driver.driver, True),
    ]
    equal("servers()", found, expected)


def lists_the_ended(rig: ServersUnderTest) -> None:
    """Check that a server whose program has ended stays listed, not alive, until it is deleted."""
    driver = rig.open_driver()
    handle = driver.produce(rig.spec("clause-ended", "pass"))
    handle.wait(server_rig.PATIENCE_S)
    require(not listed(driver, "clause-ended").alive, "alive after the program has ended")


def lists_from_elsewhere(rig: ServersUnderTest) -> None:
    """Check that whoever comes later finds the server: the list does not live in the producer's memory."""
    line(rig.open_driver().produce(rig.spec("clause-elsewhere", _HOLD)))
    found = listed(rig.open_driver(), "clause-elsewhere")
    equal("the run and alive", (found.run_id, found.alive), ("run-of-clause-elsewhere", True))


def deletes(rig: ServersUnderTest) -> None:
    """Check that delete() returns when even a program that ignores its lifeline has ended, and nothing is listed."""
    driver = rig.open_driver()
    handle = driver.produce(rig.spec("clause-delete", _DEAF))
    line(handle)
    driver.delete("clause-delete")
    equal("what follows on stdout", rest(handle), b"")
    require(handle.wait(server_rig.PATIENCE_S) not in (None, 0), "the deleted program seems to have ended well")
    equal("servers() after delete()", driver.servers(), ())


def deletes_from_elsewhere(rig: ServersUnderTest) -> None:
    """Check that whoever comes later can delete."""
    handle = rig.open_driver().produce(rig.spec("clause-later", _DEAF))
    line(handle)
    rig.open_driver().delete("clause-later")
    equal("what follows on stdout", rest(handle), b"")


def deletes_descendants(rig: ServersUnderTest) -> None:
    """Check that what the program started ends too, even in a session of its own."""
    driver = rig.open_driver()
    handle = driver.produce(rig.spec("clause-breed", _BREED))
    line(handle)
    driver.delete("clause-breed")
    equal("what follows on stdout", rest(handle), b"")


def deletes_twice(rig: ServersUnderTest) -> None:
    """Check that deleting again, or what never was, succeeds."""
    driver = rig.open_driver()
    driver.produce(rig.spec("clause-twice", "pass"))
    for server_id in ("clause-twice", "clause-twice", "clause-never"):
        try:
            driver.delete(server_id)
        except Exception as error:
            raise ClauseBrokenError(f"delete({server_id!r}) of what is gone raised {error!r}") from error


def spares_the_others(rig: ServersUnderTest) -> None:
    """Check that deleting one leaves another untouched, also one whose id begins the same."""
    driver = rig.open_driver()
    driver.produce(rig.spec("clause-spare", _HOLD))
    other = driver.produce(rig.spec("clause-spare-2", _ECHO))
    driver.delete("clause-spare")
    other.stdin.write(b"well\n")
    with suppress(BrokenPipeError):
        other.stdin.flush()
    equal("the other program's answer", line(other), b"llew")


def deletes_before_producing_again(rig: ServersUnderTest) -> None:
    """Check that producing an id again ends the old program first, and there is one server."""
    old = rig.open_driver().produce(rig.spec("clause-again", _DEAF))
    line(old)
    driver = rig.open_driver()
    new = driver.produce(rig.spec("clause-again", _HOLD))
    equal("what follows on the old one's stdout", rest(old), b"")
    equal("the new program", line(new), b"ready")
    equal("how many are listed", len(driver.servers()), 1)


def limits_memory(rig: ServersUnderTest) -> None:
    """Check that a program within its memory runs; one that takes twice as much does not get it."""
    driver = rig.open_driver()
    small = driver.produce(rig.spec("clause-small", _FILL, str(MEMORY_BYTES // 2)))
    equal("half of the memory", rest(small), b"128\n")
    large = driver.produce(rig.spec("clause-large", _FILL, str(2 * MEMORY_BYTES)))
    equal("twice the memory", rest(large), b"")
    require(large.wait(server_rig.PATIENCE_S) != 0, "a program took twice its memory and ended well")


def refuses_bad_ids(rig: ServersUnderTest) -> None:
    """Check that an id that could mean another place is refused, by produce() and by delete()."""
    driver = rig.open_driver()
    for server_id in ("", ".", "..", "../clause", "a/b", "-x", "x" * 200):
        refused(InputError, partial(driver.produce, rig.spec(server_id, "pass")), f"produce({server_id!r})")
        refused(InputError, partial(driver.delete, server_id), f"delete({server_id!r})")


def leaves_nothing_unstarted(rig: ServersUnderTest) -> None:
    """Check that a program that cannot be started is one clear error, and no server."""
    driver = rig.open_driver()
    spec = ServerSpec("clause-absent", "run-of-clause-absent", ("/nonexistent/program",))
    refused(NightwellError, lambda: driver.produce(spec), "produce() of an absent program")
    equal("servers() after it", driver.servers(), ())


CLAUSES: tuple[Clause, ...] = (
    runs_the_program,
    keeps_errors_apart,
    gives_the_environment,
    inherits_no_secret,
    closes_the_lifeline,
    lists_servers,
    lists_the_ended,
    lists_from_elsewhere,
    deletes,
    deletes_from_elsewhere,
    deletes_descendants,
    deletes_twice,
    spares_the_others,
    deletes_before_producing_again,
    limits_memory,
    limits_processes,
    gives_files,
    hides_files,
    reaches_its_addresses,
    reaches_nothing_else,
    refuses_bad_ids,
    leaves_nothing_unstarted,
)


def check(clause: Clause, rig: ServersUnderTest) -> None:
    """Check one clause, and leave no server and no open pipe of it; ClauseBrokenError says what is broken."""
    handles: list[ServerHandle] = []
    try:
        clause(replace(rig, open_driver=lambda: _Watched(rig.open_driver(), handles)))
    finally:
        driver = rig.open_driver()
        for info in driver.servers():
            if info.server_id.startswith("clause-"):
                driver.delete(info.server_id)
        for handle in handles:
            _close(handle)


def _close(handle: ServerHandle) -> None:
    with suppress(BrokenPipeError):
        handle.stdin.close()
    # A broken driver may leave a program, and so a reader of ours, that never ends: do not wait for their lock.
    closing = threading.Thread(target=handle.stdout.close, daemon=True)
    closing.start()
    closing.join(server_rig.PATIENCE_S)


class _Watched:
    """A driver that remembers which handles it gave."""

    def __init__(self, inner: VirtualServers, handles: list[ServerHandle]) -> None:
        self.driver = inner.driver
        self.delete = inner.delete
        self.servers = inner.servers
        self._inner = inner
        self._handles = handles

    @property
    def isolation(self) -> Isolation:
        return self._inner.isolation

    def produce(self, spec: ServerSpec) -> ServerHandle:
        handle = self._inner.produce(spec)
        self._handles.append(handle)
        return handle
