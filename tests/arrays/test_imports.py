"""Line 1: the destination array's import lives through cuts, restarts and silence, or fails within its stall."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from arrays.proxy import Line
from arrays.running import RunningArray, wait_state, wait_until

from nightwell.arrays.embedded import imports
from nightwell.arrays.embedded.imports import ImportedVolume
from nightwell.arrays.port import Export, PairState
from nightwell.arrays.served import ImportRecord
from nightwell.errors import ConflictError, CredentialsError, InputError, NightwellError, NotFoundError
from nightwell.nbd.certificates import make_certificates
from nightwell.nbd.client import NbdClient
from nightwell.nbd.faults import RequestError
from nightwell.nbd.tls import TlsFiles
from nightwell.nbd.wire import CHANGED, PAIR

MIB = 1 << 20
SIZE_BYTES = 8 * MIB + 777
STALL_S = 2.0


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningArray, RunningArray]]:
    directory = tmp_path_factory.mktemp("line")
    with (
        RunningArray("source", directory / "source") as source,
        RunningArray("destination", directory / "destination", "--stall", str(STALL_S)) as destination,
    ):
        source.client.create_volume("v", SIZE_BYTES)
        with NbdClient.connect(source.client.export("v", writable=True).url) as client:
            client.write(0, os.urandom(SIZE_BYTES))
        yield source, destination


def port_of(array: RunningArray) -> int:
    return int(array.ready["nbd"].rsplit(":", 1)[1])


@pytest.fixture
def line(arrays: tuple[RunningArray, RunningArray]) -> Iterator[Line]:
    with Line(port_of(arrays[0])) as line:
        yield line


@pytest.fixture
def attached(arrays: tuple[RunningArray, RunningArray], line: Line, request: pytest.FixtureRequest) -> Iterator[Export]:
    name = request.node.name.replace("[", "-").rstrip("]")[:100]
    yield arrays[1].client.import_volume(f"nbd://127.0.0.1:{line.port}/v", name=name, writable=True)
    arrays[1].client.release(name)


def test_a_cut_line_is_a_stall(arrays: tuple[RunningArray, RunningArray], line: Line, attached: Export) -> None:
    expected = arrays[0].volume_bytes("v")
    with NbdClient.connect(attached.url) as client:
        assert client.read(0, MIB) == expected[:MIB]
        for round_number in range(3):
            line.cut()
            threading.Timer(0.3, line.mend).start()
            start = time.monotonic()
            offset = round_number * MIB
            assert client.read(offset, 2 * MIB) == expected[offset : offset + 2 * MIB]
            assert 0.2 < time.monotonic() - start < STALL_S + 1
    log = (arrays[1].directory / "log").read_text()
    assert f"import {attached.name}: the line is cut" in log
    assert f"import {attached.name}: the line is back after" in log


def test_a_line_cut_for_good_is_eio_within_the_stall_and_works_again_later(
    arrays: tuple[RunningArray, RunningArray], line: Line, attached: Export
) -> None:
    with NbdClient.connect(attached.url) as client:
        client.read(0, 1)
        line.cut()
        start = time.monotonic()
        with pytest.raises(RequestError) as problem:
            client.read(0, 4096)
        assert problem.value.errno == errno.EIO
        assert STALL_S / 2 < time.monotonic() - start < STALL_S + 2
        line.mend()
        assert client.read(0, 4096) == arrays[0].volume_bytes("v")[:4096]


def test_a_silent_line_is_noticed_within_the_stall(line: Line, attached: Export) -> None:
    with NbdClient.connect(attached.url) as client:
        client.read(0, 1)
        line.hold()
        start = time.monotonic()
        with pytest.raises(RequestError) as problem:
            client.read(0, 4096)
        assert problem.value.errno == errno.EIO
        assert time.monotonic() - start < 2 * STALL_S + 2
        line.go_on()


def test_writes_across_cuts_arrive_whole(
    arrays: tuple[RunningArray, RunningArray], line: Line, attached: Export
) -> None:
    stop = threading.Event()

    def cut_and_mend() -> None:
        while not stop.wait(0.2):
            line.cut()
            line.mend()

    data = os.urandom(SIZE_BYTES)
    cutter = threading.Thread(target=cut_and_mend)
    cutter.start()
    try:
        with NbdClient.connect(attached.url) as client:
            for offset in range(0, SIZE_BYTES, 50_000):
                client.write(offset, data[offset : offset + 50_000])
                time.sleep(0.005)
            client.flush()
    finally:
        stop.set()
        cutter.join()
    assert line.connected > 3
    assert arrays[0].volume_bytes("v") == data


def test_a_release_does_not_wait_for_a_dead_line(
    arrays: tuple[RunningArray, RunningArray], line: Line, tmp_path: Path
) -> None:
    destination = arrays[1].client
    attached = destination.import_volume(f"nbd://127.0.0.1:{line.port}/v", name="dead", writable=False)
    failed: list[Exception] = []

    def read() -> None:
        try:
            with NbdClient.connect(attached.url) as client:
                client.read(0, 1)
                line.cut()
                client.read(0, 4096)
        except (NightwellError, OSError) as problem:
            failed.append(problem)

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: not line._up, "a cut line")
    start = time.monotonic()
    destination.release("dead")
    assert time.monotonic() - start < STALL_S
    reader.join()
    assert failed


def test_an_answer_under_way_ends_with_its_import(
    arrays: tuple[RunningArray, RunningArray], line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over a line so slow that the rest of the answer would take minutes."""
    monkeypatch.setattr(imports, "SILENCE_S", 600.0)
    record = ImportRecord("slow", f"nbd://127.0.0.1:{line.port}/v", writable=False, size_bytes=SIZE_BYTES, owner=None)
    volume = ImportedVolume(record, tls=None, stall_s=600.0)
    backend = volume.open()
    line.hold()
    failed: list[BaseException] = []

    def read() -> None:
        try:
            backend.read(0, MIB)
        except OSError as error:
            failed.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    wait_until(lambda: bool(volume._busy), "a request under way")
    volume.interrupt()
    reader.join(60.0)
    assert not reader.is_alive()
    assert failed
    volume.close()
    line.go_on()


