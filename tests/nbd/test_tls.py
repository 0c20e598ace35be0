"""TLS with both sides verified: only who holds a certificate of the CA learns anything."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from nbd.raw import RawClient, info_query
from nbd.serving import Files, Serve, Served, eventually

from nightwell.errors import CredentialsError, InputError, NotFoundError, UnreachableError
from nightwell.nbd import wire
from nightwell.nbd.certificates import CertificateSet, make_certificates
from nightwell.nbd.client import NbdClient, list_exports
from nightwell.nbd.server import NbdServer
from nightwell.nbd.tls import TlsFiles, client_context, server_context
from nightwell.nbd.wire import ALLOCATION, Option, Reply
from nightwell.testing.nbd import MemoryBackend, MemoryExports

SIZE = (40 << 20) + 7


@pytest.fixture(scope="module")
def backend() -> MemoryBackend:
    return MemoryBackend(SIZE)


@pytest.fixture(scope="module")
def served(certificates: CertificateSet, backend: MemoryBackend) -> Iterator[Served]:
    server = NbdServer(MemoryExports(v=backend), tls=certificates.server)
    server.start()
    yield Served(server, secure=True)
    server.stop()


def test_reads_and_writes_go_through_tls(served: Served, backend: MemoryBackend, certificates: CertificateSet) -> None:
    data = random.Random(3).randbytes(SIZE)
    assert served.url("v").startswith("nbds://")
    with NbdClient.connect(served.url("v"), contexts=[ALLOCATION], tls=certificates.client) as client:
        client.write(0, data)
        assert backend.data == data
        assert client.read(0, SIZE) == data
        client.zero(100, 1 << 20)
        assert [extent.flags for extent in client.extents(ALLOCATION)] == [0, 3, 0]
        client.flush()


def test_a_file_is_read_through_tls_without_the_fast_path(
    serve: Serve, certificates: CertificateSet, tmp_path: Path
) -> None:
    (tmp_path / "v").write_bytes(b"through a file")
    url = serve(Files(tmp_path), tls=certificates.server).url("v")
    with NbdClient.connect(url, tls=certificates.client) as client:
        assert client.read(8, 6) == b"a file"


def test_exports_are_listed_and_unknown_ones_not_found(served: Served, certificates: CertificateSet) -> None:
    assert list_exports(served.url(""), certificates.client) == ("v",)
    with pytest.raises(NotFoundError):
        NbdClient.connect(served.url("x"), tls=certificates.client)


def test_a_plain_client_is_refused_and_told_why(served: Served) -> None:
    plain = served.url("v").replace("nbds://", "nbd://")
    with pytest.raises(CredentialsError, match="only over TLS"):
        NbdClient.connect(plain)
    with pytest.raises(CredentialsError, match="only over TLS"):
        list_exports(plain)


def test_before_tls_nothing_is_told(served: Served) -> None:
    options = [Option.LIST, Option.INFO, Option.GO, Option.STRUCTURED_REPLY, Option.LIST_META_CONTEXT, 77]
    with RawClient(served) as client:
        for option in options:
            assert [kind for kind, _ in client.ask(option, info_query("v"))] == [Reply.ERR_TLS_REQD]
        client.send(wire.pack_option(Option.EXPORT_NAME, b"v"))
        assert client.closed()


def test_bytes_sent_ahead_of_tls_are_not_taken_as_options(served: Served) -> None:
    with RawClient(served) as client:
        client.send(wire.pack_option(Option.STARTTLS) + wire.pack_option(Option.LIST))
        assert client.receive(20) == wire.pack_option_reply(Option.STARTTLS, Reply.ACK)
        # What follows is read as a TLS handshake, which it is not: an alert may come, a list of exports never.
        rest = b""
        while piece := _piece(client):
            rest += piece
        assert b"v" not in rest[7:]


def _piece(client: RawClient) -> bytes:
    try:
        return client.sock.recv(4096)
    except ConnectionResetError:
        return b""


def test_a_certificate_of_another_ca_is_refused_by_either_side(
    served: Served, certificates: CertificateSet, tmp_path: Path
) -> None:
    other = make_certificates(tmp_path / "other")
    with pytest.raises(CredentialsError):  # the client does not trust the server
        NbdClient.connect(served.url("v"), tls=other.client)
    with pytest.raises(CredentialsError):  # the server does not trust the client
        NbdClient.connect(served.url("v"), tls=replace(other.client, ca=certificates.client.ca))
    with NbdClient.connect(served.url("v"), tls=certificates.client) as client:
        assert client.size_bytes == SIZE


def test_a_server_certificate_for_another_host_is_refused(serve: Serve, tmp_path: Path) -> None:
    elsewhere = make_certificates(tmp_path / "elsewhere", hosts=("array.example",))
    served = serve(MemoryExports(v=MemoryBackend(1)), tls=elsewhere.server)
    with pytest.raises(CredentialsError):
        NbdClient.connect(served.url("v"), tls=elsewhere.client)


def test_an_expired_certificate_of_our_own_is_named_with_its_date(tmp_path: Path) -> None:
    expired = make_certificates(tmp_path / "expired", lifetime=timedelta(minutes=-1))
    for context, files in ((server_context, expired.server), (client_context, expired.client)):
        with pytest.raises(CredentialsError) as raised:
            context(files)
        said = re.sub(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", str(raised.value))
        assert said == (
            f"TLS certificate '{files.certificate}': expected a certificate that is valid now; found one that "
            "expired on DATE UTC. Likely cause: it was not renewed in time, or this host's clock is wrong. Next "
            "step: put a new certificate and its key there, then start the array or the run again."
        )


def test_a_certificate_of_the_other_side_that_expires_while_it_serves_is_named(serve: Serve, tmp_path: Path) -> None:
    brief = make_certificates(tmp_path / "brief", lifetime=timedelta(seconds=3))
    url = serve(MemoryExports(v=MemoryBackend(1)), tls=brief.server).url("v")
    lasting = make_certificates(tmp_path / "lasting")
    files = replace(lasting.client, ca=brief.client.ca)
    eventually(lambda: _refusal(url, files) is not None, within_s=30.0)
    assert _refusal(url, files) == (
        f"NBD export '{url}': expected a certificate of the other side that is valid now; found "
        "CERTIFICATE_VERIFY_FAILED: certificate has expired. Likely cause: the certificate of the array that "
        "serves the export, or of its CA, has expired. Next step: make a new certificate for that array and "
        "start it again with it; compare both hosts' clocks."
    )


def _refusal(url: str, files: TlsFiles) -> str | None:
    """Return why the client does not trust the server; a server that does not trust the client is no such refusal."""
    with pytest.raises(CredentialsError) as raised:
        NbdClient.connect(url, tls=files)
    return str(raised.value) if "VERIFY_FAILED" in raised.value.found else None


def test_a_server_without_tls_is_not_talked_to_in_the_clear(serve: Serve, certificates: CertificateSet) -> None:
    plain = serve(MemoryExports(v=MemoryBackend(1)))
    for scheme in ("nbd", "nbds"):
        url = plain.url("v").replace("nbd://", f"{scheme}://")
        with pytest.raises(CredentialsError, match="without TLS"):
            NbdClient.connect(url, tls=certificates.client)


def test_an_nbds_address_needs_the_files(served: Served) -> None:
    with pytest.raises(InputError, match="TLS files"):
        NbdClient.connect(served.url("v"))


def test_tls_over_a_unix_socket_verifies_localhost(serve: Serve, certificates: CertificateSet, tmp_path: Path) -> None:
    serve(MemoryExports(v=MemoryBackend(9)), unix_path=tmp_path / "s", tls=certificates.server)
    with NbdClient.connect(f"nbds+unix:///v?socket={tmp_path}/s", tls=certificates.client) as client:
        assert client.read(0, 9) == bytes(9)


def test_a_cut_tls_connection_is_unreachable(serve: Serve, certificates: CertificateSet) -> None:
    served = serve(MemoryExports(v=MemoryBackend(9)), tls=certificates.server)
    with NbdClient.connect(served.url("v"), tls=certificates.client) as client:
        served.server.disconnect("v")
        with pytest.raises(UnreachableError):
            client.read(0, 9)


def test_a_client_that_hangs_in_the_tls_handshake_is_cut_at_the_deadline(
    serve: Serve, certificates: CertificateSet
) -> None:
    served = serve(MemoryExports(v=MemoryBackend(9)), tls=certificates.server, handshake_s=0.3)
    with RawClient(served) as client:
        client.send(wire.pack_option(Option.STARTTLS))
        client.receive(20)
        assert client.closed()


@pytest.mark.parametrize("which", ["ca", "certificate", "key"])
def test_a_missing_or_broken_file_is_named(certificates: CertificateSet, tmp_path: Path, which: str) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("not a certificate")
    for path in (tmp_path / "missing.pem", broken):
        with pytest.raises(InputError, match="TLS file"):
            NbdServer(MemoryExports(), tls=replace(certificates.server, **{which: path}))


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    made = make_certificates(tmp_path)  # again: the old set is replaced
    for files in (made.server, made.client):
        assert files.key.stat().st_mode & 0o777 == 0o600
