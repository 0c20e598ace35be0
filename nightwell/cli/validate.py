"""``nightwell validate``: try a user's own array, store or servers, with things made for it and removed again."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from nightwell.arrays.port import VolumeInfo
from nightwell.cli.common import (
    AsJson,
    CommandError,
    array_of,
    command,
    console,
    in_words,
    print_json,
    settings,
    site_of_array,
)
from nightwell.errors import InputError, NightwellError
from nightwell.nbd.tls import TlsFiles
from nightwell.protocol import Site
from nightwell.sites.build import open_servers, store_location
from nightwell.store.trial import try_store
from nightwell.testing.array_sacrifice import check_sacrifice, try_volume
from nightwell.testing.arrays import ClauseResult, Outcome, Workbench, run_suite
from nightwell.testing.servers import CLAUSES, ServersUnderTest, check

validate = typer.Typer(no_args_is_help=True, help="Try your own array, store or servers: do they keep their promises?")

_MARKS = {
    Outcome.PASSED: "[green]passed[/]      ",
    Outcome.FAILED: "[bold red]FAILED[/]      ",
    Outcome.NOT_OFFERED: "[dim]not offered[/] ",
    Outcome.NOT_OBSERVED: "[dim]not observed[/]",
}


@validate.command("array")
@command
def validate_array(
    name: Annotated[
        str, typer.Argument(help="Name of the array as the settings have it, or of its site: source, destination.")
    ] = Site.SOURCE,
    *,
    second: Annotated[bool, typer.Option(help="Use the other site's array too, for imports over line 1.")] = True,
    volume: Annotated[
        str | None, typer.Option(help="Also try this volume, which is given up: at its real size, written all over.")
    ] = None,
    destroy_data: Annotated[bool, typer.Option("--destroy-data", help="Give it up although it holds data.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it is written.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the array suite on small volumes named nightwell-check-..., and remove them again; a named volume too."""
    chosen, site = settings(), site_of_array(name)
    tls = chosen.array(site).tls
    out = console(error=as_json)
    with ExitStack() as open_arrays:
        on = open_arrays.enter_context(array_of(site))
        on.volumes()  # an array that does not answer is one error, not forty failed clauses
        other = Site.DESTINATION if site is Site.SOURCE else Site.SOURCE
        bench = Workbench(
            tls=None if tls is None else TlsFiles(ca=tls.ca, certificate=tls.certificate, key=tls.key),
            second=open_arrays.enter_context(array_of(other)) if second else None,
        )
        if bench.second is not None:
            bench.second.volumes()
        given_up = None
        if volume is not None:
            given_up = check_sacrifice(on, volume, bench, destroy_data=destroy_data)
            _confirm(on.name, given_up, asked=not yes, as_json=as_json)

        def tell(result: ClauseResult) -> None:
            out.print(f"  {_MARKS[result.outcome]} {result.clause}  [dim]{escape(result.detail)}[/]")

        results = run_suite(on, bench, tell)
        if given_up is not None:
            results += try_volume(on, given_up, bench, tell)
    failed = [r for r in results if r.outcome is Outcome.FAILED or r.left_behind]
    if failed:
        raise CommandError(_failed(f"array '{on.name}'", len(failed), len(results), failed[0]), results=results)
    if as_json:
        print_json(results)
        return
    out.print(f"array {on.name}: {len(results)} clauses tried, none failed")


def _confirm(array: str, volume: VolumeInfo, *, asked: bool, as_json: bool) -> None:
    if not asked:
        return
    if as_json:
        raise InputError(
            f"volume '{volume.name}' of array '{array}'",
            expected="--yes beside --json",
            found="neither it nor anybody to ask",
            cause="the volume is written all over, which a script has to say it wants",
            next_step="give --yes when the volume may be given up",
        )
    size = in_words(volume.size_bytes)
    typer.confirm(f"Volume '{volume.name}' ({size}) of array '{array}' is given up. Go on?", abort=True, err=True)


@validate.command("store")
@command
def validate_store(*, as_json: AsJson = False) -> None:
    """Write, read back, change, verify and remove a small trial store beside your own."""
    out = console(error=as_json)
    results = try_store(store_location(settings()), lambda r: _show(out, Outcome.PASSED, r.check, r.detail))
    if as_json:
        print_json(results)
        return
    out.print(f"store {settings().store.endpoint_url}: {len(results)} checks passed")


@validate.command("servers")
@command
def validate_servers(*, as_json: AsJson = False) -> None:
    """Say what the chosen driver enforces on this host, and try it with virtual servers made for that."""
    chosen = settings()
    out = console(error=as_json)
    chosen.state_directory.mkdir(parents=True, exist_ok=True)
    results: list[ClauseResult] = []
    with tempfile.TemporaryDirectory(prefix="servers-check-", dir=chosen.state_directory) as folder:
        open_driver = partial(open_servers, chosen, directory=Path(folder).absolute())
        driver = open_driver()
        enforced = driver.isolation
        for what in ("memory", "cpus", "processes"):
            out.print(f"  {what:<10} limited {getattr(enforced, what)}".replace("limited not", "not"))
        for what, holds in (("files", enforced.files), ("network", enforced.network)):
            out.print(
                f"  {what:<10} {'only what the request needs' if holds else 'all that the user of this host has'}"
            )
        out.print(f"  by         {enforced.means}")
        for clause in CLAUSES:
            began = time.monotonic()
            outcome, detail = Outcome.PASSED, ""
            try:
                check(clause, ServersUnderTest(open_driver=open_driver, python=(sys.executable,)))
            except (AssertionError, NightwellError) as error:
                outcome, detail = Outcome.FAILED, str(error)
            results.append(ClauseResult(clause.__name__, outcome, detail, time.monotonic() - began))
            _show(out, outcome, clause.__name__, detail)
    failed = [r for r in results if r.outcome is Outcome.FAILED]
    if failed:
        raise CommandError(
            _failed(f"virtual servers '{driver.driver}'", len(failed), len(results), failed[0]), results=results
        )
    if as_json:
        print_json(results)
        return
    out.print(f"virtual servers {driver.driver}: {len(results)} clauses tried, none failed")


def _show(out: Console, outcome: Outcome, what: str, detail: str) -> None:
    out.print(f"  {_MARKS[outcome]} {escape(what)}  [dim]{escape(detail)}[/]")


def _failed(subject: str, failed: int, total: int, first: ClauseResult) -> NightwellError:
    left = f"; left behind: {'; '.join(first.left_behind)}" if first.left_behind else ""
    return NightwellError(
        subject,
        expected=f"{total} clauses kept",
        found=f"{failed} broken; the first: {first.clause}: {first.detail}{left}",
        cause="it or its driver works otherwise than backups need",
        next_step="do not back up through it before each broken clause is explained",
    )