def test_the_source_array_is_killed_and_comes_back(arrays: tuple[RunningArray, RunningArray], tmp_path: Path) -> None:
    destination = arrays[1].client
    with RunningArray("killed", tmp_path) as source:
        for name in ("p", "s"):
            source.client.create_volume(name, SIZE_BYTES)
        data = os.urandom(SIZE_BYTES)
        with NbdClient.connect(source.client.export("p", writable=True).url) as client:
            client.write(0, data)
        source.client.create_pair("p", "s")
        wait_state(source.client, "p", PairState.PAIR)
        source.client.split(["p"])
        url = source.client.export("s", writable=False).url
        attached = destination.import_volume(url, name="killed", writable=False)
        with NbdClient.connect(attached.url, contexts=[PAIR, CHANGED]) as client:
            assert client.read(0, MIB) == data[:MIB]
            before = next(client.extents(PAIR)).flags
            source.kill()
            back = threading.Thread(target=source.start)
            back.start()
            read = bytearray()
            while len(read) < SIZE_BYTES:
                try:
                    read += client.read(len(read), min(MIB, SIZE_BYTES - len(read)))
                except RequestError:  # the start took longer than the stall, on a busy machine
                    back.join()
            back.join()
            assert bytes(read) == data
            after = next(client.extents(PAIR)).flags
        assert (before & 0xFF, after & 0xFF) == (3, 3)
        assert before != after  # a restart shows in the generation
        destination.release("killed")


