"""``nightwell backup`` and ``nightwell restore``: one run, in this process, without Prefect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from nightwell.cli.common import AsJson, command, console, print_json, settings
from nightwell.cli.display import RunDisplay, run_document, summary_line
from nightwell.errors import NightwellError
from nightwell.protocol import BackupMode, Run, remedies, verdict
from nightwell.settings import Settings
from nightwell.sites.build import destination_site, source_site
from nightwell.sites.source_site import SourceSite


@command
def backup(
    volume: Annotated[str, typer.Argument(help="The primary volume.")],
    *,
    mode: Annotated[BackupMode, typer.Option(help="What the virtual server reads.")] = BackupMode.SPLIT,
    keep_pair: Annotated[bool, typer.Option(help="Keep a pair that this run makes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Back a volume up: copy pair, split, virtual server, store, resync."""
    display = RunDisplay(console(error=as_json))
    with both_sites(settings(), display) as site:
        run = site.back_up(volume, mode=mode, keep_pair=keep_pair, on_event=display.on_event)
        conclude(site, run, as_json=as_json)


@command
def restore(
    volume: Annotated[str, typer.Argument(help="The volume whose version is restored.")],
    target: Annotated[str, typer.Argument(help="The third volume, which is overwritten.")],
    *,
    version: Annotated[str, typer.Option(help="'latest', an id, or the beginning of one.")] = "latest",
    as_json: AsJson = False,
) -> None:
    """Write a version to a third volume over the same road, read it back and compare."""
    display = RunDisplay(console(error=as_json))
    with both_sites(settings(), display) as site:
        run = site.restore(volume, version, target, on_event=display.on_event)
        conclude(site, run, as_json=as_json)


@contextmanager
def both_sites(chosen: Settings, display: RunDisplay) -> Iterator[SourceSite]:
    """Give the source site, with the destination site in this process."""
    with (
        destination_site(chosen, on_event=display.on_event, on_progress=display.on_progress) as there,
        source_site(chosen, there) as here,
    ):
        yield here


def conclude(site: SourceSite, run: Run, *, as_json: bool) -> None:
    """Show how a run ended; raise what took it back, or what is owed."""
    if as_json:
        print_json(run_document(run, site.ledger.journal.events(run.run_id)))
    elif run.committed:
        console().print(summary_line(run))
    if not run.committed and not run.is_open and not remedies(run) and run.failure is not None and not as_json:
        raise run.failure.as_error()
    owed = [*remedies(run), *filter(None, [str(run.facts.get("cleanup_owed", ""))])]
    if run.committed and not owed:
        return
    if as_json:
        raise typer.Exit(1)
    raise NightwellError(
        f"run '{run.run_id}' of volume '{run.volume}'",
        expected="a run that ends with nothing owed",
        found=verdict(run),
        cause=run.failure.found if run.failure else "a cleanup step failed",
        next_step="; ".join(owed) or "run 'nightwell recover'",
    )
