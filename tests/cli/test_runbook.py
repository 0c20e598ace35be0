"""The runbook: a section for every state of a run, and commands that do what they are said to do."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from cli.command import Cli, assert_one_error
from cli.pages import in_words, parse, shell_lines
from machine import MIB, Machine, noise

from nightwell.cli.backups import unfinished
from nightwell.errors import ConflictError, UnreachableError
from nightwell.protocol import EffectContext, Ending, Facts, Run, Step, ending, remedies, runbook
from nightwell.protocol.endings import RUNBOOK, section_of
from nightwell.protocol.verdicts import REMEDIES
from nightwell.sites.build import destination_site, source_site
from nightwell.sites.ledger import Effects

PAGE = Path(__file__).parents[2] / RUNBOOK


def headings() -> set[str]:
    return {heading.lower() for heading in re.findall(r"(?m)^## (.+)$", PAGE.read_text())}


def by_hand() -> dict[str, list[str]]:
    """Return the commands of the table, by the step that is owed."""
    rows = re.findall(r"(?m)^\| `(\w+)` \| \w+ \| (.+) \|$", PAGE.read_text())
    return {step: re.findall(r"`nightwell ([^`]+)`", cell) for step, cell in rows}


@pytest.mark.parametrize("one", Ending)
def test_every_state_of_a_run_has_a_section(one: Ending) -> None:
    assert one.value in headings()
    assert section_of(one) == f"docs/runbook.md#{one.value.replace(' ', '-')}"


def test_every_step_that_can_be_owed_is_in_the_table() -> None:
    assert set(by_hand()) == {str(step) for step in REMEDIES}


def test_every_command_of_the_page_is_one() -> None:
    page = PAGE.read_text()
    found = [shlex.split(line) for line in [*shell_lines(page), *in_words(page)]]
    assert len(found) > 20
    for program, *words in found:
        assert program == "nightwell"
        parse(words)


def refuse(_: EffectContext) -> Facts:
    raise ConflictError("s", expected="e", found="f", cause="c", next_step="n")


def without(*steps: Step) -> Effects:
    return dict.fromkeys(steps, refuse)


def made(machine: Machine, name: str, broken: Effects, *, remote: Effects | None = None) -> Run:
    """Back a new volume up while some steps fail, at the source or at the destination."""
    machine.make_volume(name, MIB, data=noise(MIB))
    with (
        destination_site(machine.settings, wrap=lambda effects: {**effects, **(remote or {})}) as there,
        source_site(machine.settings, there) as here,
    ):
        return here.back_up(name, wrap=lambda effects: {**effects, **broken})


def do(cli: Cli, run: Run, steps: list[Step]) -> None:
    """Give the page's commands for these steps."""
    names = {"RUN": run.run_id, "VOLUME": run.volume, "SECONDARY": str(run.facts.get("secondary"))}
    for step in steps:
        for words in by_hand()[step]:
            for name, value in names.items():
                words = words.replace(name, value)  # noqa: PLW2901
            cli.text(*shlex.split(words))


def test_what_a_stuck_run_owes_is_done_by_hand_as_the_page_says(machine: Machine, cli: Cli) -> None:
    owed = [Step.WITHDRAW_EXPORT, Step.DELETE_PAIR, Step.DELETE_SECONDARY]
    run = made(machine, "undone", {Step.REQUEST: refuse, **without(*owed)})
    assert (ending(run), {left.by for left in run.leftovers}) == (Ending.NOT_TAKEN_BACK, set(owed))
    assert f"runbook: {runbook(run)}" in cli.text("runs", run.run_id)
    assert runbook(run) in str(unfinished(run, remedies(run)))
    assert cli.json("runs", run.run_id)["runbook"] == "docs/runbook.md#not-taken-back"
    assert len(cli.json("leaks")) == 3
    assert f"run-{run.run_id}" in cli.text("line", "list")
    do(cli, run, owed)
    cli.text("resolve", run.run_id, "--by", "night shift", "--note", "by hand")
    assert (cli.json("leaks"), machine.leftovers()) == ([], [])
    assert ending(machine.source.ledger.journal.load(run.run_id)) is Ending.DONE_BY_HAND


def test_what_the_destination_owes_is_done_by_hand_as_the_page_says(machine: Machine, cli: Cli) -> None:
    owed = [Step.DELETE_SERVER, Step.RELEASE_IMPORT]
    run = made(machine, "owing", {}, remote=without(*owed))
    assert ending(run) is Ending.CLEANUP_OWED, "what the other half owes"
    assert f"vs-{run.run_id}" in cli.text("server", "list")
    assert f"run-{run.run_id}" in cli.text("line", "list", "--site", "destination")
    do(cli, run, owed)
    cli.text("resolve", run.run_id, "--by", "harbour", "--note", "by hand", "--site", "destination")
    assert (cli.json("leaks"), machine.leftovers()) == ([], [])
    for words in (f"server delete vs-{run.run_id}", f"line release run-{run.run_id}", "line withdraw nosuch"):
        assert_one_error(cli.run(*words.split(), "--json"), kind="NotFoundError", said="gone already")


def test_a_pair_that_was_somebodys_is_resynced_and_a_run_in_doubt_fenced_by_hand(machine: Machine, cli: Cli) -> None:
    machine.source_array.create_volume("kept-copy", MIB)
    machine.make_volume("kept", MIB)
    machine.source_array.create_pair("kept", "kept-copy")
    run = machine.source.back_up("kept", wrap=lambda effects: {**effects, **without(Step.RESYNC)})
    assert ending(run) is Ending.CLEANUP_OWED
    do(cli, run, [Step.RESYNC])
    cli.text("resolve", run.run_id, "--by", "night shift", "--note", "resynced")
    assert machine.leftovers() == []


def test_the_other_states_are_told_apart(machine: Machine, cli: Cli) -> None:
    taken_back = made(machine, "back", {Step.SPLIT: refuse})
    assert ending(taken_back) is Ending.TAKEN_BACK

    def cannot_tell(_: EffectContext) -> Facts:
        raise UnreachableError("s", expected="e", found="f", cause="c", next_step="n")

    waiting = made(machine, "doubt", {Step.REQUEST: cannot_tell, Step.FENCE: cannot_tell})
    assert ending(waiting) is Ending.WAITING
    assert f"runbook: {runbook(waiting)}" in cli.text("runs", waiting.run_id)
    ledger = machine.source.ledger
    lease = ledger.seize("doubt", waiting.run_id)
    assert ending(ledger.drive(waiting.run_id, machine.source.effects.backup(), lease)) is Ending.TAKEN_BACK
    done = made(machine, "fine", {})
    assert ending(done) is Ending.DONE
    assert "runbook" not in cli.text("runs", done.run_id)
    assert machine.leftovers() == []
