"""The whole road over qemu arrays: at the source, at the destination, and at both."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine import MIB, noise, running_machine

from nightwell.arrays.port import PairState
from nightwell.errors import InputError
from nightwell.protocol import BackupMode, Phase
from nightwell.settings import ArrayDriver
from nightwell.store.location import StoreLocation

QEMU, EMBEDDED = ArrayDriver.QEMU, ArrayDriver.EMBEDDED


@pytest.mark.parametrize("drivers", [(QEMU, EMBEDDED), (EMBEDDED, QEMU), (QEMU, QEMU)], ids="-".join)
def test_two_backups_and_a_restore(
    drivers: tuple[ArrayDriver, ArrayDriver], tmp_path: Path, moto_server: StoreLocation
) -> None:
    with running_machine(tmp_path, moto_server, drivers=drivers) as machine:
        machine.make_volume("well", 16 * MIB, data=noise(16 * MIB))
        machine.source_array.create_volume("well-copy", 16 * MIB)
        machine.source_array.create_pair("well", "well-copy")
        first = machine.source.back_up("well")
        before = machine.digest("well")
        machine.write("well", 5 * MIB, noise(MIB))
        second = machine.source.back_up("well")
        for run in (first, second):
            assert run.phase is Phase.DONE, run.failure
            assert run.facts.flag("point_in_time")
        pair = machine.source_array.pair_of("well")
        assert pair is not None
        assert (pair.state, pair.secondary) == (PairState.PAIR, "well-copy")
        assert 0 < second.facts.number("bytes_stored") < 3 * MIB
        # A list of the source array's comes through an import of the embedded array, and not through one of QEMU's.
        assert (second.facts.number("bytes_read") < 8 * MIB) == (drivers[1] is EMBEDDED)
        machine.source_array.create_volume("third", 16 * MIB)
        assert first.version_id
        restored = machine.source.restore("well", first.version_id, "third")
        assert restored.phase is Phase.DONE, restored.failure
        assert machine.digest("third") == before
        assert machine.leftovers() == []


def test_a_secondary_made_for_the_run_is_gone_and_mode_pair_is_refused(
    tmp_path: Path, moto_server: StoreLocation
) -> None:
    with running_machine(tmp_path, moto_server, drivers=(QEMU, EMBEDDED)) as machine:
        machine.make_volume("well", 8 * MIB, data=noise(MIB))
        run = machine.source.back_up("well")
        assert run.phase is Phase.DONE, run.failure
        refused = machine.source.back_up("well", mode=BackupMode.PAIR)
        assert refused.phase is Phase.REVERTED
        assert refused.failure is not None
        assert isinstance(refused.failure.as_error(), InputError)
        assert [volume.name for volume in machine.source_array.volumes()] == ["well"]
        assert machine.source_array.pair_of("well") is None
        assert machine.leftovers() == []
