from __future__ import annotations

from mover.rig import BLOCK_BYTES, SIZE_BYTES, Rig, changed_blocks

BLOCKS = SIZE_BYTES // BLOCK_BYTES
HOLE_BLOCKS = BLOCKS // 4 + 1


def test_a_full_backup_holds_the_bytes_and_does_not_read_holes(rig: Rig) -> None:
    volume = rig.volume()
    volume.fill()
    version = rig.back_up(split_id="split-1")
    assert rig.contents(version) == bytes(volume.data)
    assert rig.versions() == (version,)
    counted = version.statistics
    assert counted.blocks_total == BLOCKS
    assert counted.blocks_stored == BLOCKS - HOLE_BLOCKS
    # What is known zero is not read, but for samples.
    assert counted.blocks_read == BLOCKS - HOLE_BLOCKS + counted.hint_samples
    assert (version.point_in_time, version.split_id, version.mode) == (True, "split-1", "split")


def test_a_change_list_from_the_parents_split_spares_the_reading(rig: Rig) -> None:
    volume = rig.volume()
    volume.fill()
    rig.back_up(here=True, split_id="split-1")
    volume.data[5 * BLOCK_BYTES] ^= 1
    volume.data[300 * BLOCK_BYTES : 301 * BLOCK_BYTES] = bytes(BLOCK_BYTES)  # becomes a hole
    volume.changed = changed_blocks(5, 300)
    version = rig.back_up(split_id="split-2", previous_split_id="split-1")
    assert rig.contents(version) == bytes(volume.data)
    assert version.statistics.blocks_stored == 1
    assert version.statistics.blocks_read == 1 + version.statistics.hint_samples
    assert version.statistics.hint_violations == 0


def test_a_change_list_that_counts_from_elsewhere_is_not_used(rig: Rig) -> None:
    volume = rig.volume()
    volume.fill()
    rig.back_up(here=True, split_id="split-1")
    volume.data[5 * BLOCK_BYTES] ^= 1
    volume.changed = changed_blocks()  # nothing changed since some other split
    version = rig.back_up(here=True, split_id="split-9", previous_split_id="split-8")
    assert rig.contents(version) == bytes(volume.data)
    assert version.statistics.blocks_read >= BLOCKS - HOLE_BLOCKS
