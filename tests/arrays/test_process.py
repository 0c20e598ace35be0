"""The array's process and its control socket: starts, ends, and what strangers may say to it."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from arrays.running import RunningArray, wait_until

from nightwell.arrays.embedded import ArrayClient
from nightwell.arrays.port import Array
from nightwell.errors import ConflictError, FormatError, InputError, NightwellError, NotFoundError, UnreachableError
from nightwell.nbd.client import NbdClient


def serve(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nightwell.arrays.embedded", "serve", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_second_process_on_the_directory_is_refused(small: RunningArray) -> None:
    done = serve("--name", "small", "--directory", str(small.directory))
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["ready"] is False
    assert answer["error"]["error"] == "ConflictError"
    assert str(small.process.pid) in answer["error"]["found"]
    assert small.client.volumes() is not None  # the first one goes on, with its socket


def test_a_directory_of_another_array_is_refused(tmp_path: Path) -> None:
    with RunningArray("one", tmp_path) as process:
        process.stop()
    done = serve("--name", "two", "--directory", str(tmp_path))
    assert done.returncode == 1
    assert "'one'" in json.loads(done.stdout)["error"]["found"]


@pytest.mark.parametrize(
    "options",
    [
        ("--name", "a/b", "--directory", "{}"),
        ("--name", "a", "--directory", "/proc/none"),
        ("--name", "a", "--directory", "{}", "--host", "192.0.2.1"),
        ("--name", "a", "--directory", "{}", "--control", "{}/none/x.sock"),
        ("--name", "a", "--directory", "{}", "--tls-ca", "{}/ca.pem"),
    ],
)
def test_a_start_that_cannot_be_is_one_clear_error(options: tuple[str, ...], tmp_path: Path) -> None:
    done = serve(*(option.format(tmp_path) for option in options))
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["error"] == "InputError"
    assert all(error[part] for part in ("subject", "expected", "found", "cause", "next_step"))
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_even_with_clients(ending: signal.Signals, tmp_path: Path) -> None:
    with RunningArray("array", tmp_path) as process:
        process.client.create_volume("v", 100_000)
        with NbdClient.connect(process.client.export("v", writable=True).url) as client:
            client.write(0, b"kept")
            process.process.send_signal(ending)
            assert process._reap() == 0
        record = json.loads((tmp_path / "state.json").read_text())
        assert record["clean"] is True
        assert not (tmp_path / "control.sock").exists()
        process.start()
        assert json.loads((tmp_path / "state.json").read_text())["clean"] is False
        assert process.volume_bytes("v")[:4] == b"kept"


def test_a_restart_takes_the_same_port_and_serves_the_same_exports(tmp_path: Path) -> None:
    with RunningArray("array", tmp_path) as process:
        process.client.create_volume("v", 100_000, owner="run-a")
        export = process.client.export("v", name="e", writable=True, owner="run-a")
        process.kill()  # leaves its socket behind, too
        assert (tmp_path / "control.sock").is_socket()
        process.start()
        assert process.client.exports() == (export,)
        process.stop()
        with socket.create_server(("127.0.0.1", int(export.url.split(":")[2].split("/")[0]))):
            process.start()  # somebody has taken the port: any other will do
            (moved,) = process.client.exports()
            assert moved.url != export.url
            NbdClient.connect(moved.url).close()


def test_the_sockets_and_files_are_the_users_own(small: RunningArray) -> None:
    for name, mode in (("control.sock", 0o600), ("lock", 0o600), ("state.json", 0o600), ("volumes", 0o700)):
        assert stat.S_IMODE((small.directory / name).stat().st_mode) == mode, name


def test_a_control_path_longer_than_the_kernel_takes(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 60) / ("e" * 60)
    with RunningArray("array", directory) as process:
        assert len(process.ready["control"]) > 107
        assert process.client.volumes() == ()


def test_the_client_is_an_array(small: RunningArray) -> None:
    array: Array = small.client
    assert array.name == "small"
    assert array.capabilities.group_split


def test_no_array_at_the_socket(tmp_path: Path) -> None:
    client = ArrayClient(tmp_path / "none.sock", name="gone")
    with pytest.raises(UnreachableError, match="not running") as problem:
        client.volumes()
    assert "gone" in problem.value.subject
    (tmp_path / "none.sock").write_text("a file")
    with pytest.raises(UnreachableError):
        client.volumes()


def test_another_array_at_the_socket(small: RunningArray) -> None:
    with pytest.raises(ConflictError, match="'small'"):
        ArrayClient(small.ready["control"], name="other").volumes()


def test_the_client_outlives_a_restart_of_the_array(tmp_path: Path) -> None:
    with RunningArray("array", tmp_path) as process:
        client = ArrayClient(process.ready["control"])
        client.create_volume("v", 1000)
        process.kill()
        with pytest.raises(UnreachableError):
            client.volumes()
        process.start()
        assert [volume.name for volume in client.volumes()] == ["v"]
        client.close()


def test_errors_cross_the_socket_whole(small: RunningArray) -> None:
    with pytest.raises(NotFoundError) as problem:
        small.client.pair_of("nothing")
    assert problem.value.subject == "volume 'nothing'"
    assert "list the volumes" in problem.value.next_step


def test_many_threads_share_one_client(small: RunningArray) -> None:
    failed: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                name = f"thread-{number}-{turn}"
                small.client.create_volume(name, 1000)
                small.client.export(name, writable=True)
                small.client.withdraw(name)
                small.client.delete_volume(name)
        except NightwellError as problem:
            failed.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert not [volume for volume in small.client.volumes() if volume.name.startswith("thread-")]


def test_a_slow_call_does_not_hold_up_others(small: RunningArray) -> None:
    gate = small.client
    gate.create_volume("slow", 1000)
    idle = socket.socket(socket.AF_UNIX)
    idle.connect(small.ready["control"])  # greets nobody, asks nothing
    assert gate.volumes()
    idle.close()


HOSTILE = [
    b"\n",
    b"not json\n",
    b"{}\n",
    b"[]\n",
    b'"volumes"\n',
    b"null\n",
    b'{"call": "volumes"}\n',
    b'{"call": "volumes", "arguments": {"extra": 1}}\n',
    b'{"call": "volumes", "arguments": {}, "more": 1}\n',
    b'{"call": "__class__", "arguments": {}}\n',
    b'{"call": "close", "arguments": {}}\n',
    b'{"call": 7, "arguments": {}}\n',
    b'{"call": "create_volume", "arguments": {"name": "x", "size_bytes": "1"}}\n',
    b'{"call": "create_volume", "arguments": {"name": "x", "size_bytes": 1.5}}\n',
    b'{"call": "create_volume", "arguments": {"name": "x", "size_bytes": true}}\n',
    b'{"call": "create_volume", "arguments": {"name": "x", "size_bytes": 1e400}}\n',
    b'{"call": "create_volume", "arguments": {"name": "x", "size_bytes": 99999999999999999999999}}\n',
    b'{"call": "create_volume", "arguments": {"name": "../../x", "size_bytes": 1}}\n',
    b'{"call": "create_volume", "arguments": {"name": "x\\u0000", "size_bytes": 1}}\n',
    b'{"call": "create_volume", "arguments": {"name": ["x"], "size_bytes": 1}}\n',
    b'{"call": "split", "arguments": {"primaries": "p"}}\n',
    b'{"call": "split", "arguments": {"primaries": []}}\n',
    b'{"call": "import_volume", "arguments": {"url": "file:///etc/passwd", "name": "x", "writable": false}}\n',
    b"\xff\xfe\x00\n",
    b"[" * 100_000 + b"\n",
    b'{"call": "volumes", "arguments": {}, "call": "close"}\n',
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_lines_are_answered_with_a_named_error(line: bytes, small: RunningArray) -> None:
    with connection(small) as (control, stream):
        control.sendall(line)
        answer = json.loads(stream.readline())
        assert answer["error"]["error"] == "InputError", answer
        control.sendall(b'{"call": "volumes", "arguments": {}}\n')
        assert json.loads(stream.readline())["error"] is None  # the line still works
    assert small.process.poll() is None
    assert "x" not in {volume.name for volume in small.client.volumes()}


@pytest.mark.parametrize("data", [b'{"call": "volumes", "arg', b"x" * (1 << 20) + b"yz\n", b"\xff" * (2 << 20)])
def test_lines_cut_off_or_too_long_end_the_connection(data: bytes, small: RunningArray) -> None:
    with connection(small) as (control, stream):
        try:
            control.sendall(data)
            control.shutdown(socket.SHUT_WR)
            while stream.readline():
                pass
        except OSError:
            pass  # closed before all was sent
    assert small.client.volumes() is not None


@contextmanager
def connection(array: RunningArray) -> Iterator[tuple[socket.socket, socket.SocketIO]]:
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(30)
        control.connect(array.ready["control"])
        with control.makefile("rb") as stream:
            greeting = json.loads(stream.readline())
            assert greeting == {"nightwell_array": 1, "name": "small"}
            yield control, stream  # type: ignore[misc] # a buffered reader, which has readline


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b'{"nightwell_array": 99, "name": "x"}\n', FormatError),
        (b"220 mail.example ESMTP\n", FormatError),
        (b'{"nightwell_array": 1, "name": "x"}\n{"result": 7}\n', FormatError),
        (b'{"nightwell_array": 1, "name": "x"}\nnonsense\n', FormatError),
        (b'{"nightwell_array": 1, "name": "x"}\n', UnreachableError),
        (b"", UnreachableError),
    ],
)
def test_the_client_understands_only_its_array(said: bytes, kind: type[NightwellError], tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(said)
                accepted.shutdown(socket.SHUT_WR)
                while accepted.recv(1000):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        client = ArrayClient(path)
        with pytest.raises(kind):
            client.volumes()
        client.close()
        thread.join()


def test_an_input_error_is_the_callers(small: RunningArray) -> None:
    with pytest.raises(InputError, match="at least one primary"):
        small.client.split([])
    wait_until(lambda: small.client.exports() is not None, "answers")
