"""An export can be withdrawn for good: its connections end, and no request of it is in flight any more."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from nbd.serving import Serve, eventually

from nightwell.errors import InputError, NotFoundError, UnreachableError
from nightwell.nbd.backend import Backend
from nightwell.nbd.client import NbdClient
from nightwell.nbd.server import NbdServer
from nightwell.testing.nbd import MemoryBackend, MemoryExports


class SlowWrites(MemoryBackend):
    """Writes last until they are released."""

    def __init__(self) -> None:
        super().__init__(4096)
        self.entered = threading.Event()
        self.release = threading.Event()

    def write(self, offset_bytes: int, data: memoryview, *, fua: bool) -> None:
        self.entered.set()
        assert self.release.wait(30)
        super().write(offset_bytes, data, fua=fua)


def test_connections_are_counted_per_export(serve: Serve) -> None:
    served = serve(MemoryExports(one=MemoryBackend(1), two=MemoryBackend(1)))
    with NbdClient.connect(served.url("one")), NbdClient.connect(served.url("one")):
        with NbdClient.connect(served.url("two")):
            assert [served.server.connections(name) for name in ("one", "two", "three")] == [2, 1, 0]
        eventually(lambda: served.server.connections("two") == 0)
    eventually(lambda: served.server.connections("one") == 0)


def test_disconnecting_waits_for_the_request_in_flight_and_leaves_other_exports_alone(serve: Serve) -> None:
    slow, other = SlowWrites(), MemoryBackend(4096)
    table = MemoryExports(slow=slow, other=other)
    served = serve(table)
    with NbdClient.connect(served.url("other")) as bystander:
        client = NbdClient.connect(served.url("slow"))
        writer = threading.Thread(target=_write_until_cut, args=(client,))
        writer.start()
        assert slow.entered.wait(5)
        del table.backends["slow"]
        withdrawal = threading.Thread(target=served.server.disconnect, args=("slow",))
        withdrawal.start()
        writer.join(5)  # the client is cut at once
        assert not writer.is_alive()
        withdrawal.join(0.1)
        assert withdrawal.is_alive()  # but the server's write is still in flight
        assert slow.closed == 0
        slow.release.set()
        withdrawal.join(5)
        assert not withdrawal.is_alive()
        assert slow.closed == 1
        assert served.server.connections("slow") == 0
        assert bystander.read(0, 1) == b"\0"
        with pytest.raises(NotFoundError):
            NbdClient.connect(served.url("slow"))


def _write_until_cut(client: NbdClient) -> None:
    with pytest.raises(UnreachableError):
        client.write(0, b"x" * 4096)


def test_a_client_that_is_just_opening_the_export_is_waited_for_too(serve: Serve) -> None:
    class SlowTable(MemoryExports):
        entered = threading.Event()
        release = threading.Event()

        def open(self, name: str) -> Backend:
            backend = super().open(name)
            self.entered.set()
            assert self.release.wait(30)
            return backend

    backend = MemoryBackend(4096)
    table = SlowTable(v=backend)
    served = serve(table)
    client = threading.Thread(target=_connect_until_cut, args=(served.url("v"),))
    client.start()
    assert table.entered.wait(5)
    del table.backends["v"]
    withdrawal = threading.Thread(target=served.server.disconnect, args=("v",))
    withdrawal.start()
    withdrawal.join(0.1)
    assert withdrawal.is_alive()
    table.release.set()
    withdrawal.join(5)
    client.join(5)
    assert not withdrawal.is_alive()
    assert not client.is_alive()
    assert (backend.opened, backend.closed) == (1, 1)


def _connect_until_cut(url: str) -> None:
    with pytest.raises(UnreachableError):
        NbdClient.connect(url)


def test_no_write_lands_after_a_withdrawal_however_many_clients_press_in(serve: Serve) -> None:
    for _ in range(10):
        backend = MemoryBackend(8)
        table = MemoryExports(v=backend)
        served = serve(table)
        stop = threading.Event()
        writers = [threading.Thread(target=_press, args=(served.url("v"), stop)) for _ in range(4)]
        for writer in writers:
            writer.start()
        eventually(lambda backend=backend: any(backend.data))  # type: ignore[misc]  # bound early on purpose
        del table.backends["v"]
        served.server.disconnect("v")
        backend.data[:] = bytes(8)
        time.sleep(0.02)  # a moment in which a late write would show
        assert not any(backend.data)
        stop.set()
        for writer in writers:
            writer.join(5)


def _press(url: str, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            with NbdClient.connect(url, timeout_s=5) as client:
                while not stop.is_set():
                    client.write(0, b"\x01" * 8)
        except (UnreachableError, NotFoundError):
            continue


def test_stopping_ends_every_connection_and_every_thread() -> None:
    before = threading.active_count()
    server = NbdServer(MemoryExports(v=MemoryBackend(4096)))
    server.start()
    host, port = server.address
    clients = [NbdClient.connect(f"nbd://{host}:{port}/v") for _ in range(5)]
    server.stop()
    server.stop()
    eventually(lambda: threading.active_count() <= before)
    for client in clients:
        with pytest.raises(UnreachableError):
            client.read(0, 1)
    with pytest.raises(UnreachableError, match="refused"):
        NbdClient.connect(f"nbd://{host}:{port}/v")


def test_an_address_in_use_is_an_input_error_and_its_owner_stays(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    served = serve(MemoryExports(v=MemoryBackend(1)), unix_path=path)
    host, port = served.server.address
    with pytest.raises(InputError, match=f"{host}:{port}"):
        NbdServer(MemoryExports(), host=host, port=port).start()
    with pytest.raises(InputError, match="in use"):
        NbdServer(MemoryExports(), unix_path=path).start()
    with NbdClient.connect(f"nbd+unix:///v?socket={path}") as client:
        assert client.size_bytes == 1


def test_a_socket_left_over_from_a_killed_server_is_replaced(serve: Serve, tmp_path: Path) -> None:
    import socket

    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    serve(MemoryExports(v=MemoryBackend(1)), unix_path=path)
    with NbdClient.connect(f"nbd+unix:///v?socket={path}") as client:
        assert client.size_bytes == 1
