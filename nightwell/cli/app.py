"""The command line as a whole: which groups there are, and the options before them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nightwell import __version__
from nightwell.cli import acquire, arrays, backups, line, metrics, runs, validate, versions, wells
from nightwell.cli.common import AsJson, choose_settings, command, print_json, print_rows
from nightwell.settings import describe_settings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Back up array volumes without loading the server, and re-analyse wells.",
)
app.add_typer(arrays.array, name="array")
app.add_typer(arrays.volume, name="volume")
app.add_typer(arrays.pair, name="pair")
app.add_typer(line.line, name="line")
app.add_typer(line.server, name="server")
app.add_typer(wells.well, name="well")
wells.well.command("acquire")(acquire.acquire)
wells.well.command("acquired")(acquire.acquired)
wells.well.add_typer(acquire.schedule, name="schedule")
app.add_typer(validate.validate, name="validate")
app.command("backup")(backups.backup)
app.command("restore")(backups.restore)
app.command("versions")(versions.versions)
app.command("verify")(versions.verify)
app.command("files")(versions.files)
app.command("extract")(versions.extract)
app.command("runs")(runs.runs)
app.command("recover")(runs.recover)
app.command("resolve")(runs.resolve)
app.command("metrics")(metrics.metrics)
app.command("leaks")(metrics.leaks)


def _print_version(asked: bool) -> None:  # noqa: FBT001  an option's callback
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _before(
    settings: Annotated[
        Path | None, typer.Option("--settings", help="Settings file instead of nightwell.toml.", show_default=False)
    ] = None,
    version: Annotated[  # noqa: ARG001, FBT002  an option; its callback prints it before a command is asked for
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    choose_settings(settings)


@app.command("settings")
@command
def show_settings(*, as_json: AsJson = False) -> None:
    """List every setting with its variable, type, default and meaning."""
    rows = describe_settings()
    if as_json:
        print_json(rows)
        return
    columns = ("setting", "type", "default", "meaning")
    print_rows("Settings", columns, [(r.path, r.kind, r.default, r.description) for r in rows], empty="none")


def main() -> None:
    """Run the command line."""
    app()
