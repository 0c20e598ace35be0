"""The whole road on real parts: arrays, virtual server, mover, store; and nothing is left behind."""

from __future__ import annotations

import threading

import pytest
from machine import MIB, Machine, noise

from nightwell.arrays.port import PairState
from nightwell.errors import BusyError, ConflictError, InputError, NotFoundError
from nightwell.nbd.client import NbdClient
from nightwell.protocol import BackupMode, Phase, Run, Step


def version_digest(machine: Machine, run: Run) -> str:
    """Restore a run's version to a new third volume and return the digest of its bytes."""
    size_bytes = next(v.size_bytes for v in machine.source_array.volumes() if v.name == run.volume)
    machine.make_volume(f"third-{run.run_id}", size_bytes, data=noise(MIB))
    assert run.version_id
    restored = machine.source.restore(run.volume, run.version_id, f"third-{run.run_id}")
    assert restored.phase is Phase.DONE, restored.failure
    return machine.digest(f"third-{run.run_id}")


def test_a_secondary_made_for_the_run_is_gone_afterwards(machine: Machine) -> None:
    machine.make_volume("well", 24 * MIB, data=noise(9 * MIB))
    before = machine.digest("well")
    run = machine.source.back_up("well")
    assert run.phase is Phase.DONE, run.failure
    assert machine.leftovers() == []
    assert machine.source_array.pair_of("well") is None
    assert [v.name for v in machine.source_array.volumes()] == ["well"]
    assert version_digest(machine, run) == before
    assert machine.leftovers() == []


def test_the_version_stands_at_the_split_while_the_host_writes(machine: Machine) -> None:
    url = machine.make_volume("well", 16 * MIB, data=noise(8 * MIB))
    stop = threading.Event()
    written = threading.Event()

    def write() -> None:
        with NbdClient.connect(url) as host:
            number = 0
            while not stop.is_set():
                number += 1
                # One sequence over the volume: a version that holds n and lacks n-1 is torn.
                host.write((number * 37 % 4096) * 4096, number.to_bytes(8, "big") * 512)
                written.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(10)
        run = machine.source.back_up("well")
    finally:
        stop.set()
        writer.join()
    assert run.phase is Phase.DONE, run.failure
    assert run.facts.flag("point_in_time")
    version_digest(machine, run)
    held = sequence_in(machine.read(f"third-{run.run_id}"))
    newest = max(held)
    missing = [n for n in range(max(1, newest - 4000), newest) if n not in held]
    assert missing == []


def sequence_in(data: bytes) -> set[int]:
    """Return the numbers of the writer that a volume holds, newest per place."""
    return {
        number
        for place in range(len(data) // 4096)
        if data[place * 4096 : place * 4096 + 8] * 512 == data[place * 4096 : (place + 1) * 4096]
        and (number := int.from_bytes(data[place * 4096 : place * 4096 + 8], "big"))
        and number * 37 % 4096 == place
    }


def test_a_pair_that_existed_is_back_in_step_and_only_changes_are_stored(machine: Machine) -> None:
    machine.make_volume("well", 32 * MIB, data=noise(32 * MIB))
    machine.source_array.create_volume("well-copy", 32 * MIB)
    machine.source_array.create_pair("well", "well-copy")
    first = machine.source.back_up("well")
    machine.write("well", 5 * MIB, noise(MIB))
    second = machine.source.back_up("well")
    for run in (first, second):
        assert run.phase is Phase.DONE, run.failure
        assert Step.CREATE_PAIR not in run.started
    pair = machine.source_array.pair_of("well")
    assert pair is not None
    assert (pair.state, pair.secondary) == (PairState.PAIR, "well-copy")
    assert 0 < second.facts.number("bytes_stored") < 3 * MIB
    assert second.facts.number("blocks_skipped_by_hint") > 0
    assert second.facts.number("bytes_read") < 8 * MIB
    assert version_digest(machine, second) == machine.digest("well")
    assert machine.leftovers() == []


def test_a_pair_is_kept_when_asked_and_used_by_the_next_run(machine: Machine) -> None:
    machine.make_volume("well", 16 * MIB, data=noise(16 * MIB))
    machine.source.back_up("well", keep_pair=True)
    pair = machine.source_array.pair_of("well")
    assert pair is not None
    assert pair.state is PairState.PAIR
    second = machine.source.back_up("well")
    assert Step.CREATE_PAIR not in second.started
    assert second.facts.number("blocks_stored") == 0


@pytest.mark.parametrize("mode", [BackupMode.PAIR, BackupMode.DIRECT])
def test_the_other_modes_say_whether_they_hold_one_point_in_time(machine: Machine, mode: BackupMode) -> None:
    machine.make_volume("well", 16 * MIB, data=noise(4 * MIB))
    before = machine.digest("well")
    run = machine.source.back_up("well", mode=mode)
    assert run.phase is Phase.DONE, run.failure
    assert run.facts.flag("point_in_time")
    assert version_digest(machine, run) == before
    assert machine.leftovers() == []


def test_an_unknown_volume_changes_nothing(machine: Machine) -> None:
    machine.make_volume("well", MIB)
    with pytest.raises(NotFoundError, match=r"well-7.*these: well"):
        machine.source.back_up("well-7")
    assert machine.source.ledger.journal.runs() == ()


def test_a_volume_in_another_run_is_busy(machine: Machine) -> None:
    machine.make_volume("well", MIB)
    site = machine.source
    site.ledger.leases.acquire("well", "another-run", owner="elsewhere:1:1:b", ttl_s=60)
    with pytest.raises(BusyError, match="another-run"):
        site.back_up("well")
    assert machine.leftovers() == []


def test_a_secondary_is_not_backed_up_in_its_primarys_place(machine: Machine) -> None:
    machine.make_volume("well", MIB)
    machine.source_array.create_volume("copy", MIB)
    machine.source_array.create_pair("well", "copy")
    run = machine.source.back_up("copy")
    assert run.phase is Phase.REVERTED
    assert run.failure is not None
    assert isinstance(run.failure.as_error(), ConflictError)
    assert machine.source_array.pair_of("well") is not None


def refused_restore(machine: Machine, target: str, version: str = "latest") -> Exception:
    before = machine.digest(target)
    run = machine.source.restore("well", version, target)
    assert run.phase is Phase.REVERTED
    assert run.failure is not None
    assert not run.spoiled
    assert machine.digest(target) == before
    assert machine.leftovers() == []
    return run.failure.as_error()


def test_a_restore_that_cannot_be_right_changes_nothing(machine: Machine) -> None:
    machine.make_volume("well", 4 * MIB, data=noise(2 * MIB))
    assert machine.source.back_up("well").phase is Phase.DONE
    machine.make_volume("small", 3 * MIB, data=noise(MIB))
    assert isinstance(refused_restore(machine, "small"), InputError)
    machine.make_volume("third", 4 * MIB, data=noise(MIB))
    assert isinstance(refused_restore(machine, "third", "no-such-version"), NotFoundError)
    attached = NbdClient.connect(next(e.url for e in machine.source_array.exports() if e.volume == "third"))
    with attached:
        run = machine.source.restore("well", "latest", "third")
        assert run.failure is not None
        assert "attached" in run.failure.cause
    machine.source_array.create_volume("third-copy", 4 * MIB)
    machine.source_array.create_pair("third", "third-copy")
    assert isinstance(refused_restore(machine, "third"), ConflictError)
    with pytest.raises(NotFoundError):
        machine.source.restore("well", "latest", "nowhere")
