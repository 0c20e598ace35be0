"""Write docs/settings.md and docs/cli.md from the code. `make lint` fails when they are stale (--check)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from nightwell.cli.app import app
from nightwell.settings import describe_settings

DOCS = Path(__file__).parents[1] / "docs"

SETTINGS_INTRO = """# Settings

Settings stand in `nightwell.toml` in the folder where a command runs; `NIGHTWELL_SETTINGS` or `--settings` names
another file. An environment variable stands above the file. Secrets belong in the environment, not in the file. A
mistyped name in either is refused by name. `nightwell settings` prints this table.

```toml
state_directory = "/var/lib/nightwell"

[source.array]
name = "drilling-site"
control = "/run/nightwell/source.sock"

[destination.array]
name = "harbour"
control = "/run/nightwell/destination.sock"

[store]
endpoint_url = "https://s3.example.org"
bucket = "wells"
access_key = "nightwell"
```

This page is written by `infra/write_reference.py`.

| setting | variable | type | default | meaning |
|---|---|---|---|---|
"""

CLI_INTRO = """# Commands

`nightwell` does without Prefect what the flows do with it, on the same journal: a run begun by one can be recovered by
the other. `--json` prints one JSON document on standard output. An error says what was expected, what was found, the
likely cause and the next step, and ends with exit code 1. `--settings FILE` stands before the command.

The tables of runs, the journal and recovery are explained in [protocol.md](protocol.md).

This page is written by `infra/write_reference.py`.
"""


def settings_page() -> str:
    """Return docs/settings.md."""
    rows = [
        f"| `{row.path}` | `{row.variable}` | {row.kind} | {f'`{row.default}`' if row.default else ''} "
        f"| {row.description.replace('|', chr(92) + '|')} |"
        for row in describe_settings()
    ]
    return SETTINGS_INTRO + "\n".join(rows) + "\n"


def cli_page() -> str:
    """Return docs/cli.md."""
    return CLI_INTRO + "".join(sections(typer.main.get_command(app), "nightwell"))


def sections(command: Any, path: str) -> list[str]:
    """Return one section for each command below this one."""
    below = getattr(command, "commands", None)
    if below is not None:
        return [text for name in below for text in sections(below[name], f"{path} {name}")]
    lines = [f"\n## `{path}`\n", f"\n{' '.join((command.help or '').split())}\n"]
    parameters = [p for p in command.params if p.name != "help"]
    if parameters:
        lines.append("\n| | meaning | default |\n|---|---|---|\n")
    for parameter in parameters:
        names = ", ".join([*parameter.opts, *parameter.secondary_opts])
        shown = parameter.name.upper() if parameter.param_type_name == "argument" else names
        default = (
            "" if parameter.default in (None, False, ()) or callable(parameter.default) else str(parameter.default)
        )
        lines.append(f"| `{shown}` | {getattr(parameter, 'help', '') or ''} | {default} |\n")
    return lines


def main() -> int:
    """Write the pages, or with --check say which are stale."""
    pages = {DOCS / "settings.md": settings_page(), DOCS / "cli.md": cli_page()}
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.name} is stale: run 'make reference'")
        return 1 if stale else 0
    for path in stale:
        path.write_text(pages[path])
        print(f"wrote docs/{path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
