"""Runs that are really stuck, since an array dies under them; and what a person does about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.command import Cli, Ended, assert_one_error
from machine import MIB, Machine, noise, running_machine

from nightwell.cli import backups
from nightwell.cli.display import RunDisplay
from nightwell.local.parts import start_array
from nightwell.protocol import Event, Finished, Reopened, Resolved, Run, Site, Step
from nightwell.store.location import StoreLocation

BackUp = Callable[[Site, Step], Ended]


@pytest.fixture
def machine(tmp_path: Path, moto_server: StoreLocation) -> Iterator[Machine]:
    with running_machine(tmp_path, moto_server) as running:
        yield running


@pytest.fixture
def cli(machine: Machine) -> Cli:
    return Cli(machine.settings_file)


@pytest.fixture
def back_up(machine: Machine, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> BackUp:
    """Back volume ``well`` up, and kill a site's array as soon as that site has finished a step."""
    machine.make_volume("well", 2 * MIB, data=noise(MIB))

    def run(site: Site, step: Step) -> Ended:
        process = machine.source_process if site is Site.SOURCE else machine.destination_process

        class Killing(RunDisplay):
            def on_event(self, run: Run, event: Event) -> None:
                super().on_event(run, event)
                if isinstance(event, Finished) and (run.opened.site, event.step) == (site, step):
                    process.kill()

        with monkeypatch.context() as patched:
            patched.setattr(backups, "RunDisplay", Killing)
            return cli.run("backup", "well", "--json")

    return run


def start_again(machine: Machine, site: Site) -> None:
    """Start a killed array on what it left on its disk."""
    folder = machine.folder / "arrays" / str(site)
    (folder / "control.sock").unlink()
    process, _ = start_array(str(site), folder)
    if site is Site.SOURCE:
        machine.source_process = process
    else:
        machine.destination_process = process


def stuck(ended: Ended, said: str) -> dict[str, Any]:
    """Return the run in the one document of a command that ended with something owed."""
    assert_one_error(ended, kind="NightwellError", said=said)
    run: dict[str, Any] = ended.document["run"]
    return run


def test_a_run_that_could_not_be_taken_back_tries_again(machine: Machine, cli: Cli, back_up: BackUp) -> None:
    run = stuck(back_up(Site.SOURCE, Step.SPLIT), "dissolve the pair")
    run_id = run["run_id"]
    assert (run["phase"], run["committed"]) == ("stuck", False)
    assert len(run["owed"]) == len(run["problems"]) == 3  # an export that failed may stand
    again = cli.run("recover", "--json")  # by itself, since an array that does not answer may come back
    assert [(one["run_id"], one["phase"]) for one in again.document["runs"]] == [(run_id, "stuck")]
    shown = cli.text("runs", run_id)
    assert f"to do dissolve the pair of volume well that run {run_id} made (" in shown
    assert f"to do delete the secondary well-s-{run_id} that run {run_id} made (" in shown

    still = cli.run("recover", "--retry", run_id, "--json")  # the cause is still there
    assert_one_error(still, kind="NightwellError", said=f"nightwell recover --retry {run_id}'")
    assert [one["phase"] for one in still.document["runs"]] == ["stuck"]

    start_again(machine, Site.SOURCE)
    assert machine.leftovers() != []
    (recovered,) = cli.json("recover", "--retry", run_id)
    assert (recovered["run_id"], recovered["phase"], recovered["owed"]) == (run_id, "reverted", [])
    assert machine.leftovers() == []
    assert [volume.name for volume in machine.source_array.volumes()] == ["well"]
    events = [recorded.event for recorded in machine.source.ledger.journal.events(run_id)]
    assert len([event for event in events if isinstance(event, Reopened) and event.by]) == 3
    assert_one_error(cli.run("recover", "--retry", run_id, "--json"), kind="ConflictError", said="reverted")
    assert cli.json("backup", "well")["committed"]


def test_a_stuck_run_waits_while_another_has_its_volume(machine: Machine, cli: Cli, back_up: BackUp) -> None:
    run_id = stuck(back_up(Site.SOURCE, Step.SPLIT), "dissolve")["run_id"]
    start_again(machine, Site.SOURCE)
    leases = machine.source.ledger.leases
    lease = leases.acquire("well", "another", owner="elsewhere:1:1:b", ttl_s=60)
    assert_one_error(cli.run("recover", "--retry", run_id, "--json"), kind="BusyError", said="another")
    leases.release(lease)
    printed = cli.text("recover", "--retry", run_id)
    assert f"source {run_id}: failed (" in printed
    assert machine.leftovers() == []


def test_what_was_done_by_hand_is_recorded(machine: Machine, cli: Cli, back_up: BackUp) -> None:
    run = stuck(back_up(Site.SOURCE, Step.REQUEST), "backup safe as version")
    run_id = run["run_id"]
    assert (run["phase"], run["committed"]) == ("stuck", True)
    assert cli.run("resolve", run_id, "--by", "night shift").code == 2  # what was done is asked for
    start_again(machine, Site.SOURCE)
    machine.source_array.withdraw(f"run-{run_id}")
    cli.json("pair", "delete", "well")
    cli.json("volume", "delete", f"well-s-{run_id}")
    resolved = cli.json("resolve", run_id, "--by", "night shift", "--note", "deleted pair and secondary")
    assert (resolved["phase"], resolved["owed"]) == ("done", [])
    assert machine.leftovers() == []
    assert "what it owed was done by hand (night shift)" in cli.text("runs", run_id)
    last = machine.source.ledger.journal.events(run_id)[-1].event
    assert last == Resolved("night shift", "deleted pair and secondary")
    again = cli.run("resolve", run_id, "--by", "night shift", "--note", "once more", "--json")
    assert_one_error(again, kind="ConflictError", said="done")
    assert cli.json("verify", "well")["version_id"] == run["version_id"]


def test_what_the_destination_owes_is_said_at_the_source(machine: Machine, cli: Cli, back_up: BackUp) -> None:
    ended = back_up(Site.DESTINATION, Step.COMMIT)
    run = stuck(ended, "backup safe as version")
    run_id = run["run_id"]
    assert (run["site"], run["phase"]) == ("source", "done")
    assert f"'nightwell recover --retry {run_id} --site destination'" in ended.document["next_step"]
    assert f"release the import of run {run_id}" in cli.text("runs", run_id, "--site", "destination")
    assert_one_error(cli.run("recover", "--retry", run_id, "--json"), kind="ConflictError", said="done")
    start_again(machine, Site.DESTINATION)
    (recovered,) = cli.json("recover", "--retry", run_id, "--site", "destination")
    assert (recovered["site"], recovered["phase"]) == ("destination", "done")
    assert machine.leftovers() == []


def test_the_destinations_run_is_resolved_in_its_own_journal(machine: Machine, cli: Cli, back_up: BackUp) -> None:
    run_id = stuck(back_up(Site.DESTINATION, Step.COMMIT), "release the import")["run_id"]
    start_again(machine, Site.DESTINATION)
    machine.destination_array.release(f"run-{run_id}")
    words = ["resolve", run_id, "--by", "harbour", "--note", "released the import"]
    assert_one_error(cli.run(*words, "--json"), kind="ConflictError", said="done")
    assert "done by hand (harbour)" in cli.text(*words, "--site", "destination")
    assert machine.leftovers() == []
