"""The clauses about what a program in a virtual server has, and what it has not."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from nightwell.servers.port import Address, Limit
from nightwell.testing.server_rig import PROCESSES, ServersUnderTest, equal, line, require, rest

_READ = (
    "import sys\n"
    "try: print(open(sys.argv[1]).read(), flush=True)\n"
    "except OSError as error: print(type(error).__name__, flush=True)"
)
_CALL = (
    "import socket, sys\n"
    "for port in sys.argv[1:]:\n"
    "    try: print(socket.create_connection(('127.0.0.1', int(port)), 5).recv(9).decode() or 'nobody', flush=True)\n"
    "    except OSError: print('nobody', flush=True)"
)
_FORK = (
    "import os, signal, sys\n"
    "made = 0\n"
    "try:\n"
    "    while made < int(sys.argv[1]):\n"
    "        if os.fork() == 0: signal.pause()\n"
    "        made += 1\n"
    "except OSError: pass\n"
    "print(made, flush=True)"
)


def limits_processes(rig: ServersUnderTest) -> None:
    """Check that a program cannot start more processes than its spec allows, where the driver says so."""
    driver = rig.open_driver()
    if driver.isolation.processes is Limit.NONE:
        return
    handle = driver.produce(rig.spec("clause-fork", _FORK, str(3 * PROCESSES)))
    made = int(line(handle))
    require(0 < made < PROCESSES, f"a program that may have {PROCESSES} processes started {made} more")


def gives_files(rig: ServersUnderTest) -> None:
    """Check that the program finds the files of its spec in its working directory, text for text."""
    text = "line 1: it's $HOME\nline 2"
    handle = rig.open_driver().produce(rig.spec("clause-files", _READ, "tls/key.pem", files={"tls/key.pem": text}))
    equal("the file's text", rest(handle).decode(), text + "\n")


def hides_files(rig: ServersUnderTest) -> None:
    """Check that the program cannot read a file of the host that everybody there may, where the driver says so."""
    driver = rig.open_driver()
    if not driver.isolation.files:
        return
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("not for you")
        file.flush()
        os.chmod(file.name, 0o644)  # noqa: PTH101 - the point
        handle = driver.produce(rig.spec("clause-hidden", _READ, file.name))
        equal("what reading it gave", line(handle), b"FileNotFoundError")


def reaches_its_addresses(rig: ServersUnderTest) -> None:
    """Check that the program reaches the addresses of its spec, as it would write them on the host."""
    with _greeter(b"first") as first, _greeter(b"second") as second:
        handle = rig.open_driver().produce(
            rig.spec("clause-reach", _CALL, str(first.port), str(second.port), reachable=(first, second))
        )
        equal("the greetings", [line(handle), line(handle)], [b"first", b"second"])


def reaches_nothing_else(rig: ServersUnderTest) -> None:
    """Check that a listener of the host that is not in the spec is out of reach, where the driver says so."""
    driver = rig.open_driver()
    if not driver.isolation.network:
        return
    with _greeter(b"hello") as allowed, _greeter(b"stranger") as other:
        spec = rig.spec("clause-else", _CALL, str(other.port), str(allowed.port), reachable=(allowed,))
        handle = driver.produce(spec)
        equal("who answered", [line(handle), line(handle)], [b"nobody", b"hello"])


@contextmanager
def _greeter(greeting: bytes) -> Iterator[Address]:
    """Listen on the loopback of this host, and greet whoever comes."""

    def greet() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(greeting)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield Address("127.0.0.1", listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)  # closing alone does not wake the thread
        thread.join()
