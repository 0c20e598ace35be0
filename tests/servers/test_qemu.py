"""What only the qemu driver can be asked: a kernel of its own, the spec's hardware, and what it needs to boot."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tools import tool

from nightwell.errors import NotFoundError
from nightwell.programs import find_guest_parts
from nightwell.servers import guest, procfs
from nightwell.servers.port import ServerSpec
from nightwell.servers.process import MARKER
from nightwell.servers.qemu import QemuServers

LOOK = """
import json, os, time
memory_kib = int(open("/proc/meminfo").readline().split()[1])
def refused(call):
    try: call()
    except OSError as error: return error.errno
print(json.dumps({
    "kernel": os.uname().release, "memory_mib": memory_kib >> 10, "cpus": os.cpu_count(), "user": os.getuid(),
    "root": refused(lambda: open("/usr/mine", "w")), "home": os.listdir("."), "token": os.environ["TOKEN"],
}), flush=True)
time.sleep(600)
"""


def test_a_machine_has_a_kernel_and_the_hardware_of_its_spec(tmp_path: Path) -> None:
    tool("qemu-system-x86_64")
    servers = QemuServers(tmp_path / "servers", guest_directory=tmp_path.parent / "guest")
    command = (sys.executable, "-c", LOOK)
    spec = ServerSpec("vs-1", "run-1", command, {"TOKEN": "very-secret"}, 300 << 20, cpus=1, files={"key.pem": "text"})
    handle = servers.produce(spec)
    with closing(handle.stdin), closing(handle.stdout):
        line = handle.stdout.readline()
        assert line, handle.read_errors()
        found = json.loads(line)
        assert found["kernel"] != os.uname().release
        assert 300 <= found["memory_mib"] <= 300 + 112
        assert (found["cpus"], found["user"], found["root"]) == (1, 1000, 30)  # 30: a read-only file system
        assert (found["home"], found["token"]) == (["key.pem"], "very-secret")
        files = [path for path in (tmp_path / "servers").rglob("*") if path.is_file()]
        assert [path for path in files if b"very-secret" in path.read_bytes()] == []
        QemuServers(tmp_path / "servers", guest_directory=tmp_path.parent / "guest").delete("vs-1")
    prefix = servers._marker_prefix
    assert [pid for pid, marker in procfs.markers(MARKER).items() if marker.startswith(prefix)] == []
    assert servers.servers() == ()


def test_without_a_kernel_the_way_to_get_one_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "find_guest_parts", lambda: None)
    with pytest.raises(NotFoundError, match=r"fetch_tools\.py guest"):
        guest.make_guest(tmp_path)


def test_modules_come_after_what_they_need() -> None:
    parts = find_guest_parts()
    assert parts is not None, "python3 infra/fetch_tools.py guest"
    names = [module.stem for module in guest.needed_modules(parts.modules)]
    assert names.index("virtio") < names.index("virtio_pci") < names.index("virtio_net")
    assert names.index("9pnet") < names.index("9p")
    assert len(names) == len(set(names))
