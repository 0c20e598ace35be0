"""What every command shares: settings, output for people or for scripts, and errors that end in an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.table import Table

from nightwell.errors import InputError, NightwellError
from nightwell.settings import Settings, load_settings

P = ParamSpec("P")
R = TypeVar("R")

#: ``--json``: one JSON document on standard output and nothing else there.
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]

_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}

_chosen: dict[str, Path | None] = {"file": None}


def choose_settings(file: Path | None) -> None:
    """Remember which settings file ``--settings`` named."""
    _chosen["file"] = file


def settings() -> Settings:
    """Load the settings that this command line asks for."""
    return load_settings(_chosen["file"])


def console(*, error: bool = False) -> Console:
    """Return a console on the current output, so that redirection in a test is seen."""
    return Console(stderr=error, highlight=False, soft_wrap=True)


def size_in_bytes(text: str) -> int:
    """Read a size such as ``1 GiB``, ``512MiB`` or ``1048576``.

    Raises
    ------
    InputError
        It is not a whole positive number of bytes, KiB, MiB, GiB or TiB.
    """
    digits = text.strip().rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = text.strip()[len(digits) :].strip().lower()
    try:
        size_bytes = int(float(digits) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        size_bytes = 0
    if size_bytes <= 0:
        raise InputError(
            f"size '{text}'",
            expected="a positive number with B, KiB, MiB, GiB or TiB",
            found=f"'{text}'",
            cause="a mistyped number or unit; units are powers of two here",
            next_step="write for instance '512 MiB'",
        )
    return size_bytes


def in_words(size_bytes: int) -> str:
    """Return a size with the unit that reads best."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":  # noqa: PLR2004  the factor between units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError


def print_json(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(to_jsonable_python(value), indent=2) + "\n")


def print_rows(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print a table, or the sentence ``empty``."""
    if not rows:
        console().print(empty)
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console().print(table)


@contextmanager
def reported(*, as_json: bool) -> Iterator[None]:
    """Turn an error of ours into five lines, or one JSON document, and exit status 1."""
    try:
        yield
    except NightwellError as error:
        if as_json:
            print_json(error.as_dict())
        else:
            out = console(error=True)
            out.print(f"[bold red]error[/] {_escape(error.subject)}")
            for label, text in (
                ("expected", error.expected),
                ("found", error.found),
                ("likely cause", error.cause),
                ("next step", error.next_step),
            ):
                out.print(f"  {label:>12}  {_escape(text)}")
        raise typer.Exit(1) from error


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that its errors are reported."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with reported(as_json=bool(kwargs.get("as_json", False))):
            return function(*args, **kwargs)

    return run


def _escape(text: str) -> str:
    return text.replace("[", "\\[")
