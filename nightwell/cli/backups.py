"""``nightwell backup`` and ``nightwell restore``: one run, in this process, without Prefect."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from nightwell.cli.common import AsJson, CommandError, command, console, print_json, say, settings
from nightwell.cli.display import RunDisplay, run_document, summary_line
from nightwell.errors import NightwellError
from nightwell.protocol import BackupMode, Phase, Run, Site, remedies, runbook, verdict
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
    """Give the source site, with the destination site in this process; SIGTERM takes a run back as Ctrl-C does."""
    with (
        _ended_by_sigterm(),
        destination_site(chosen, on_event=display.on_event, on_progress=display.on_progress) as there,
        source_site(chosen, there) as here,
    ):
        yield here


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, by which services are stopped, raise where it arrives: by default it would end us at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def conclude(site: SourceSite, run: Run, *, as_json: bool) -> None:
    """Show how a run ended; raise what took it back, or what is owed."""
    document = run_document(run, site.ledger.journal.events(run.run_id))
    owed = [*remedies(run), *filter(None, [str(run.facts.get("cleanup_owed", ""))])]
    if run.committed and not owed:
        if as_json:
            print_json(document)
        else:
            say(summary_line(run))
        return
    if not owed and not run.is_open and run.failure is not None and not run.spoiled:
        raise CommandError(run.failure.as_error(), run=document)
    raise CommandError(unfinished(run, owed), run=document)


def unfinished(run: Run, owed: Sequence[str]) -> NightwellError:
    """Return the error for a run that ended otherwise than well, or that has not ended."""
    problem = run.leftovers[0].problem if run.leftovers else run.failure
    return NightwellError(
        f"run '{run.run_id}' of volume '{run.volume}' at the {run.opened.site} site",
        expected="a run that ends with nothing owed" if owed else "a run that ends well",
        found=verdict(run),
        cause="somebody ended it" if problem is None else f"{problem.subject}: {problem.found}",
        next_step=f"{_next_step(run, owed)} ({runbook(run)})",
    )


def _next_step(run: Run, owed: Sequence[str]) -> str:
    if owed:
        # What a run that is not stuck itself owes is owed by its other half.
        site = run.opened.site if run.phase is Phase.STUCK else Site.DESTINATION
        which = run.run_id if site is Site.SOURCE else f"{run.run_id} --site {site}"
        retry, resolve = f"'nightwell recover --retry {which}'", f"'nightwell resolve {which}'"
        return f"remove the cause and run {retry}, or do by hand and record with {resolve}: {'; '.join(owed)}"
    if run.is_open:
        return "run 'nightwell recover'"
    return "restore to it again before anybody uses it" if run.spoiled else "start a new run"
