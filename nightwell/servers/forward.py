"""The only way out of a virtual server's network: a forwarder with a fixed list of addresses.

Run as a program by this host's Python, without the libraries of others, so that it starts at once: it goes into the
network namespace of a virtual server, gives its loopback device the addresses that the program will ask for, listens
on them there, and comes back. From then on it accepts inside and connects outside. There is no route, no name service
and no other listener, so what is not in the list cannot be reached. It ends with the virtual server.

Arguments: the process id of the virtual server's first process, then each route as JSON. Prints ``ready`` when it
listens.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import json
import os
import select
import socket
import ssl
import struct
import sys
import threading
from dataclasses import asdict, dataclass

from nightwell.servers.export_gate import ExportGate, pump_both

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCGIFINDEX = 0x8916, 0x891C, 0x8933
_PIPE_BYTES = 1 << 20
_CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Route:
    """Where to listen inside, and what to connect to outside; ``export`` and ``tls`` as in the port's ``Address``."""

    address: str
    port: int
    host: str
    host_port: int
    export: str | None = None
    tls: tuple[str, str, str] | None = None  # files of CA, certificate and key

    @classmethod
    def parse(cls, text: str) -> Route:
        """Read one argument."""
        return cls(**json.loads(text))

    def __str__(self) -> str:
        return json.dumps(asdict(self))


def main() -> int:
    """Forward until the virtual server has ended."""
    pid, *texts = sys.argv[1:]
    routes = [Route.parse(text) for text in texts]
    watched = os.pidfd_open(int(pid))
    listeners = listen_inside(int(pid), routes)
    print("ready", flush=True)  # noqa: T201 - a program's output
    with contextlib.suppress(OSError):
        os.close(1)
    for listener, route in zip(listeners, routes, strict=True):
        threading.Thread(target=_serve, args=(listener, route), daemon=True).start()
    select.select([watched], [], [])
    os._exit(0)  # threads may be inside a call


def listen_inside(pid: int, routes: list[Route]) -> list[socket.socket]:
    """Return sockets that listen in the namespace of a process, made by a child that went there."""
    here, there = socket.socketpair()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            here.close()
            _enter(pid)
            made = [_listen(route) for route in routes]
            descriptors = array.array("i", [each.fileno() for each in made])
            there.sendmsg([b"ok"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
            status = 0
        except OSError as error:
            there.sendall(str(error).encode())
        finally:
            os._exit(status)
    there.close()
    with here:
        said, ancillary, _, _ = here.recvmsg(1024, socket.CMSG_SPACE(4 * len(routes)))
    os.waitpid(child, 0)
    if said != b"ok":
        raise OSError(said.decode() or "the child that listens inside died")
    received = array.array("i")
    for _, _, data in ancillary:
        received.frombytes(data)
    return [socket.socket(fileno=descriptor) for descriptor in received]


def _enter(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    kinds = [("net", _CLONE_NEWNET)]
    if os.stat(f"/proc/{pid}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:  # noqa: PTH116 - no Path needed
        kinds.insert(0, ("user", _CLONE_NEWUSER))  # whoever made a user namespace has every right over its network
    handles = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name, _ in kinds]
    for handle, (name, kind) in zip(handles, kinds, strict=True):
        if libc.setns(handle, kind) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"entering the {name} namespace: {os.strerror(number)}")


def _listen(route: Route) -> socket.socket:
    family = socket.AF_INET6 if ":" in route.address else socket.AF_INET
    _give_address(route.address, family)
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((route.address, route.port))
    listener.listen(64)
    return listener


def _give_address(address: str, family: socket.AddressFamily) -> None:
    """Let the loopback device answer for an address; the whole of 127/8 and ::1 it has already."""
    if address.startswith("127.") or address == "::1":
        return
    packed = socket.inet_pton(family, address)
    with socket.socket(family, socket.SOCK_DGRAM) as control:
        if family == socket.AF_INET6:
            index = struct.unpack("16si", fcntl.ioctl(control, _SIOCGIFINDEX, struct.pack("16si", b"lo", 0)))[1]
            with contextlib.suppress(FileExistsError):
                fcntl.ioctl(control, _SIOCSIFADDR, struct.pack("=16sIi", packed, 128, index))
            return
        name = f"lo:{int.from_bytes(packed) & 0xFFFFFF:x}".encode()
        fcntl.ioctl(control, _SIOCSIFADDR, struct.pack("16sHH4s8x", name, socket.AF_INET, 0, packed))
        fcntl.ioctl(control, _SIOCSIFNETMASK, struct.pack("16sHH4s8x", name, socket.AF_INET, 0, b"\xff" * 4))


def _serve(listener: socket.socket, route: Route) -> None:
    while True:
        inside, _ = listener.accept()
        threading.Thread(target=_join, args=(inside, route), daemon=True).start()


def _join(inside: socket.socket, route: Route) -> None:
    with inside:
        try:
            outside = socket.create_connection((route.host, route.host_port), timeout=_CONNECT_TIMEOUT_S)
        except OSError:
            return  # the program sees its connection end, as when nobody listens
        outside.settimeout(None)
        for each in (inside, outside):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if route.export is not None:
            opened = _opened(inside, outside, route, route.export)
            if opened is None:
                outside.close()
                return
            outside = opened
        with outside:
            if isinstance(outside, ssl.SSLSocket):
                pump_both(inside, outside)
                return
            back = threading.Thread(target=_pump, args=(outside, inside), daemon=True)
            back.start()
            _pump(inside, outside)
            back.join()


def _opened(inside: socket.socket, outside: socket.socket, route: Route, export: str) -> socket.socket | None:
    gate = ExportGate(inside, outside, export)
    return gate.outside if gate.open(route.host, route.tls) else None


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Move bytes until the source ends, within the kernel."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    try:
        while moved := os.splice(source.fileno(), writing, _PIPE_BYTES):
            while moved:
                moved -= os.splice(reading, target.fileno(), moved)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, target):  # a connection that broke on one side breaks on the other
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
    finally:
        os.close(reading)
        os.close(writing)
