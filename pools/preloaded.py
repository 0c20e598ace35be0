"""A program that has loaded the flows already, and forks a fresh process for each flow run.

Importing Prefect and the flows takes two to four seconds; a request over line 2 should not wait for that. Nothing is
shared between flow runs: each is a process of its own, in a session of its own, that ends with its run. The program
itself runs no flow, opens no connection and starts no thread, so a fork of it is a clean beginning (OpenBLAS, which
NumPy loads, stops its threads around a fork by itself).

It speaks one JSON document a line over a socket: ``{"id", "flow_run_id", "environment", "directory"}`` in;
``{"id", "pid"}`` and ``{"id", "status"}`` out. It ends when its worker does; flow runs under way go on.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

#: What a flow process imports. Named, not imported above: this room stands beside ``flows`` and depends on none of it.
MODULES = ("prefect.flow_engine", "flows.remote", "flows.recover")

_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Order:
    """One flow run that is to be started."""

    order_id: str
    flow_run_id: str
    environment: dict[str, str]
    directory: str


@dataclass(slots=True)
class _Parent:
    """The side of the program that forks and reaps."""

    control: socket.socket
    children: dict[int, str] = field(default_factory=dict)
    buffer: bytes = b""

    def serve(self) -> Order | None:
        """Fork for every order; return an order in the child, and ``None`` here when the worker has gone."""
        woken, wake = socket.socketpair()
        for end in (woken, wake):
            end.settimeout(0)  # never blocks
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self.control, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            self._say({"ready": True})
            while True:
                for key, _ in selector.select():
                    if key.fileobj is woken:
                        woken.recv(_READ_BYTES)
                        self._reap()
                        continue
                    data = self.control.recv(_READ_BYTES)
                    if not data:
                        return None
                    for order in self._orders(data):
                        if self._fork(order):
                            signal.set_wakeup_fd(-1)
                            woken.close()
                            wake.close()
                            return order

    def _orders(self, data: bytes) -> Iterator[Order]:
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            found = json.loads(line)
            yield Order(found["id"], found["flow_run_id"], found["environment"], found["directory"])

    def _fork(self, order: Order) -> bool:
        """Return whether this is the child."""
        pid = os.fork()
        if pid == 0:
            return True
        self.children[pid] = order.order_id
        self._say({"id": order.order_id, "pid": pid})
        return False

    def _reap(self) -> None:
        for pid in list(self.children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._say({"id": self.children.pop(pid), "status": os.waitstatus_to_exitcode(status)})

    def _say(self, document: dict[str, object]) -> None:
        try:
            self.control.sendall(json.dumps(document).encode() + b"\n")
        except OSError:  # the worker has gone; the next read says so
            return


def main(control_fd: int) -> None:
    """Load the flows, then serve the worker that holds the other end of a socket."""
    for module in MODULES:
        importlib.import_module(module)
    control = socket.socket(fileno=control_fd)
    order = _Parent(control).serve()
    if order is not None:
        control.close()
        _become_flow_process(order)


def _become_flow_process(order: Order) -> None:
    from prefect.context import refresh_global_settings_context  # noqa: PLC0415  this module loads without Prefect

    os.setsid()
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(order.environment)
    os.chdir(order.directory)
    refresh_global_settings_context()
    sys.argv = ["prefect.engine", order.flow_run_id]
    sys.modules.pop("prefect.engine", None)  # loaded with the flows; it is to run as the main program
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
