from __future__ import annotations

import pytest
from mover.rig import Rig

from nightwell.arrays.port import PairState
from nightwell.errors import ConflictError
from nightwell.mover.job import CopyMode


def test_pair_mode_takes_a_pair_that_stays_in_step(rig: Rig) -> None:
    volume = rig.volume()
    volume.fill()
    volume.state = PairState.PAIR
    version = rig.back_up(here=True, mode=CopyMode.PAIR)
    assert (version.mode, version.point_in_time) == ("pair", True)
    assert rig.contents(version) == bytes(volume.data)


def test_a_pair_that_fails_under_the_copy_is_not_committed(rig: Rig) -> None:
    volume = rig.volume()
    volume.fill()
    volume.state = PairState.PAIR

    def fail(reads: int) -> None:
        volume.state = PairState.PSUE

    volume.on_read = fail
    mover = rig.produce_here()
    mover.start(rig.backup_job(mode=CopyMode.PAIR))
    with pytest.raises(ConflictError, match=r"after the copy.*PSUE"):
        mover.wait_copied()
    assert rig.handles[-1].wait(20) == 1
    assert volume.reads > 0
    assert rig.versions() == ()


def test_the_wrong_state_is_refused_before_anything_is_read(rig: Rig) -> None:
    volume = rig.volume()
    volume.state = PairState.PAIR
    mover = rig.produce_here()
    mover.start(rig.backup_job(mode=CopyMode.SPLIT))
    with pytest.raises(ConflictError, match=r"before the copy.*in PSUS.*found state PAIR"):
        mover.wait_copied()
    assert volume.reads == 0
    assert rig.versions() == ()


def test_direct_mode_says_that_somebody_wrote_meanwhile(rig: Rig) -> None:
    volume = rig.volume()
    volume.fill()
    volume.state = PairState.SMPL

    def write(reads: int) -> None:
        volume.generation += 1

    volume.on_read = write
    version = rig.back_up(here=True, mode=CopyMode.DIRECT)
    assert (version.mode, version.point_in_time) == ("direct", False)
    volume.on_read = lambda _: None
    assert rig.back_up(here=True, mode=CopyMode.DIRECT).point_in_time


def test_direct_mode_of_an_array_that_does_not_tell_promises_nothing(rig: Rig) -> None:
    volume = rig.volume()
    volume.fill()
    volume.state = None
    version = rig.back_up(here=True, mode=CopyMode.DIRECT)
    assert not version.point_in_time
    assert rig.contents(version) == bytes(volume.data)
