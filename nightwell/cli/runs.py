"""``nightwell runs`` and ``nightwell recover``: what happened, and finishing what was cut short."""

from __future__ import annotations

from typing import Annotated

import typer

from nightwell.cli.backups import both_sites
from nightwell.cli.common import AsJson, command, console, print_json, print_rows, settings
from nightwell.cli.display import RunDisplay, run_document
from nightwell.protocol import remedies, timeline, verdict
from nightwell.sites.build import destination_site, open_ledger


@command
def runs(
    run_id: Annotated[str | None, typer.Argument(help="One run, step by step; the latest ones when left out.")] = None,
    *,
    site: Annotated[str, typer.Option(help="Whose journal: source or destination.")] = "source",
    limit: Annotated[int, typer.Option(help="How many of the latest runs.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the runs of a site, or show one step by step."""
    journal = open_ledger(settings(), site).journal
    if run_id is None:
        found = journal.runs(limit)
        if as_json:
            print_json(found)
            return
        rows = [(r.run_id, r.kind.value, r.volume, r.mode, r.phase.value, f"{r.opened_at:%F %T}") for r in found]
        print_rows(
            f"Runs of the {site} site",
            ("run", "kind", "volume", "mode", "phase", "opened (UTC)"),
            rows,
            empty="no runs yet",
        )
        return
    run, events = journal.load(run_id), journal.events(run_id)
    if as_json:
        print_json(run_document(run, events))
        return
    console().print(f"{run.opened.kind} of {run.volume}: {verdict(run)}")
    steps = [
        (
            f"{'undo ' if s.undo else ''}{s.step}".replace("_", " "),
            f"{s.started_at:%T}",
            "" if s.seconds is None else f"{s.seconds:.2f}",
            s.outcome.value,
        )
        for s in timeline(events)
    ]
    print_rows(f"Run {run_id}", ("step", "began (UTC)", "seconds", "outcome"), steps, empty="nothing was done")
    for owed in remedies(run):
        console().print(f"[bold red]to do[/] {owed}")


@command
def recover(*, as_json: AsJson = False) -> None:
    """Finish or undo every run whose process died, at both sites."""
    display = RunDisplay(console(error=as_json))
    chosen = settings()
    # The destination first: its truth decides whether the source goes forward or back.
    with destination_site(chosen, on_event=display.on_event) as there:
        recovered = there.recover()
    with both_sites(chosen, display) as here:
        recovered += here.recover(on_event=display.on_event)
    if as_json:
        print_json(
            [{"run_id": r.run_id, "site": r.opened.site, "phase": r.phase, "verdict": verdict(r)} for r in recovered]
        )
    for run in recovered if not as_json else ():
        console().print(f"{run.opened.site} {run.run_id}: {verdict(run)}")
    if not recovered and not as_json:
        console().print("nothing to recover")
    if any(remedies(run) for run in recovered):
        raise typer.Exit(1)