def test_the_destination_array_keeps_its_imports_over_a_restart(
    arrays: tuple[RunningArray, RunningArray], tmp_path: Path
) -> None:
    url = arrays[0].client.exports()[0].url
    with RunningArray("restarted", tmp_path) as destination:
        attached = destination.client.import_volume(url, name="kept", writable=False, owner="run-a")
        destination.kill()
        destination.start()
        assert destination.client.exports() == (attached,)
        with NbdClient.connect(attached.url) as client:
            assert client.read(0, 4096) == arrays[0].volume_bytes("v")[:4096]
        destination.client.release("kept", owner="run-a")
        assert destination.client.exports() == ()


def test_an_export_that_has_changed_its_size_is_not_served_as_the_old_one(
    arrays: tuple[RunningArray, RunningArray],
) -> None:
    source, destination = arrays[0].client, arrays[1].client
    source.create_volume("g", 1000)
    attached = destination.import_volume(source.export("g", writable=False).url, name="grown", writable=False)
    source.grow_volume("g", 2000)
    with pytest.raises(ConflictError, match="2000 bytes"):
        NbdClient.connect(attached.url)
    destination.release("grown")
    source.delete_volume("g")


def test_what_is_withdrawn_over_there_is_eio_here_at_once(arrays: tuple[RunningArray, RunningArray]) -> None:
    source, destination = arrays[0].client, arrays[1].client
    source.create_volume("w", 1000)
    attached = destination.import_volume(source.export("w", writable=False).url, name="w-there", writable=False)
    with NbdClient.connect(attached.url) as client:
        client.read(0, 10)
        source.withdraw("w")
        start = time.monotonic()
        with pytest.raises(RequestError):
            client.read(0, 10)
        assert time.monotonic() - start < STALL_S
    with pytest.raises(NotFoundError):
        NbdClient.connect(attached.url)
    destination.release("w-there")


def test_exports_and_imports_are_not_mixed_up(arrays: tuple[RunningArray, RunningArray]) -> None:
    source, destination = arrays[0].client, arrays[1].client
    destination.import_volume(source.exports()[0].url, name="mixed", writable=False)
    with pytest.raises(ConflictError, match="release it"):
        destination.withdraw("mixed")
    with pytest.raises(ConflictError, match="withdraw it"):
        source.release("v")
    destination.release("mixed")


def options(prefix: str, files: TlsFiles) -> tuple[str, ...]:
    return (
        *(f"--{prefix}-ca", str(files.ca)),
        *(f"--{prefix}-certificate", str(files.certificate)),
        *(f"--{prefix}-key", str(files.key)),
    )


def test_tls_on_line_1_is_verified_from_both_sides(arrays: tuple[RunningArray, RunningArray], tmp_path: Path) -> None:
    ours, theirs = make_certificates(tmp_path / "ours"), make_certificates(tmp_path / "theirs")
    with (
        RunningArray("secure", tmp_path / "a", *options("tls", ours.server)) as source,
        RunningArray("trusted", tmp_path / "b", *options("line-tls", ours.client)) as trusted,
        RunningArray("stranger", tmp_path / "c", *options("line-tls", theirs.client)) as stranger,
    ):
        source.client.create_volume("v", 100_000)
        export = source.client.export("v", writable=True)
        assert export.url.startswith("nbds://")
        with pytest.raises(InputError):
            NbdClient.connect(export.url)
        attached = trusted.client.import_volume(export.url, name="v", writable=True)
        with NbdClient.connect(attached.url) as far, NbdClient.connect(export.url, tls=ours.client) as near:
            far.write(70_000, b"over TLS")
            assert near.read(70_000, 8) == b"over TLS"
        with pytest.raises(CredentialsError):
            stranger.client.import_volume(export.url, name="v", writable=True)
        with pytest.raises(InputError):
            arrays[1].client.import_volume(export.url, name="plain", writable=True)
        with pytest.raises(CredentialsError):
            NbdClient.connect(export.url.replace("nbds", "nbd"))
