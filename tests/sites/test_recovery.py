"""Real processes that are really killed: after recovery nothing is left behind, and nothing is half written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from machine import MIB, Machine, noise

from nightwell.arrays.port import PairState
from nightwell.protocol import Journal, Phase, Run, Site, Started, Step
from nightwell.store.store import BackupStore

SIZE_BYTES = 48 * MIB


def start_command(machine: Machine, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nightwell", "--settings", str(machine.settings_file), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_step(machine: Machine, process: subprocess.Popen[str], site: Site, step: Step) -> str:
    """Wait until a run at a site has started a step; return the run's id."""

    def begun() -> str | None:
        ledger = (machine.source if site is Site.SOURCE else machine.destination).ledger
        return _run_in_step(ledger.journal, step)

    return wait_until(begun, process)


def _run_in_step(journal: Journal, step: Step) -> str | None:
    for summary in journal.open_runs():
        if any(isinstance(r.event, Started) and r.event.step is step for r in journal.events(summary.run_id)):
            return summary.run_id
    return None


def wait_until(found: Callable[[], str | None], process: subprocess.Popen[str]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        value = found()
        if value is not None:
            return value
        if process.poll() is not None:
            pytest.fail(f"the command ended first: {process.communicate()[0]}")
        time.sleep(0.005)
    pytest.fail("the step did not begin within 60 s")


def recover_all(machine: Machine) -> list[Run]:
    """Recover both sites until nothing is open, as the scheduled flow would."""
    recovered: list[Run] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        recovered += machine.destination.recover()
        recovered += machine.source.recover()
        if not machine.source.ledger.journal.open_runs() and not machine.destination.ledger.journal.open_runs():
            return recovered
        time.sleep(0.1)
    pytest.fail("runs are still open after 60 s of recovery")


def versions(machine: Machine) -> list[str]:
    location = machine.destination.location
    store = BackupStore.open(location, create=True)
    return [v.run_id for v in store.versions("well")] if "well" in store.volumes() else []


# The command itself, killed at the turning points; `tests/kills` tries every step.
@pytest.mark.parametrize(
    ("site", "step"),
    [
        (Site.SOURCE, Step.SPLIT),
        (Site.SOURCE, Step.WITHDRAW_EXPORT),
        (Site.DESTINATION, Step.COPY),
        (Site.DESTINATION, Step.COMMIT),
    ],
)
def test_a_killed_backup_is_finished_or_undone(machine: Machine, site: Site, step: Step) -> None:
    machine.make_volume("well", SIZE_BYTES, data=noise(SIZE_BYTES // 2))
    process = start_command(machine, "backup", "well")
    run_id = wait_for_step(machine, process, site, step)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    recover_all(machine)
    run = machine.source.ledger.journal.load(run_id)
    assert run.phase in {Phase.DONE, Phase.REVERTED}, run
    assert versions(machine) == ([run_id] if run.phase is Phase.DONE else [])
    assert machine.leftovers() == []
    assert machine.source_array.pair_of("well") is None
    again = machine.source.back_up("well")
    assert again.phase is Phase.DONE, again.failure
    assert machine.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_backup_undoes_itself_before_it_ends(machine: Machine, number: signal.Signals) -> None:
    machine.make_volume("well", SIZE_BYTES, data=noise(SIZE_BYTES // 2))
    machine.source_array.create_volume("well-copy", SIZE_BYTES)
    machine.source_array.create_pair("well", "well-copy")
    process = start_command(machine, "backup", "well")
    run_id = wait_for_step(machine, process, Site.DESTINATION, Step.PRODUCE)
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    run = machine.source.ledger.journal.load(run_id)
    assert not run.is_open
    assert versions(machine) == ([run_id] if run.committed else [])
    assert machine.leftovers() == []
    pair = machine.source_array.pair_of("well")
    assert pair is not None
    assert pair.state is PairState.PAIR


def test_a_backup_first_takes_up_what_a_killed_one_left(machine: Machine) -> None:
    machine.make_volume("well", SIZE_BYTES, data=noise(SIZE_BYTES // 2))
    process = start_command(machine, "backup", "well")
    run_id = wait_for_step(machine, process, Site.DESTINATION, Step.COPY)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    again = machine.source.back_up("well")
    assert again.phase is Phase.DONE, again.failure
    first = machine.source.ledger.journal.load(run_id)
    assert first.phase in {Phase.DONE, Phase.REVERTED}
    assert versions(machine) == [*([run_id] if first.committed else []), again.run_id]
    assert machine.leftovers() == []


def test_a_killed_restore_says_that_its_target_is_spoiled_or_finishes(machine: Machine) -> None:
    machine.make_volume("well", SIZE_BYTES, data=noise(SIZE_BYTES // 2))
    machine.source.back_up("well")
    machine.make_volume("third", SIZE_BYTES)
    process = start_command(machine, "restore", "well", "third")
    run_id = wait_for_step(machine, process, Site.DESTINATION, Step.COPY)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    recover_all(machine)
    run = machine.source.ledger.journal.load(run_id)
    assert machine.leftovers() == []
    if run.phase is Phase.DONE:
        assert machine.digest("third") == machine.digest("well")
    else:
        assert run.spoiled


def test_a_dead_store_ends_the_run_with_the_pair_as_it_was(machine: Machine) -> None:
    machine.make_volume("well", SIZE_BYTES, data=noise(MIB))
    machine.source.back_up("well")
    text = machine.settings_file.read_text()
    machine.settings_file.write_text(text.replace(machine.settings.store.endpoint_url, "http://127.0.0.1:9"))
    process = start_command(machine, "backup", "well")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "next step" in output
    machine.settings_file.write_text(text)
    assert machine.leftovers() == []
    assert machine.source_array.pair_of("well") is None
