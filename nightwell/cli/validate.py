"""``nightwell validate``: try a user's own array or store, with things made for it and removed again."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from nightwell.cli.common import AsJson, command, console, print_json, settings
from nightwell.errors import NightwellError
from nightwell.nbd.tls import TlsFiles
from nightwell.sites.build import open_array, store_location
from nightwell.store.trial import TrialResult, try_store
from nightwell.testing.arrays import ClauseResult, Outcome, Workbench, run_suite

validate = typer.Typer(no_args_is_help=True, help="Try your own array or store: does it keep its promises?")

_MARKS = {
    Outcome.PASSED: "[green]passed[/]      ",
    Outcome.FAILED: "[bold red]FAILED[/]      ",
    Outcome.NOT_OFFERED: "[dim]not offered[/] ",
    Outcome.NOT_OBSERVED: "[dim]not observed[/]",
}


@validate.command("array")
@command
def validate_array(
    site: Annotated[str, typer.Argument(help="Whose array: source or destination.")] = "source",
    *,
    second: Annotated[bool, typer.Option(help="Use the other site's array too, for imports over line 1.")] = True,
    as_json: AsJson = False,
) -> None:
    """Run the array suite on small volumes named nightwell-check-..., and remove them again."""
    chosen = settings()
    other = "destination" if site == "source" else "source"
    tls = chosen.array(site).tls
    bench = Workbench(
        tls=None if tls is None else TlsFiles(ca=tls.ca, certificate=tls.certificate, key=tls.key),
        second=open_array(chosen, other) if second else None,
    )
    out = console(error=as_json)
    on = open_array(chosen, site)
    on.volumes()  # an array that does not answer is one error, not forty failed clauses
    results = run_suite(on, bench, lambda r: out.print(f"  {_MARKS[r.outcome]} {r.clause}  [dim]{r.detail}[/]"))
    failed = [r for r in results if r.outcome is Outcome.FAILED or r.left_behind]
    if as_json:
        print_json(results)
    if failed:
        raise _failed(f"array '{on.name}'", len(failed), len(results), failed[0])
    if not as_json:
        out.print(f"array {on.name}: {len(results)} clauses tried, none failed")


@validate.command("store")
@command
def validate_store(*, as_json: AsJson = False) -> None:
    """Write, read back, change, verify and remove a small trial store beside your own."""
    out = console(error=as_json)
    results = try_store(store_location(settings()), lambda r: _show(out, r))
    if as_json:
        print_json(results)
        return
    out.print(f"store {settings().store.endpoint_url}: {len(results)} checks passed")


def _show(out: Console, result: TrialResult) -> None:
    out.print(f"  {_MARKS[Outcome.PASSED]} {result.check}  [dim]{result.detail}[/]")


def _failed(subject: str, failed: int, total: int, first: ClauseResult) -> NightwellError:
    left = f"; left behind: {'; '.join(first.left_behind)}" if first.left_behind else ""
    return NightwellError(
        subject,
        expected=f"{total} clauses kept",
        found=f"{failed} broken; the first: {first.clause}: {first.detail}{left}",
        cause="the array or its driver works otherwise than backups need",
        next_step="do not back up through it before each broken clause is explained",
    )
