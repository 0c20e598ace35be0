"""What only the runc driver can be asked: what its limits and namespaces really are, and crashes of its producer."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from servers.dying_producer import DEAF, produced
from servers.dying_producer import crash as crash_at
from servers.rootless import as_a_user
from tools import tool

from nightwell.servers import procfs
from nightwell.servers.cgroups import find_cgroups
from nightwell.servers.port import Limit, ServerSpec
from nightwell.servers.process import MARKER
from nightwell.servers.runc import RuncServers
from nightwell.testing.server_isolation_clauses import limits_processes
from nightwell.testing.servers import ServersUnderTest, check, limits_memory

ROOTLESS = Path(__file__).with_name("rootless.py")
SPEC = ServerSpec("vs-1", "run-1", DEAF, {"TOKEN": "very-secret"}, files={"key.pem": "very-secret too"})

crash = partial(crash_at, RuncServers, "os.kill(os.getpid(), 9)")
PRODUCE_POINTS = [
    ("nightwell.servers.runc:make_skeleton", 1),
    ("subprocess:Popen", 1),
    ("nightwell.servers.process:write_record", 2),
    ("nightwell.servers.runc:_wait_for_pid", 1),
    ("nightwell.servers.runc:leave", 1),
]
DELETE_POINTS = [
    ("nightwell.servers.procfs:send", 2),
    ("nightwell.servers.process:_remove", 1),
    ("shutil:rmtree", 1),
]
# Two processes that each stay within the limit and together pass it.
SHARED_FILL = (
    "import os, signal, sys\n"
    "reading, writing = os.pipe()\n"
    "child = os.fork()\n"
    "held = [bytearray(b'1' * (1 << 20)) for _ in range(int(sys.argv[1]) >> 20)]\n"
    "if child == 0: os.write(writing, b'1'); signal.pause()\n"
    "os.close(writing)\n"
    "if os.read(reading, 1): print('both', flush=True)"
)
# More busy processes than it may have processors.
SPIN = "import os\nfor _ in range(3): os.fork()\nprint('busy', flush=True)\nwhile True: pass"
V1_FILES = ("memory.limit_in_bytes", "cpu.cfs_quota_us", "pids.max")
LOOK = """
import json, os
def refused(call):
    try: call()
    except OSError as error: return type(error).__name__ + str(error.errno)
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "capabilities": status["CapBnd"].strip() + status["CapEff"].strip(),
    "new_privileges": status["NoNewPrivs"], "seccomp": status["Seccomp"],
    "processes": [name for name in os.listdir("/proc") if name.isdecimal()],
    "spaces": {name: os.readlink("/proc/self/ns/" + name) for name in ("user", "mnt", "pid", "net", "ipc", "uts")},
    "etc": sorted(os.listdir("/etc")), "home": os.listdir("."),
    "write": refused(lambda: open("/usr/bin/python-of-mine", "w")),
    "root": refused(lambda: open("/mine", "w")),
    "devices": sorted(os.listdir("/dev")),
}), flush=True)
"""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[RuncServers]:
    tool("runc")
    driver = RuncServers(tmp_path / "servers")
    yield driver
    for info in driver.servers():
        driver.delete(info.server_id)
    assert left_of(driver) == []


def left_of(driver: RuncServers) -> list[str]:
    """Name every process, control group and record that any server of this driver left."""
    prefix = driver._marker_prefix
    found = [f"process {pid}" for pid, value in procfs.markers(MARKER).items() if value.startswith(prefix)]
    if driver._cgroups is not None:
        found += [f"group {folder}" for folder in driver._cgroups.folders(driver._group("vs-1"))]
    found += [str(path) for path in driver._directory.glob("*") if path.name not in {".lock", ".runc"}]
    return found + [str(path) for path in driver._directory.glob(".runc/*")]


@pytest.mark.parametrize("point", PRODUCE_POINTS, ids=lambda point: f"{point[0].rpartition('.')[2]}-{point[1]}")
def test_a_killed_producer_leaves_what_its_record_finds(servers: RuncServers, point: tuple[str, int]) -> None:
    assert crash("produce", point, servers._directory) == -signal.SIGKILL
    assert [info.run_id for info in servers.servers()] == ["run-1"]
    servers.delete("vs-1")
    assert left_of(servers) == []


@pytest.mark.parametrize("point", DELETE_POINTS, ids=lambda point: f"{point[0].rpartition('.')[2]}-{point[1]}")
def test_a_killed_deleter_can_be_followed_by_another(servers: RuncServers, point: tuple[str, int]) -> None:
    handle = produced(servers, SPEC)
    with closing(handle.stdin), closing(handle.stdout):
        handle.stdout.readline()
        assert crash("delete", point, servers._directory) == -signal.SIGKILL
        assert [info.run_id for info in servers.servers()] == ["run-1"]
        servers.delete("vs-1")
        assert left_of(servers) == []


def test_a_container_outlives_its_runc_only_until_it_is_deleted(servers: RuncServers) -> None:
    # A program may wipe its environment, where the marker stands.
    wiping = (sys.executable, "-c", f"import os; os.execve('/bin/sh', ['sh', '-c', {'echo ready; sleep 600'!r}], {{}})")
    handle = produced(servers, replace(SPEC, command=wiping))
    with closing(handle.stdin), closing(handle.stdout):
        handle.stdout.readline()
        init = servers._init("vs-1")
        assert init is not None
        os.kill(handle.pid, signal.SIGKILL)
        assert handle.wait(10) == -signal.SIGKILL
        assert procfs.is_running(init)
        servers.delete("vs-1")
        assert not procfs.is_running(init)


def test_namespaces_root_and_rights_are_its_own(servers: RuncServers) -> None:
    handle = produced(servers, replace(SPEC, command=(sys.executable, "-c", LOOK)))
    with closing(handle.stdin), closing(handle.stdout):
        found = json.loads(handle.stdout.readline())
    ours = {name: str(Path(f"/proc/self/ns/{name}").readlink()) for name in found["spaces"]}
    assert [name for name in ours if found["spaces"][name] == ours[name]] == []
    assert set(found["capabilities"]) == {"0"}
    assert (found["new_privileges"], found["seccomp"]) == ("1", "2")
    assert found["processes"] == ["1"]
    assert (found["write"], found["root"]) == ("OSError30", "OSError30")  # a read-only file system
    assert set(found["etc"]) <= {"alternatives", "group", "hosts", "ld.so.cache", "localtime", "nsswitch.conf"} | {
        "passwd",
        "ssl",
    }
    assert found["home"] == ["key.pem"]
    assert not set(found["devices"]) & {"sda", "vda", "mem", "kmsg", "kvm"}


def test_nothing_on_disk_or_in_a_command_line_holds_a_secret(servers: RuncServers) -> None:
    handle = produced(servers, SPEC)
    with closing(handle.stdin), closing(handle.stdout):
        handle.stdout.readline()
        files = [path for path in servers._directory.rglob("*") if path.is_file()]
        assert {"config.json", "state.json", "record.json"} <= {path.name for path in files}
        assert [path for path in files if b"very-secret" in path.read_bytes()] == []
        init = servers._init("vs-1")
        assert init is not None
        for pid in (handle.pid, init.pid):
            assert b"very-secret" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_program_that_is_not_there_inside_is_said_by_its_status(servers: RuncServers, tmp_path: Path) -> None:
    hidden = tmp_path / "program"
    hidden.write_text("#!/bin/sh\n")
    hidden.chmod(0o755)
    handle = produced(servers, replace(SPEC, command=(str(hidden),)))
    with closing(handle.stdin), closing(handle.stdout):
        assert handle.wait(20) == 127
        assert "not found" in handle.read_errors()


def test_memory_is_limited_for_all_processes_together_where_the_driver_says_so(servers: RuncServers) -> None:
    limit_bytes = 128 << 20
    fill = (sys.executable, "-c", SHARED_FILL, str(limit_bytes * 3 // 4))
    handle = produced(servers, replace(SPEC, command=fill, memory_bytes=limit_bytes))
    with closing(handle.stdin), closing(handle.stdout):
        said = handle.stdout.read()  # the kernel ends one of them, or both
    assert said == (b"" if servers.isolation.memory is Limit.SERVER else b"both\n")


def test_the_kernel_holds_the_limits_of_the_spec(servers: RuncServers) -> None:
    handle = produced(servers, replace(SPEC, memory_bytes=300 << 20, cpus=1, processes=77))
    with closing(handle.stdin), closing(handle.stdout):
        handle.stdout.readline()
        init = servers._init("vs-1")
        assert init is not None
        if servers._cgroups is None:
            assert len(os.sched_getaffinity(init.pid)) == 1
            assert resource.prlimit(init.pid, resource.RLIMIT_NPROC) == (77, 77)
            assert resource.prlimit(init.pid, resource.RLIMIT_DATA) == (300 << 20, 300 << 20)
            return
        group = servers._group("vs-1")
        assert init.pid in servers._cgroups.members(group)
        unified = servers._cgroups.unified
        files = ("memory.max", "cpu.max", "pids.max") if unified else V1_FILES
        found = {
            name: (folder / name).read_text().strip()
            for folder in servers._cgroups.folders(group)
            for name in files
            if (folder / name).exists()
        }
        expected = (str(300 << 20), "100000 100000" if unified else "100000", "77")
        assert found == dict(zip(files, expected, strict=True))


def test_a_busy_container_gets_no_more_processor_time_than_its_limit(tmp_path: Path) -> None:
    tool("runc")
    with own_parent("/nightwell-busy") as parent:
        servers = RuncServers(tmp_path / "servers", cgroup=parent)
        spec = replace(SPEC, command=(sys.executable, "-c", SPIN), cpus=1)
        handle = produced(servers, spec)
        try:
            with closing(handle.stdin), closing(handle.stdout):
                for _ in range(8):
                    assert handle.stdout.readline() == b"busy\n"
                if servers._cgroups is None:
                    assert servers.isolation.cpus is Limit.ASKED
                    return
                before_all(servers, "vs-1")
                members = servers._cgroups.members(servers._group("vs-1"))
                began_s, used_before_s = time.monotonic(), used_s(members)
                time.sleep(2)
                used, elapsed_s = used_s(members) - used_before_s, time.monotonic() - began_s
        finally:
            servers.delete("vs-1")
    # Its eight processes want all processors, and stand before whatever else runs here; one more period is granted.
    assert 0 < used <= 1.2 * elapsed_s + 0.2
    assert left_of(servers) == []


@contextmanager
def own_parent(name: str) -> Iterator[str]:
    """Give a parent of control groups that is gone afterwards, where one can be made."""
    yield name
    groups = find_cgroups(name)
    for root in () if groups is None else groups.roots:
        with suppress(FileNotFoundError, PermissionError):
            (root / name.strip("/")).rmdir()


def before_all(servers: RuncServers, server_id: str) -> None:
    """Let a server's control group and its parent win every processor from what stands beside them."""
    assert servers._cgroups is not None
    for folder in servers._cgroups.folders(servers._group(server_id)):
        for group in (folder, folder.parent):
            for file, most in (("cpu.shares", "262144"), ("cpu.weight", "10000")):
                if (group / file).exists():
                    (group / file).write_text(most)


def used_s(pids: Iterable[int]) -> float:
    """Return the processor time that processes have used, as this host counts it for each of them."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def test_limits_hold_without_control_groups(tmp_path: Path) -> None:
    tool("runc")

    def open_driver() -> RuncServers:
        return RuncServers(tmp_path / "servers", cgroup="")

    assert open_driver().isolation.memory is Limit.PROCESS
    for clause in (limits_memory, limits_processes):
        check(clause, ServersUnderTest(open_driver=open_driver, python=(sys.executable,)))


def test_the_suite_holds_for_an_ordinary_user() -> None:
    tool("runc")
    ran = as_a_user(sys.executable, str(ROOTLESS))
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["broken"] == {}
    assert found["memory"] == "PROCESS"
    assert "no control group can be made" in found["means"]
