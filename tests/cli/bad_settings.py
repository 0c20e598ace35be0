"""Settings files that are wrong in one place."""

from __future__ import annotations

import tomllib
from pathlib import Path

import tomli_w
from cli.command import Cli
from machine import Machine


def settings_with(machine: Machine, folder: Path, changes: dict[str, object]) -> Cli:
    """Return a command line whose settings differ from the machine's; a key names a path such as ``store.bucket``."""
    document = tomllib.loads(machine.settings_file.read_text())
    for path, value in changes.items():
        *sections, name = path.split(".")
        section = document
        for each in sections:
            section = section.setdefault(each, {})
        section[name] = value
    file = folder / "other.toml"
    file.write_text(tomli_w.dumps(document))
    return Cli(file)
