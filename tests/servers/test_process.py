"""What only the process driver can be asked: its records, its limits, and crashes of its producer at any point."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from servers.dying_producer import DEAF, close, produced
from servers.dying_producer import crash as crash_at

from nightwell.servers import procfs
from nightwell.servers.port import ServerHandle, ServerSpec
from nightwell.servers.process import MARKER, ProcessServers
from nightwell.servers.record import read_record, write_record

SPEC = ServerSpec("vs-1", "run-1", DEAF, {"TOKEN": "very-secret"})

crash = partial(crash_at, ProcessServers, "os._exit(9)")
PRODUCE_POINTS = [
    ("pathlib.Path:mkdir", 1),
    ("nightwell.servers.process:write_record", 1),
    ("os:fsync", 1),
    ("pathlib.Path:replace", 1),
    ("pathlib.Path:rename", 1),
    ("subprocess:Popen", 1),
    ("nightwell.servers.procfs:identify", 1),
    ("nightwell.servers.process:write_record", 2),
    ("pathlib.Path:replace", 2),
    ("nightwell.servers.process:_limit", 1),
]
DELETE_POINTS = [
    ("nightwell.servers.procfs:send", 1),
    ("nightwell.servers.procfs:send", 2),
    ("nightwell.servers.process:_remove", 1),
    ("nightwell.servers.process:_remove", 2),
    ("pathlib.Path:unlink", 1),
    ("shutil:rmtree", 1),
]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[ProcessServers]:
    driver = ProcessServers(tmp_path / "servers")
    yield driver
    for info in driver.servers():
        driver.delete(info.server_id)
    assert marked(driver) == set()


def marked(driver: ProcessServers) -> set[int]:
    """Every process that any server of this driver left."""
    return {pid for pid, value in procfs.markers(MARKER).items() if value.startswith(driver._marker_prefix)}


@pytest.mark.parametrize("point", PRODUCE_POINTS, ids=lambda point: f"{point[0].rpartition('.')[2]}-{point[1]}")
def test_a_producer_that_dies_anywhere_leaves_what_can_be_listed_and_deleted(
    servers: ProcessServers, point: tuple[str, int]
) -> None:
    assert crash("produce", point, servers._directory) == 9
    before = marked(servers)
    listed = servers.servers()
    # What runs is listed, and what is listed has its run. A program may end of itself while we look.
    assert {info.run_id for info in listed} <= {"run-1"}
    assert any(info.alive for info in listed) in {bool(before), bool(marked(servers))}
    servers.delete("vs-1")
    assert servers.servers() == ()
    assert marked(servers) == set()
    assert [path.name for path in servers._directory.iterdir()] == [".lock"]


@pytest.mark.parametrize("point", DELETE_POINTS, ids=lambda point: f"{point[0].rpartition('.')[2]}-{point[1]}")
def test_a_deleter_that_dies_anywhere_can_be_followed_by_another(
    servers: ProcessServers, point: tuple[str, int]
) -> None:
    handle = produced(servers, SPEC)
    with closing(handle.stdin), closing(handle.stdout):
        handle.stdout.readline()
        assert crash("delete", point, servers._directory) == 9
        assert [info.run_id for info in servers.servers()] == ["run-1"]
        servers.delete("vs-1")
        assert servers.servers() == ()
        assert handle.wait(10) == -9


@pytest.mark.parametrize("change", [{"start_time_ticks": 1}, {"boot_id": "another boot"}])
def test_a_process_that_has_got_the_number_of_ours_is_left_alone(
    servers: ProcessServers, change: dict[str, object]
) -> None:
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        close(produced(servers, replace(SPEC, command=("true",))))
        place = servers._directory / "vs-1"
        record = read_record(place)
        identity = procfs.identify(stranger.pid)
        assert record is not None
        assert identity is not None
        write_record(place, replace(record, process=replace(identity, **change)))  # type: ignore[arg-type]  # of one field
        assert not servers.servers()[0].alive
        servers.delete("vs-1")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_is_known_as_ours_by_its_record_alone(servers: ProcessServers) -> None:
    # A program may wipe its environment, where the marker stands.
    wiping = (sys.executable, "-c", f"import os; os.execve('/bin/sh', ['sh', '-c', {'echo ready; sleep 600'!r}], {{}})")
    handle = produced(servers, replace(SPEC, command=wiping))
    with closing(handle.stdin), closing(handle.stdout):
        handle.stdout.readline()
        assert handle.pid not in marked(servers)
        assert servers.servers()[0].alive
        servers.delete("vs-1")
        assert handle.stdout.read() == b""
        assert handle.wait(10) == -9


def test_nothing_on_disk_holds_the_environment(servers: ProcessServers) -> None:
    handle = produced(servers, SPEC)
    with closing(handle.stdin), closing(handle.stdout):
        handle.stdout.readline()
        place = servers._directory / "vs-1"
        assert place.stat().st_mode & 0o077 == 0
        assert all(b"very-secret" not in path.read_bytes() for path in place.rglob("*") if path.is_file())
        assert b"very-secret" not in Path(f"/proc/{handle.pid}/cmdline").read_bytes()


def test_limits_are_the_specs(servers: ProcessServers) -> None:
    handle = produced(servers, replace(SPEC, memory_bytes=300 << 20, cpus=1))
    with closing(handle.stdin), closing(handle.stdout):
        handle.stdout.readline()
        assert resource.prlimit(handle.pid, resource.RLIMIT_DATA) == (300 << 20, 300 << 20)
        assert resource.prlimit(handle.pid, resource.RLIMIT_CORE) == (0, 0)
        assert len(os.sched_getaffinity(handle.pid)) == 1


def test_the_program_finds_a_home_of_its_own(servers: ProcessServers) -> None:
    text = "import os, json; e = os.environ; print(json.dumps([os.getcwd(), e['HOME'], e['TMPDIR'], sorted(e)]))"
    handle = produced(servers, replace(SPEC, command=(sys.executable, "-c", text)))
    with closing(handle.stdin), closing(handle.stdout):
        where, home, temporary, names = json.loads(handle.stdout.readline())
    assert where == home == temporary == str(servers._directory / "vs-1")
    assert {"TOKEN", "PATH"} <= set(names)
    assert not [name for name in names if name.startswith(("AWS_", "PYTEST", "XDG"))]


def test_of_many_producers_of_one_id_one_server_stays(servers: ProcessServers) -> None:
    handles: list[ServerHandle] = []
    threads = [
        threading.Thread(target=lambda: handles.append(ProcessServers(servers._directory).produce(SPEC)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(handles) == len(threads)
    deadline_s = time.monotonic() + 10
    while len(marked(servers)) > 1:
        assert time.monotonic() < deadline_s
    assert [info.alive for info in servers.servers()] == [True]
    assert sum(handle.wait(0.1) is None for handle in handles) == 1
    for handle in handles:
        close(handle)


def test_a_record_that_cannot_be_read_can_still_be_deleted(servers: ProcessServers) -> None:
    handle = produced(servers, SPEC)
    with closing(handle.stdin), closing(handle.stdout):
        handle.stdout.readline()
        (servers._directory / "vs-1/record.json").write_text('{"format": 2}')
        (info,) = servers.servers()
        assert (info.run_id, info.alive, info.detail) == ("", True, "its record cannot be read")
        servers.delete("vs-1")
        assert handle.wait(10) == -9
        assert servers.servers() == ()
