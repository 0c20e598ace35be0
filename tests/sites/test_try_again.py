"""A run that is stuck because nobody answered is finished by the recovery; one that needs a person is left to them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from protocol.samples import OPENED, FakeClock

from nightwell.errors import ConflictError, FormatError, NightwellError, UnreachableError
from nightwell.protocol import (
    NO_FACTS,
    EffectContext,
    Facts,
    Journal,
    Lease,
    Leases,
    Phase,
    Reopened,
    Run,
    Step,
    verdict,
)
from nightwell.sites.ledger import Effects, Ledger


class DeadArray:
    """Effects of a run whose request is refused, at an array whose exports cannot be withdrawn for now."""

    def __init__(self, ledger: Ledger, error: type[NightwellError]) -> None:
        self.ledger = ledger
        self.error = error
        self.is_back = False

    def effects(self) -> Effects:
        return {
            Step.EXPORT: lambda _: NO_FACTS,
            Step.REQUEST: self._refuse,
            Step.FENCE: lambda _: Facts(committed=False),
            Step.WITHDRAW_EXPORT: self._withdraw,
        }

    def run(self) -> Run:
        lease = self.ledger.begin(OPENED)
        return self.ledger.drive(OPENED.run_id, self.effects(), lease)

    def recover(self) -> tuple[Run, ...]:
        return self.ledger.recover(lambda run, lease: self.ledger.drive(run.run_id, self.effects(), lease))

    def _refuse(self, _: EffectContext) -> Facts:
        raise _error(ConflictError)

    def _withdraw(self, _: EffectContext) -> Facts:
        if not self.is_back:
            raise _error(self.error)
        return NO_FACTS


def _error(kind: type[NightwellError]) -> NightwellError:
    return kind("array 'a'", expected="an answer", found="silence", cause="it is off", next_step="switch it on")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: FakeClock) -> Iterator[Ledger]:
    with Journal.open(tmp_path / "journal.db", clock=clock) as journal:
        yield Ledger(journal, Leases(journal.database, clock=clock))


def test_what_waits_for_an_array_is_finished_when_the_array_is_back(ledger: Ledger) -> None:
    array = DeadArray(ledger, UnreachableError)
    stuck = array.run()
    assert stuck.phase is Phase.STUCK
    assert "a recovery tries it again by itself" in verdict(stuck)
    array.is_back = True
    (run,) = array.recover()
    assert run.phase is Phase.REVERTED
    assert array.recover() == ()


def test_the_attempts_come_in_ever_longer_intervals(ledger: Ledger, clock: FakeClock) -> None:
    array = DeadArray(ledger, UnreachableError)
    array.run()
    for _ in range(12 * 12):  # half a day of recoveries
        array.recover()
        clock.advance(300)
    events = [recorded.event for recorded in ledger.journal.events(OPENED.run_id)]
    tried = sum(isinstance(event, Reopened) for event in events)
    assert 12 < tried < 24
    array.is_back = True
    clock.advance(3600)
    (run,) = array.recover()
    assert run.phase is Phase.REVERTED


def test_what_needs_a_person_is_left_alone(ledger: Ledger) -> None:
    array = DeadArray(ledger, ConflictError)
    stuck = array.run()
    assert "by itself" not in verdict(stuck)
    array.is_back = True
    assert array.recover() == ()
    assert ledger.journal.load(OPENED.run_id).phase is Phase.STUCK


def test_it_waits_while_another_run_has_the_volume(ledger: Ledger) -> None:
    array = DeadArray(ledger, UnreachableError)
    array.run()
    other = ledger.leases.acquire(OPENED.volume, "another-run", owner="elsewhere:1:1:b", ttl_s=60)
    array.is_back = True
    assert array.recover() == ()
    ledger.leases.release(other)
    assert [run.phase for run in array.recover()] == [Phase.REVERTED]


def test_of_two_recoveries_that_look_at_once_one_takes_the_run_of_a_dead_process(ledger: Ledger) -> None:
    dead = f"{socket.gethostname()}:1:1:another-boot"
    lease = ledger.leases.acquire(OPENED.volume, OPENED.run_id, owner=dead, ttl_s=60)
    ledger.journal.open_run(OPENED, token=lease.token)
    (seen,) = ledger.journal.open_runs()
    assert ledger.take_over(seen) is not None
    assert ledger.take_over(seen) is None, "a live recovery's run is not taken from it"


def test_a_run_that_cannot_be_recovered_does_not_keep_the_others(ledger: Ledger) -> None:
    dead = f"{socket.gethostname()}:1:1:another-boot"
    for number in (1, 2):
        opened = replace(OPENED, run_id=f"run-{number}", volume=f"well-{number}")
        lease = ledger.leases.acquire(opened.volume, opened.run_id, owner=dead, ttl_s=60)
        ledger.journal.open_run(opened, token=lease.token)
    effects = DeadArray(ledger, UnreachableError)
    effects.is_back = True

    def resume(run: Run, lease: Lease) -> Run:
        if run.run_id == "run-1":
            raise _error(FormatError)
        return ledger.drive(run.run_id, effects.effects(), lease)

    with pytest.raises(FormatError):
        ledger.recover(resume)
    assert ledger.journal.load("run-2").phase is Phase.REVERTED
