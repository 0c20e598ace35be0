"""The command line as a whole: help, version, settings, and trying one's own array and store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import typer
from cli.command import Cli
from machine import Machine

from nightwell import __version__
from nightwell.cli import app
from nightwell.settings import describe_settings
from nightwell.store.objects import Objects

PROMISED = {
    "array serve", "volume create", "volume list", "volume write", "volume read", "pair status", "backup", "restore",
    "versions", "verify", "runs", "recover", "well import", "well analyse", "well plot",
    "well page", "well export", "well export-las",
    "validate array", "validate store", "validate servers", "metrics", "leaks",
    "line list", "line withdraw", "line release", "server list", "server delete",
}  # fmt: skip


def commands(command: object, above: str = "") -> Iterator[tuple[str, object]]:
    """Yield every command a person can give, with its words."""
    below: dict[str, object] = getattr(command, "commands", {})
    for name, child in below.items():
        yield from commands(child, f"{above} {name}".strip())
    if not below:
        yield above, command


def test_what_is_promised_is_there() -> None:
    assert PROMISED - {words for words, _ in commands(typer.main.get_command(app))} == set()


def test_every_command_and_every_option_says_what_it_does() -> None:
    silent = []
    for words, command in commands(typer.main.get_command(app)):
        silent += [words] if not getattr(command, "help", None) else []
        parameters = [p for p in getattr(command, "params", []) if p.name != "help"]
        silent += [f"{words} {p.name}" for p in parameters if not (getattr(p, "help", None) or "").strip()]
    assert silent == []


def test_json_is_offered_by_every_command_but_those_that_serve_or_speak_to_prometheus() -> None:
    without = {
        words
        for words, command in commands(typer.main.get_command(app))
        if "--json" not in [option for p in getattr(command, "params", []) for option in p.opts]
    }
    assert without == {"array serve", "metrics"}


def test_help_and_version_of_the_process(cli: Cli) -> None:
    shown = subprocess.run([sys.executable, "-m", "nightwell", "--help"], capture_output=True, text=True, check=True)
    for group in ("array", "volume", "pair", "well", "validate", "resolve"):
        assert group in shown.stdout
    assert cli.run("--version").good().out.strip() == __version__
    assert "--directory" in cli.text("array", "serve", "--help")


def test_a_reader_that_has_gone_ends_the_command_without_a_word(cli: Cli) -> None:
    with subprocess.Popen(cli.command("settings"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_settings_are_listed(cli: Cli) -> None:
    assert [row["path"] for row in cli.json("settings")] == [row.path for row in describe_settings()]
    assert "store.bucket" in cli.text("settings")


def test_an_array_is_tried_and_left_as_it_was(cli: Cli, machine: Machine) -> None:
    ended = cli.run("validate", "array", "--json").good()
    assert {result["outcome"] for result in ended.document} <= {"passed", "not observed"}
    assert len(ended.document) >= 20
    assert ended.err.count("passed") >= len(ended.document) - 5
    assert (machine.source_array.volumes(), machine.destination_array.volumes()) == ((), ())
    assert machine.leftovers() == []


def test_servers_are_tried_and_what_they_enforce_is_told(cli: Cli, machine: Machine) -> None:
    said = cli.text("validate", "servers")
    assert "network    all that the user of this host has" in said
    assert "virtual servers process: 22 clauses tried, none failed" in said
    assert machine.leftovers() == []


def test_a_store_is_tried_and_left_as_it_was(cli: Cli, machine: Machine) -> None:
    assert len(cli.json("validate", "store")) == 7
    assert "7 checks passed" in cli.text("validate", "store")
    objects = Objects(machine.destination.location)
    assert list(objects.list("")) == []
    objects.close()
