from __future__ import annotations

from pathlib import Path

import pytest
from mover.rig import BLOCK_BYTES, SIZE_BYTES, VOLUME, PairedVolume, Rig

from nightwell.errors import ConflictError, InputError, IntegrityError, NotFoundError
from nightwell.mover.events import Written
from nightwell.mover.job import TlsPaths
from nightwell.nbd.certificates import make_certificates
from nightwell.nbd.server import NbdServer
from nightwell.store import Version


def backed_up(rig: Rig) -> tuple[PairedVolume, Version]:
    volume = rig.volume()
    volume.fill()
    return volume, rig.back_up(here=True)


def restore(rig: Rig, version: Version) -> Written:
    mover = rig.produce()
    mover.start(rig.restore_job(version))
    written = mover.wait_restored()
    mover.wait_verified()
    assert rig.process.wait(20) == 0
    return written


def test_a_version_comes_back_and_what_lies_beyond_it_stays(rig: Rig) -> None:
    volume, version = backed_up(rig)
    target = rig.volume("third", SIZE_BYTES + 10_000, read_only=False)
    target.data[:] = b"\xa5" * target.size_bytes
    written = restore(rig, version)
    assert target.data[:SIZE_BYTES] == volume.data
    assert target.data[SIZE_BYTES:] == b"\xa5" * 10_000
    assert written.bytes_written == version.statistics.blocks_stored * BLOCK_BYTES
    assert written.bytes_written + written.bytes_zeroed == SIZE_BYTES
    assert target.flushed > 0


def test_targets_that_cannot_take_it_are_refused_before_any_write(rig: Rig) -> None:
    _, version = backed_up(rig)
    small = rig.volume("small", SIZE_BYTES - 1, read_only=False)
    fixed = rig.volume("fixed")
    for name, error in (("small", InputError), ("fixed", ConflictError), ("absent", NotFoundError)):
        mover = rig.produce_here()
        mover.start(rig.restore_job(version, url=rig.url(name)))
        with pytest.raises(error):
            mover.wait_restored()
        assert rig.handles[-1].wait(20) == 1
    assert not any(small.data)
    assert not any(fixed.data)


def test_a_version_that_is_not_there_is_said_so(rig: Rig) -> None:
    _, version = backed_up(rig)
    rig.volume("third", read_only=False)
    mover = rig.produce_here()
    mover.start(rig.restore_job(version, version_id="0000"))
    with pytest.raises(NotFoundError, match="0000"):
        mover.wait_restored()


class Forgetful(PairedVolume):
    """Loses every write to the first block."""

    def write(self, offset_bytes: int, data: memoryview, *, fua: bool) -> None:
        super().write(offset_bytes, data, fua=fua)
        if offset_bytes == 0:
            self.data[:BLOCK_BYTES] = bytes(BLOCK_BYTES)


def test_a_target_that_loses_a_write_is_found_out(rig: Rig) -> None:
    _, version = backed_up(rig)
    rig.exports.backends["third"] = Forgetful(read_only=False)
    mover = rig.produce_here()
    mover.start(rig.restore_job(version))
    mover.wait_restored()
    with pytest.raises(IntegrityError, match="1 blocks that differ, numbers 0 "):
        mover.wait_verified()


def test_both_ways_over_tls(rig: Rig, tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    client = TlsPaths(made.client.ca, made.client.certificate, made.client.key)
    volume = rig.volume()
    volume.fill()
    target = rig.volume("third", read_only=False)
    server = NbdServer(rig.exports, tls=made.server)
    server.start()
    base = "nbds://{}:{}".format(*server.address)
    try:
        version = rig.back_up(url=f"{base}/{VOLUME}", tls=client)
        mover = rig.produce()
        mover.start(rig.restore_job(version, url=f"{base}/third", tls=client))
        mover.wait_restored()
        mover.wait_verified()
        assert rig.process.wait(20) == 0
    finally:
        server.stop()
    assert target.data == volume.data
