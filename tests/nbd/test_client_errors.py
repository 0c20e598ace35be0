"""Every way in which a server can fail its client has its own error, and none hangs."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from nbd.serving import Files, Serve

from nightwell.errors import ConflictError, InputError, NightwellError, NotFoundError, UnreachableError
from nightwell.nbd.client import NbdClient, list_exports
from nightwell.nbd.faults import RequestError
from nightwell.nbd.wire import ALLOCATION
from nightwell.testing.nbd import MemoryBackend, MemoryExports


class FailingBackend(MemoryBackend):
    """Raises what it is told to, from reads and writes."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(1 << 20)
        self.error: BaseException | None = error

    def read(self, offset_bytes: int, length_bytes: int) -> bytes | memoryview:
        if self.error is not None:
            raise self.error
        return super().read(offset_bytes, length_bytes)

    def write(self, offset_bytes: int, data: memoryview, *, fua: bool) -> None:
        if self.error is not None:
            raise self.error
        super().write(offset_bytes, data, fua=fua)


class StuckBackend(MemoryBackend):
    """Reads wait until they are released."""

    def __init__(self) -> None:
        super().__init__(1 << 20)
        self.release = threading.Event()

    def read(self, offset_bytes: int, length_bytes: int) -> bytes | memoryview:
        assert self.release.wait(30)
        return super().read(offset_bytes, length_bytes)


def unreachable_error() -> UnreachableError:
    return UnreachableError("array 'far'", expected="an answer", found="none", cause="a cut", next_step="wait")


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (OSError(errno.EIO, "bad disk"), errno.EIO),
        (OSError(errno.EROFS, "read-only"), errno.EPERM),
        (OSError(errno.EDQUOT, "quota"), errno.ENOSPC),
        (OSError(errno.EBADF, "closed"), errno.EIO),
        (OSError("no number"), errno.EIO),
        (unreachable_error(), errno.EIO),
    ],
)
def test_an_error_of_the_backend_reaches_the_client_as_errno_and_the_connection_stays(
    serve: Serve, error: BaseException, number: int
) -> None:
    backend = FailingBackend(error)
    with NbdClient.connect(serve(MemoryExports(v=backend)).url("v")) as client:
        with pytest.raises(RequestError) as caught:
            client.read(0, 4096)
        assert caught.value.errno == number
        assert isinstance(caught.value, OSError)
        assert isinstance(caught.value, NightwellError)
        assert errno.errorcode[number] in str(caught.value)
        with pytest.raises(OSError, match="writing 4096 bytes"):
            client.write(0, bytes(4096))
        backend.error = None
        client.write(0, b"again")
        assert client.read(0, 5) == b"again"


def test_the_servers_own_words_are_in_the_error(serve: Serve) -> None:
    backend = FailingBackend(unreachable_error())
    with (
        NbdClient.connect(serve(MemoryExports(v=backend)).url("v")) as client,
        pytest.raises(RequestError, match="array 'far': none"),
    ):
        client.read(0, 1)


def test_a_defect_of_the_backend_is_logged_and_costs_one_request(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FailingBackend(ZeroDivisionError("a defect"))
    with NbdClient.connect(serve(MemoryExports(v=backend)).url("v")) as client:
        with pytest.raises(RequestError) as caught:
            client.read(0, 1)
        assert caught.value.errno == errno.EIO
        backend.error = None
        assert client.read(0, 1) == b"\0"
    assert "ZeroDivisionError: a defect" in caplog.text


def test_one_refused_piece_of_a_large_write_is_raised_after_all_replies_are_in(serve: Serve) -> None:
    backend = FailingBackend(OSError(errno.ENOSPC, "full"))
    backend.size_bytes = 200 << 20
    with NbdClient.connect(serve(MemoryExports(v=backend)).url("v")) as client:
        with pytest.raises(RequestError):
            client.write(0, bytes(100 << 20))
        client.flush()  # would meet another request's reply if one were left


def test_a_read_only_export_refuses_changes_with_eperm(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "v.ro").write_bytes(b"still")
    with NbdClient.connect(serve(Files(tmp_path)).url("v.ro")) as client:
        assert client.read_only
        changes: list[Callable[[], None]] = [
            lambda: client.write(0, b"x"),
            lambda: client.zero(0, 1),
            lambda: client.trim(0, 1),
        ]
        for change in changes:
            with pytest.raises(RequestError) as caught:
                change()
            assert caught.value.errno == errno.EPERM
        assert client.read(0, 5) == b"still"


@pytest.mark.parametrize(("offset", "length"), [(0, 101), (100, 1), (-1, 1), (1 << 70, 1), (0, -1)])
def test_a_range_outside_the_export_is_refused_before_it_is_sent(serve: Serve, offset: int, length: int) -> None:
    with NbdClient.connect(serve(MemoryExports(v=MemoryBackend(100))).url("v")) as client:
        with pytest.raises(RequestError, match="100 bytes") as caught:
            client.read(offset, length)
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(RequestError):
            client.zero(offset, length)


def test_a_file_cut_shorter_under_the_server_ends_in_an_error_and_never_in_wrong_bytes(
    serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "v"
    path.write_bytes(b"x" * 8192)
    with NbdClient.connect(serve(Files(tmp_path)).url("v")) as client:
        os.truncate(path, 100)
        with pytest.raises(UnreachableError):
            client.read(0, 8192)
    with NbdClient.connect(serve(Files(tmp_path)).url("v"), contexts=[ALLOCATION]) as client:
        os.truncate(path, 10)
        with pytest.raises(RequestError, match="shorter"):
            list(client.extents(ALLOCATION))


def test_an_unknown_export_is_not_found(serve: Serve) -> None:
    with pytest.raises(NotFoundError, match="well-8"):
        NbdClient.connect(serve(MemoryExports(v=MemoryBackend(1))).url("well-8"))


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (ConflictError("v", expected="PAIR", found="COPY", cause="copying", next_step="wait"), ConflictError),
        (unreachable_error(), UnreachableError),
    ],
)
def test_an_export_that_cannot_be_opened_now_says_why(
    serve: Serve, refusal: NightwellError, expected: type[NightwellError]
) -> None:
    class Refusing(MemoryExports):
        def open(self, name: str) -> MemoryBackend:
            raise refusal

    with pytest.raises(expected, match=refusal.found):
        NbdClient.connect(serve(Refusing()).url("v"))


