"""What every command shares: settings, output for people or for scripts, and errors that end in an exit code."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import wraps
from pathlib import Path, PurePath
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from pydantic import ValidationError
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from nightwell.arrays.port import Array
from nightwell.errors import InputError, NightwellError, NotFoundError
from nightwell.logs import write_logs
from nightwell.protocol import Site
from nightwell.settings import MethodSettings, Settings, load_settings
from nightwell.sites.build import open_array, open_ledger
from nightwell.sites.ledger import Ledger

P = ParamSpec("P")
R = TypeVar("R")

#: ``--json``: one JSON document on standard output and nothing else there.
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]

#: ``--site`` of a command that speaks to an array.
ArraySite = Annotated[Site, typer.Option("--site", help="Whose array.")]

_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}

# What the operating system's refusals mean to a person: expected, likely cause, next step.
_REFUSALS: Mapping[int, tuple[type[NightwellError], str, str, str]] = {
    errno.ENOENT: (
        NotFoundError,
        "a file or folder of that name",
        "a mistyped path, or a folder that was not made yet",
        "correct the path, or make its folder first",
    ),
    errno.EISDIR: (InputError, "a file", "the path names a folder", "name a file"),
    errno.ENOTDIR: (InputError, "a folder", "a part of the path names a file", "correct the path"),
    errno.EEXIST: (InputError, "a folder, or nothing", "a file stands where a folder has to be", "name another place"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        (
            InputError,
            "leave to use it",
            "it belongs to another user, or its file system is read-only",
            "change its rights, or name another place",
        ),
    ),
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT),
        (NightwellError, "room for what is written", "the file system is full", "make room, or name another place"),
    ),
}
_REFUSED = (
    NightwellError,
    "the operating system to carry the call out",
    "a fault of the file system or of the network",
    "look at the system's log, then try again",
)

_WIDEST = 10_000
_TOO_LARGE_BYTES = 1 << 63

_chosen: dict[str, Path | None] = {"file": None}


class CommandError(Exception):
    """An error that ends a command which has something to show all the same.

    Parameters
    ----------
    error
        What is wrong.
    found
        With ``--json``: what stands in the document beside the error's fields.
    """

    def __init__(self, error: NightwellError, **found: object) -> None:
        super().__init__(str(error))
        self.error = error
        self.found = found


def choose_settings(file: Path | None) -> None:
    """Remember which settings file ``--settings`` named."""
    _chosen["file"] = file


def settings() -> Settings:
    """Load the settings that this command line asks for, and write logs as they say."""
    loaded = load_settings(_chosen["file"])
    write_logs(loaded.log.form, loaded.log.level)
    return loaded


def asked_method(
    recycled_share: float | None, trap_efficiency: float | None, monte_carlo_draws: int | None = None
) -> MethodSettings:
    """Return what a command line asks of the method; what it left out stays as the settings have it (InputError)."""
    given = {
        "recycled_share": recycled_share,
        "trap_efficiency": trap_efficiency,
        "monte_carlo_draws": monte_carlo_draws,
    }
    try:
        return MethodSettings.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"--{str(first['loc'][0]).replace('_', '-')}",
            expected="a share from 0 to 1",
            found=f"{first['input']}: {first['msg']}",
            cause="it was given in percent",
            next_step="give the share",
        ) from error


@contextmanager
def array_of(site: Site) -> Iterator[Array]:
    """Give the array of a site."""
    with closing(open_array(settings(), site)) as array:
        yield array


def site_of_array(name: str) -> Site:
    """Return the site whose array has this name in the settings; the site's own name will do.

    Raises
    ------
    InputError
        No array has the name, or it could mean either array.
    """
    names = {site: settings().array(site).name for site in Site}
    meant = [site for site, known in names.items() if name in {site, known}]
    if len(meant) == 1:
        return meant[0]
    raise InputError(
        f"array '{name}'",
        expected="one of " + ", ".join(f"'{known}' (site {site})" for site, known in names.items()),
        found="a name that means either" if meant else "no such array in the settings",
        cause="two arrays of one name, or one named like the other's site" if meant else "a mistyped name",
        next_step="give a site, source or destination; 'source.array.name' and 'destination.array.name' set the names",
    )


@contextmanager
def ledger_of(site: Site) -> Iterator[Ledger]:
    """Give the runs of a site."""
    with closing(open_ledger(settings(), site)) as ledger:
        yield ledger


def console(*, error: bool = False) -> Console:
    """Return a console on the current output, so that redirection in a test is seen."""
    return Console(stderr=error, highlight=False, soft_wrap=True)


def size_in_bytes(text: str) -> int:
    """Read a size such as ``1 GiB``, ``512MiB`` or ``1048576``.

    Raises
    ------
    InputError
        It is not a positive number of bytes, KiB, MiB, GiB or TiB below 8 EiB, the most that NBD can address.
    """
    digits = text.strip().rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = text.strip()[len(digits) :].strip().lower()
    try:
        size_bytes = int(float(digits) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        size_bytes = 0
    if not 0 < size_bytes < _TOO_LARGE_BYTES:
        raise InputError(
            f"size '{text}'",
            expected="a positive number with B, KiB, MiB, GiB or TiB, below 8 EiB",
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


def say(text: str) -> None:
    """Print plain text, in which brackets are brackets."""
    console().print(text, markup=False)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(to_jsonable_python(value, fallback=_path_text), indent=2) + "\n")


def _path_text(value: Any) -> str:
    """Return a path as text; pydantic knows paths of this machine, not those within a version."""
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"no JSON for {type(value)}")


def print_rows(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print a table, or the sentence ``empty``."""
    if not rows:
        say(empty)
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    out = console()
    # A name that is cut short cannot be copied or searched for: a table is as wide as it has to be.
    out.width = max(out.width, Measurement.get(out, out.options.update(max_width=_WIDEST), table).maximum)
    out.print(table)


@contextmanager
def reported(*, as_json: bool) -> Iterator[None]:
    """Turn an error that a person can act on into five lines, or one JSON document, and exit status 1."""
    try:
        yield
    except CommandError as failure:
        _show(failure.error, failure.found, as_json=as_json)
        raise typer.Exit(1) from failure
    except NightwellError as error:
        _show(error, {}, as_json=as_json)
        raise typer.Exit(1) from error
    except BrokenPipeError:
        raise  # whoever read our output has gone: Typer ends without a word, as a program in a pipe does
    except OSError as error:
        _show(refused_by_system(error), {}, as_json=as_json)
        raise typer.Exit(1) from error


def refused_by_system(error: OSError) -> NightwellError:
    """Return an error of the operating system in our five fields."""
    kind, expected, cause, next_step = _REFUSALS.get(error.errno or 0, _REFUSED)
    return kind(
        "the operating system" if error.filename is None else f"'{error.filename}'",
        expected=expected,
        found=error.strerror or str(error) or type(error).__name__,
        cause=cause,
        next_step=next_step,
    )


def _show(error: NightwellError, found: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json({**error.as_dict(), **found})
        return
    out = console(error=True)
    out.print(f"[bold red]error[/] {escape(error.subject)}")
    for label, text in (
        ("expected", error.expected),
        ("found", error.found),
        ("likely cause", error.cause),
        ("next step", error.next_step),
    ):
        out.print(f"  {label:>12}  {escape(text)}")


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that its errors are reported."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with reported(as_json=bool(kwargs.get("as_json", False))):
            return function(*args, **kwargs)

    return run
