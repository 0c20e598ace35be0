"""The destination's word on a request: ended means ended, and committed means committed."""

from __future__ import annotations

import threading
import time

import pytest
from machine import MIB, Machine, noise

from nightwell.errors import ConflictError, NightwellError
from nightwell.protocol import BackupMode, Phase, RunKind, Started, Step
from nightwell.sites.requests import BackupAnswer, BackupRequest, FenceRequest


def request_for(machine: Machine, run_id: str, *, token: int = 1) -> BackupRequest:
    export = machine.source_array.export("well", name=f"run-{run_id}", writable=False, owner=run_id)
    return BackupRequest(
        run_id=run_id, fencing_token=token, volume="well", source="source/well", url=export.url, mode=BackupMode.DIRECT
    )


def fence(run_id: str) -> FenceRequest:
    return FenceRequest(run_id=run_id, kind=RunKind.BACKUP, volume="well")


def clean(machine: Machine, run_id: str) -> list[str]:
    machine.source_array.withdraw(f"run-{run_id}", owner=run_id)
    return machine.leftovers()


def test_a_request_that_arrives_after_its_end_is_refused(machine: Machine) -> None:
    machine.make_volume("well", 4 * MIB, data=noise(MIB))
    machine.destination.look_up("well", "latest")  # the store exists
    assert machine.destination.fence(fence("late")).committed is False
    with pytest.raises(ConflictError, match="cancelled"):
        machine.destination.back_up(request_for(machine, "late"))
    assert machine.destination.look_up("well", "latest") is None
    assert clean(machine, "late") == []


def test_a_run_that_committed_says_so_again_and_again(machine: Machine) -> None:
    machine.make_volume("well", 4 * MIB, data=noise(MIB))
    machine.destination.look_up("well", "latest")
    answer = machine.destination.back_up(request_for(machine, "done"))
    assert machine.destination.back_up(request_for(machine, "done")) == answer
    for _ in range(2):
        told = machine.destination.fence(fence("done"))
        assert told.committed
        assert isinstance(told.answer, BackupAnswer)
        assert told.answer.version_id == answer.version_id
    found = machine.destination.look_up("well", "latest")
    assert found is not None
    assert found.version_id == answer.version_id
    assert clean(machine, "done") == []


def test_an_older_token_than_the_newest_version_commits_nothing(machine: Machine) -> None:
    machine.make_volume("well", 4 * MIB, data=noise(MIB))
    machine.destination.look_up("well", "latest")
    newest = machine.destination.back_up(request_for(machine, "newer", token=7))
    machine.write("well", 0, noise(MIB))
    with pytest.raises(NightwellError, match="token"):
        machine.destination.back_up(request_for(machine, "older", token=6))
    found = machine.destination.look_up("well", "latest")
    assert found is not None
    assert found.version_id == newest.version_id
    clean(machine, "newer")
    assert clean(machine, "older") == []


def test_a_run_under_way_is_ended_for_good(machine: Machine) -> None:
    machine.make_volume("well", 96 * MIB, data=noise(64 * MIB))
    machine.destination.look_up("well", "latest")
    raised: list[BaseException] = []

    def carry_out() -> None:
        try:
            machine.destination.back_up(request_for(machine, "busy"))
        except NightwellError as error:
            raised.append(error)

    worker = threading.Thread(target=carry_out)
    worker.start()
    journal = machine.destination.ledger.journal
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (
        journal.find("busy")
        and any(isinstance(r.event, Started) and r.event.step is Step.COPY for r in journal.events("busy"))
    ):
        time.sleep(0.005)
    told = machine.destination.fence(fence("busy"))
    worker.join(60)
    assert not worker.is_alive()
    found = machine.destination.look_up("well", "latest")
    assert told.committed is (found is not None)
    assert journal.load("busy").phase in {Phase.DONE, Phase.REVERTED}
    assert bool(raised) is not told.committed
    assert clean(machine, "busy") == []