def test_a_context_that_was_not_granted_is_not_found(serve: Serve) -> None:
    with NbdClient.connect(serve(MemoryExports(v=MemoryBackend(1))).url("v")) as client:
        assert client.contexts == frozenset()
        with pytest.raises(NotFoundError, match=ALLOCATION):
            client.extents(ALLOCATION)


def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnreachableError, match="refused"):
        NbdClient.connect(f"nbd://127.0.0.1:{port}/v")
    with pytest.raises(UnreachableError):
        NbdClient.connect(f"nbd+unix:///v?socket={tmp_path}/none")
    with pytest.raises(UnreachableError):
        list_exports("nbd://no-such-host.invalid/")


def test_a_wrong_url_is_an_input_error() -> None:
    with pytest.raises(InputError):
        NbdClient.connect("http://127.0.0.1/v")


def test_a_server_that_says_nothing_is_unreachable_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started_s = time.monotonic()
        with pytest.raises(UnreachableError, match="in time"):
            NbdClient.connect(f"nbd://127.0.0.1:{listener.getsockname()[1]}/v", timeout_s=0.2)
        assert time.monotonic() - started_s < 5


def test_a_request_without_an_answer_is_unreachable_after_the_timeout_and_the_client_is_done(serve: Serve) -> None:
    backend = StuckBackend()
    client = NbdClient.connect(serve(MemoryExports(v=backend)).url("v"), timeout_s=0.2)
    with pytest.raises(UnreachableError, match="in time"):
        client.read(0, 100)
    backend.release.set()
    with pytest.raises(UnreachableError, match="in time"):
        client.write(0, b"x")
    client.close()


def test_a_server_that_does_not_take_what_is_written_is_unreachable_after_the_timeout(serve: Serve) -> None:
    class Deaf(StuckBackend):
        def write(self, offset_bytes: int, data: memoryview, *, fua: bool) -> None:
            assert self.release.wait(30)

    backend = Deaf()
    backend.size_bytes = 256 << 20
    client = NbdClient.connect(serve(MemoryExports(v=backend)).url("v"), timeout_s=0.2)
    with pytest.raises(UnreachableError, match="in time"):
        client.write(0, bytes(128 << 20))
    backend.release.set()


def test_a_connection_cut_between_requests_is_unreachable(serve: Serve) -> None:
    served = serve(MemoryExports(v=MemoryBackend(1 << 20)))
    with NbdClient.connect(served.url("v")) as client:
        served.server.disconnect("v")
        with pytest.raises(UnreachableError):
            client.read(0, 1 << 20)
        with pytest.raises(UnreachableError):
            client.flush()


def test_a_closed_client_is_unreachable_and_closes_again_in_peace(serve: Serve) -> None:
    client = NbdClient.connect(serve(MemoryExports(v=MemoryBackend(1))).url("v"))
    client.close()
    client.close()
    with pytest.raises(UnreachableError, match="was closed"):
        client.read(0, 1)


def test_a_request_error_survives_pickling() -> None:
    error = RequestError("s", number=errno.ENOSPC, expected="e", found="f", cause="c", next_step="n")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, RequestError)
    assert (again.errno, again.as_dict(), str(again)) == (errno.ENOSPC, error.as_dict(), str(error))
