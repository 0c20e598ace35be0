"""The command line as a person or a script gives it: in this process for speed, or as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from nightwell.cli import app

FIELDS = ("subject", "expected", "found", "cause", "next_step")
LABELS = ("expected", "found", "likely cause", "next step")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output; anything else there is an error of this test."""
        return json.loads(self.out)

    def good(self) -> Ended:
        """Return it after checking that it succeeded."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self


@dataclass(frozen=True)
class Cli:
    """Runs commands with one settings file."""

    settings: Path

    def run(self, *words: str | Path) -> Ended:
        """Run a command in this process."""
        result = CliRunner().invoke(app, self._words(words), prog_name="nightwell")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception  # what a person would see as a traceback
        return Ended(result.exit_code, result.stdout, result.stderr)

    def json(self, *words: str | Path) -> Any:
        """Run a command in this process with ``--json``; return its document."""
        return self.run(*words, "--json").good().document

    def text(self, *words: str | Path) -> str:
        """Run a command in this process for a person; return what it prints."""
        return self.run(*words).good().out

    def process(self, *words: str | Path) -> Ended:
        """Run a command as a process."""
        ended = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=120, check=False)
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def command(self, *words: str | Path) -> list[str]:
        """Return the command line itself."""
        return [sys.executable, "-m", "nightwell", *self._words(words)]

    def _words(self, words: tuple[str | Path, ...]) -> list[str]:
        return ["--settings", str(self.settings), *map(str, words)]


def assert_one_error(ended: Ended, *, kind: str, said: str) -> None:
    """Check the error of a command with ``--json``: one document, all five fields, exit code 1."""
    assert ended.code == 1, ended
    document = ended.document
    assert [name for name in FIELDS if not str(document[name]).strip()] == []
    assert document["error"] == kind, document
    text = " ".join(document[name] for name in FIELDS)
    assert said.lower() in text.lower(), document
    assert "Traceback" not in ended.out + ended.err


def assert_one_error_in_words(ended: Ended) -> None:
    """Check the error of a command for a person: five labelled lines, once, on standard error."""
    assert ended.code == 1, ended
    assert "Traceback" not in ended.out + ended.err
    lines = [line.strip() for line in ended.err.splitlines()]
    assert len([line for line in lines if line.startswith("error ")]) == 1, ended.err
    for label in LABELS:
        with_label = [line for line in lines if line.startswith(f"{label}  ")]
        assert len(with_label) == 1, (label, ended.err)
        assert with_label[0].removeprefix(label).strip()
