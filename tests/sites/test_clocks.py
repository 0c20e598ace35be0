"""Clocks that disagree: each site judges leases by its own, and no order of anything rests on the other's."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta

import pytest
from machine import MIB, Machine, noise
from sites.test_recovery import recover_all, start_command, versions, wait_for_step

from nightwell.protocol import Phase, Site, Step, utc_now
from nightwell.sites.ledger import Ledger


def set_clock(ledger: Ledger, hours: float) -> None:
    def shifted() -> datetime:
        return utc_now() + timedelta(hours=hours)

    ledger.journal.clock = ledger.leases.clock = shifted


@pytest.mark.parametrize("hours", [-26.0, 26.0])
def test_a_run_is_driven_fenced_and_recovered_whatever_the_other_sites_clock_says(
    machine: Machine, hours: float
) -> None:
    machine.make_volume("well", 32 * MIB, data=noise(16 * MIB))
    set_clock(machine.destination.ledger, hours)
    first = machine.source.back_up("well")
    assert first.phase is Phase.DONE, first.failure
    machine.write("well", 0, noise(4 * MIB))
    # The process that dies has the right time, the recovery at the destination has not.
    process = start_command(machine, "backup", "well")
    run_id = wait_for_step(machine, process, Site.DESTINATION, Step.COPY)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    recover_all(machine)
    run = machine.source.ledger.journal.load(run_id)
    assert run.phase in {Phase.DONE, Phase.REVERTED}, run
    last = machine.source.back_up("well")
    assert last.phase is Phase.DONE, last.failure
    expected = [first.run_id, *([run_id] if run.committed else []), last.run_id]
    assert versions(machine) == expected, "in the order in which they were made"
    newest = machine.destination.look_up("well", "latest")
    assert newest is not None
    assert newest.version_id == last.version_id
    assert machine.leftovers() == []


def test_a_clock_that_is_set_back_does_not_keep_a_dead_driver_alive(machine: Machine) -> None:
    machine.make_volume("well", 32 * MIB, data=noise(16 * MIB))
    process = start_command(machine, "backup", "well")
    wait_for_step(machine, process, Site.DESTINATION, Step.COPY)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    for site in (machine.source, machine.destination):
        set_clock(site.ledger, -24)
    recover_all(machine)
    assert machine.leftovers() == []
