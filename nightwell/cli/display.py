"""How a run looks on a terminal while it goes on, and when it has ended."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape

from nightwell.cli.common import in_words
from nightwell.protocol import (
    Event,
    Failed,
    Finished,
    FoundCommitted,
    Recorded,
    Run,
    RunKind,
    Started,
    Step,
    UndoFailed,
    Undone,
    UndoStarted,
    ending,
    remedies,
    runbook,
    timeline,
    verdict,
)

_EVERY_S = 1.0


class RunDisplay:
    """Prints a line when a step ends, with its seconds, and the copy's progress in between.

    Parameters
    ----------
    out
        Where to print.
    """

    def __init__(self, out: Console) -> None:
        self._out = out
        self._begun_s: dict[Step, float] = {}
        self._next_s = 0.0

    def on_event(self, run: Run, event: Event) -> None:
        """Show one event of a run."""
        now_s = time.monotonic()
        if isinstance(event, Started | UndoStarted):
            self._begun_s[event.step] = now_s
            return
        step = getattr(event, "step", None)
        took = f"{now_s - self._begun_s.pop(step):7.2f} s" if step in self._begun_s else " " * 9
        where = f"{run.opened.site:<11}"
        words = "" if step is None else str(step).replace("_", " ")
        if isinstance(event, Finished):
            self._out.print(f"  [dim]{where}[/] {words:<18} {took}")
        elif isinstance(event, Undone):
            self._out.print(f"  [dim]{where}[/] undo {words:<13} {took}  [yellow]taken back[/]")
        elif isinstance(event, Failed | UndoFailed):
            self._out.print(f"  [dim]{where}[/] {words:<18} {took}  [red]{escape(event.problem.found)}[/]")
        elif isinstance(event, FoundCommitted):
            self._out.print(f"  [dim]{where}[/] version {event.version_id} had been committed")

    def on_progress(self, done_bytes: int, total_bytes: int) -> None:
        """Show how far the copy is, at most once a second."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _EVERY_S
        percent = 100 * done_bytes / max(total_bytes, 1)
        self._out.print(f"  [dim]mover[/]       {in_words(done_bytes)} of {in_words(total_bytes)} ({percent:.0f} %)")


def run_document(run: Run, events: tuple[Recorded, ...]) -> dict[str, object]:
    """Return a run as a JSON document for scripts."""
    hidden = {"request"}
    return {
        "run_id": run.run_id,
        "kind": run.opened.kind,
        "site": run.opened.site,
        "volume": run.volume,
        "mode": run.mode,
        "phase": run.phase,
        "committed": run.committed,
        "version_id": run.version_id,
        "verdict": verdict(run),
        "ending": ending(run),
        "runbook": runbook(run),
        "error": None if run.failure is None else run.failure.as_error().as_dict(),
        "owed": remedies(run),
        "problems": [left.problem.as_error().as_dict() for left in run.leftovers],
        "facts": {name: value for name, value in run.facts.items() if name not in hidden},
        "steps": [
            {"step": s.step, "undo": s.undo, "seconds": s.seconds, "outcome": s.outcome} for s in timeline(events)
        ],
    }


def summary_line(run: Run) -> str:
    """Return what a committed backup read, skipped and stored, in one line."""
    facts = run.facts
    if not run.committed or run.opened.kind is not RunKind.BACKUP:
        return verdict(run)
    blocks = ", ".join(
        f"{facts[name]} {words}"
        for name, words in (
            ("blocks_total", "blocks"),
            ("blocks_read", "read"),
            ("blocks_skipped_by_hint", "not read (unchanged or holes, says the array)"),
            ("blocks_unchanged", "unchanged"),
            ("blocks_zero", "zero"),
            ("blocks_stored", "stored"),
        )
    )
    stored, read = in_words(facts.number("bytes_stored")), in_words(facts.number("bytes_read"))
    return f"{verdict(run)}\n  {blocks}\n  {read} read from the volume, {stored} sent to the store"
