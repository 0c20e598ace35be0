"""What a mover says when the store or the array cannot be used; nothing is changed by any of it."""

from __future__ import annotations

import errno
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from mover.rig import Rig, address_of
from s3 import fresh_prefix

from nightwell.errors import (
    CredentialsError,
    InputError,
    NightwellError,
    NotFoundError,
    SettingsError,
    UnreachableError,
)
from nightwell.local.process import free_port
from nightwell.mover.job import encode_job
from nightwell.servers.process import ProcessServers
from nightwell.store import BackupStore, StoreLocation


def refusal(rig: Rig) -> NightwellError:
    """What a mover on a thread says of a backup of this rig."""
    rig.volume().fill()
    mover = rig.produce_here()
    mover.start(rig.backup_job(store=address_of(rig.location)))
    with pytest.raises(NightwellError) as raised:
        mover.wait_copied()
    assert rig.handles[-1].wait(20) == 1
    return raised.value


def test_wrong_credentials(seaweed: StoreLocation, tmp_path: Path) -> None:
    right = fresh_prefix(seaweed)
    BackupStore.open(right, create=True).close()
    rig = Rig(replace(right, secret_key="mistyped"), ProcessServers(tmp_path / "servers"))
    try:
        rig.volume().fill()
        mover = rig.produce()
        mover.start(rig.backup_job())
        with pytest.raises(CredentialsError) as raised:
            mover.wait_copied()
        assert rig.process.wait(20) == 1
        for text in (str(raised.value), rig.process.read_errors()):
            assert "mistyped" not in text
    finally:
        rig.close()


def test_no_credentials_at_all(rig: Rig) -> None:
    rig.location = replace(rig.location, secret_key="")
    assert type(refusal(rig)) is SettingsError


def test_a_store_where_nobody_answers(rig: Rig) -> None:
    rig.location = replace(rig.location, endpoint_url=f"http://127.0.0.1:{free_port()}")
    assert type(refusal(rig)) is UnreachableError


def test_a_bucket_that_is_missing(rig: Rig) -> None:
    rig.location = replace(rig.location, bucket="elsewhere")
    assert type(refusal(rig)) is NotFoundError


@pytest.mark.parametrize(
    ("url", "error"),
    [("nbd://127.0.0.1:{free}/well-7", UnreachableError), ("{served}/other", NotFoundError), ("http://x", InputError)],
)
def test_an_array_that_does_not_serve_it(rig: Rig, url: str, error: type[NightwellError]) -> None:
    rig.volume()
    mover = rig.produce_here()
    mover.start(rig.backup_job(url=url.format(free=free_port(), served=rig.url("x").rpartition("/")[0])))
    with pytest.raises(error) as raised:
        mover.wait_copied()
    assert type(raised.value) is error
    assert rig.versions() == ()


def test_an_array_that_fails_a_read(rig: Rig) -> None:
    volume = rig.volume()
    volume.fill()

    def fail(reads: int) -> None:
        raise OSError(errno.EIO, "a disk is broken")

    volume.on_read = fail
    mover = rig.produce_here()
    mover.start(rig.backup_job())
    with pytest.raises(NightwellError, match=r"reading .* bytes at"):
        mover.wait_copied()
    assert rig.versions() == ()


def test_an_array_that_goes_away_during_the_copy(rig: Rig) -> None:
    volume = rig.volume()
    volume.fill()
    volume.on_read = lambda reads: threading.Thread(target=rig.server.stop).start() if reads == 0 else None
    mover = rig.produce_here()
    mover.start(rig.backup_job())
    with pytest.raises(UnreachableError):
        mover.wait_copied()
    assert rig.versions() == ()


@pytest.mark.parametrize("line", [b"[1]\n", b"no json\n", b'{"format": 1, "job": "backup", "fields": {}}\n'])
def test_what_is_no_job(rig: Rig, line: bytes) -> None:
    mover = rig.produce_here()
    mover._say(line)
    with pytest.raises(InputError, match="the mover's job"):
        mover.wait_copied()


def test_what_is_no_leave(rig: Rig) -> None:
    rig.volume().fill()
    mover = rig.produce_here()
    mover.start(rig.backup_job())
    mover.wait_copied()
    mover._say(encode_job(rig.backup_job()))
    with pytest.raises(InputError, match="the line 'commit'"):
        mover.wait_copied()
    assert rig.versions() == ()
