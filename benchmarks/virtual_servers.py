"""What each kind of virtual server costs: seconds to start, memory beside the program's own, reading speed.

``python benchmarks/virtual_servers.py [driver ...]`` prints one line for each driver. The volume lies in the memory of
this process; the program reads it whole through one NBD connection.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psutil

from nightwell.nbd.server import NbdServer
from nightwell.servers import procfs
from nightwell.servers.port import Address, ServerSpec, VirtualServers
from nightwell.servers.process import MARKER, ProcessServers
from nightwell.servers.qemu import QemuServers
from nightwell.servers.runc import RuncServers
from nightwell.testing.nbd import MemoryBackend, MemoryExports

DRIVERS = {"process": ProcessServers, "runc": RuncServers, "qemu": QemuServers}
STARTS = {"process": 9, "runc": 9, "qemu": 3}
VOLUME_BYTES = 256 << 20
READY = "import sys; print('ready', flush=True); sys.stdin.read()"
READ = """
import sys, time
from nightwell.nbd.client import NbdClient
with NbdClient.connect(sys.argv[1]) as client:
    buffer = memoryview(bytearray(4 << 20))
    client.read_into(0, buffer)
    began = time.perf_counter()
    for offset in range(0, client.size_bytes, len(buffer)): client.read_into(offset, buffer)
    print(client.size_bytes / (time.perf_counter() - began) / 1e6, flush=True)
"""


def start_s(servers: VirtualServers) -> tuple[float, float]:
    """Return seconds from the call to the program's first word, and MiB of all processes of the server."""
    began = time.perf_counter()
    handle = servers.produce(ServerSpec("vs-1", "run-1", (sys.executable, "-c", READY)))
    with closing(handle.stdin), closing(handle.stdout):
        handle.stdout.readline()
        seconds = time.perf_counter() - began
        pids = set(procfs.markers(MARKER))
        pids |= {inside for pid in pids for inside in procfs.pid_namespace_members(pid)}
        mib = sum(psutil.Process(pid).memory_full_info().uss for pid in pids) / (1 << 20)
        servers.delete("vs-1")
    return seconds, mib


def read_mb_s(servers: VirtualServers) -> float:
    """Return how fast a program inside reads an export."""
    exports = MemoryExports()
    exports.backends["volume"] = MemoryBackend(VOLUME_BYTES)
    server = NbdServer(exports)
    server.start()
    host, port = server.address
    command = (sys.executable, "-c", READ, f"nbd://{host}:{port}/volume")
    handle = servers.produce(ServerSpec("vs-1", "run-1", command, reachable=(Address(host, port, "volume"),)))
    with closing(handle.stdin), closing(handle.stdout):
        said = handle.stdout.readline()
        if not said:
            raise RuntimeError(handle.read_errors())
    servers.delete("vs-1")
    server.stop()
    return float(said)


def main() -> None:
    for name in sys.argv[1:] or DRIVERS:
        with tempfile.TemporaryDirectory() as folder:
            servers = DRIVERS[name](Path(folder) / "servers")
            starts = [start_s(servers) for _ in range(STARTS[name])]
            speed = max(read_mb_s(servers) for _ in range(2))
        print(
            f"{name}: start {statistics.median(s for s, _ in starts):.2f} s (best {min(s for s, _ in starts):.2f}), "
            f"{statistics.median(mib for _, mib in starts):.0f} MiB, reads {speed:.0f} MB/s, "
            f"load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
