"""``nightwell runs``, ``recover`` and ``resolve``: what happened, and the end of what was cut short or is stuck."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from nightwell.cli.backups import both_sites, unfinished
from nightwell.cli.common import (
    AsJson,
    CommandError,
    command,
    console,
    ledger_of,
    print_json,
    print_rows,
    say,
    settings,
)
from nightwell.cli.display import RunDisplay, run_document
from nightwell.protocol import Ending, Recorded, Run, Site, ending, remedies, runbook, timeline, verdict
from nightwell.sites.build import destination_site

JournalSite = Annotated[Site, typer.Option("--site", help="Whose journal.")]


@command
def runs(
    run_id: Annotated[str | None, typer.Argument(help="One run, step by step; the latest ones when left out.")] = None,
    *,
    site: JournalSite = Site.SOURCE,
    limit: Annotated[int, typer.Option(min=1, help="How many of the latest runs.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the runs of a site, or show one step by step, with what it owes."""
    with ledger_of(site) as ledger:
        if run_id is not None:
            _show_run(ledger.journal.load(run_id), ledger.journal.events(run_id), as_json=as_json)
            return
        found = ledger.journal.runs(limit)
    if as_json:
        print_json(found)
        return
    rows = [(r.run_id, r.kind.value, r.volume, r.mode, r.phase.value, f"{r.opened_at:%F %T}") for r in found]
    columns = ("run", "kind", "volume", "mode", "phase", "opened (UTC)")
    print_rows(f"Runs of the {site} site", columns, rows, empty="no runs yet")


def _show_run(run: Run, events: tuple[Recorded, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(run_document(run, events))
        return
    say(f"{run.opened.kind} of {run.volume}: {verdict(run)}")
    steps = [
        (
            f"{'undo ' if s.undo else ''}{s.step}".replace("_", " "),
            f"{s.started_at:%T}",
            "" if s.seconds is None else f"{s.seconds:.2f}",
            s.outcome.value,
        )
        for s in timeline(events)
    ]
    columns = ("step", "began (UTC)", "seconds", "outcome")
    print_rows(f"Run {run.run_id}", columns, steps, empty="nothing was done")
    for owed, left in zip(remedies(run), run.leftovers, strict=False):
        console().print("[bold red]to do[/] ", end="")
        say(f"{owed} ({left.problem.subject}: {left.problem.found})")
    if ending(run) is not Ending.DONE:
        say(f"runbook: {runbook(run)}")


@command
def recover(
    *,
    retry: Annotated[
        str | None, typer.Option(metavar="RUN", help="Let this stuck run try again what it owes, and no other.")
    ] = None,
    site: Annotated[Site, typer.Option("--site", help="With --retry: whose run.")] = Site.SOURCE,
    as_json: AsJson = False,
) -> None:
    """Finish or undo what dead processes and silent arrays left, at both sites; or let one stuck run try again."""
    display = RunDisplay(console(error=as_json))
    ended = _recover(display) if retry is None else [_retry(display, retry, site)]
    document = [
        {"run_id": r.run_id, "site": r.opened.site, "phase": r.phase, "verdict": verdict(r), "owed": remedies(r)}
        for r in ended
    ]
    if not as_json:
        for run in ended:
            say(f"{run.opened.site} {run.run_id}: {verdict(run)}")
    stuck = [run for run in ended if remedies(run)]
    if stuck:
        raise CommandError(unfinished(stuck[0], remedies(stuck[0])), runs=document)
    if as_json:
        print_json(document)
    elif not ended:
        say("nothing to recover")


def _recover(display: RunDisplay) -> list[Run]:
    chosen = settings()
    # The destination first: its truth decides whether the source goes forward or back.
    with destination_site(chosen, on_event=display.on_event) as there:
        recovered = there.recover()
    with both_sites(chosen, display) as here:
        recovered += here.recover(on_event=display.on_event)
    return list(recovered)


def _retry(display: RunDisplay, run_id: str, site: Site) -> Run:
    if site is Site.DESTINATION:
        with destination_site(settings(), on_event=display.on_event) as there:
            return there.retry(run_id, getpass.getuser())
    with both_sites(settings(), display) as here:
        return here.retry(run_id, getpass.getuser(), on_event=display.on_event)


@command
def resolve(
    run_id: Annotated[str, typer.Argument(help="The stuck run.")],
    *,
    by: Annotated[str, typer.Option(help="Who did it.")],
    note: Annotated[str, typer.Option(help="What was done.")],
    site: JournalSite = Site.SOURCE,
    as_json: AsJson = False,
) -> None:
    """Record that a person did by hand what a stuck run owes; nothing else is done."""
    with ledger_of(site) as ledger:
        run = ledger.resolve(run_id, by, note)
        events = ledger.journal.events(run_id)
    if as_json:
        print_json(run_document(run, events))
        return
    say(f"run {run.run_id}: {verdict(run)}")
