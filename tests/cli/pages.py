"""Commands that a page of the documentation shows, held against the command line without being carried out."""

from __future__ import annotations

import re
from collections.abc import Sequence

import typer

from nightwell.cli.app import app

_BLOCK = re.compile(r"(?ms)^```sh\n(.*?)^```")


def shell_lines(page: str) -> list[str]:
    """Return the command lines of a page's blocks, without comments, what is redirected, and documents."""
    found = []
    for block in _BLOCK.findall(page):
        text = re.sub(r"(?ms)<<END$.*?^END$", "", block.replace("\\\n", " "))
        found += [re.sub(r"\s+#.*|\s*2?>\s*\S+.*", "", line).strip() for line in text.splitlines()]
    return [line for line in found if line and not line.startswith("#")]


def in_words(page: str) -> list[str]:
    """Return the commands that a page names between its blocks."""
    return re.findall(r"`(nightwell [a-z][^`]+)`", _BLOCK.sub("", page))


def parse(words: Sequence[str]) -> None:
    """Parse the words after ``nightwell`` as the command line does; an error of Click says what is wrong."""
    command, rest = typer.main.get_command(app), list(words)
    if rest[:1] == ["--settings"]:
        rest = rest[2:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]  # type: ignore[attr-defined]
    assert not hasattr(command, "commands"), f"no command: {list(words)}"
    if rest:  # a command that is only named says nothing of what it needs
        command.make_context("nightwell", rest)
