"""The diagrams in ``docs/protocol.md``, drawn from the tables and from the transitions themselves.

``python -m nightwell.protocol.diagram`` writes them between their markers; with ``--check`` it only says whether they
are stale.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from nightwell.errors import InputError
from nightwell.protocol.events import (
    CancelRequested,
    Doubted,
    Event,
    Failed,
    Finished,
    FoundCommitted,
    Opened,
    Problem,
    Reopened,
    Resolved,
    Resumed,
    Started,
    UndoFailed,
    Undone,
    UndoStarted,
)
from nightwell.protocol.facts import Facts
from nightwell.protocol.run import Phase, ProtocolViolation, Run
from nightwell.protocol.steps import BackupMode, Mode, RestoreMode, RunKind, Site
from nightwell.protocol.tables import ATTEMPTS, TABLES, ProtocolTable, Row
from nightwell.protocol.transitions import begin, evolve

DOCUMENT = Path("docs/protocol.md")
_BLOCK = re.compile(r"(<!-- diagram: (?P<name>\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def diagrams() -> dict[str, str]:
    """Return every diagram as Mermaid text, by the name its marker has."""
    drawn = {"phases": phase_diagram()}
    for table in TABLES.values():
        for mode in table.modes:
            same_as_first = table.rows(mode) == table.rows(next(iter(table.modes)))
            if mode == next(iter(table.modes)) or not same_as_first:
                drawn[f"{table.name}/{mode}"] = step_diagram(table, mode)
    return drawn


# ---------------------------------------------------------------- one protocol


def step_diagram(table: ProtocolTable, mode: Mode) -> str:
    """Draw the rows of one mode: forward as solid way, the undo of each row beside it, the pivot marked."""
    rows = table.rows(mode)
    lines = ["stateDiagram-v2", "    direction TB", f"    [*] --> {rows[0].step}"]
    lines += [f"    {line}" for index, row in enumerate(rows) for line in _row_lines(table, rows, index, row)]
    lines += [f"    {rows[-1].step} --> [*]", f"    class {table.pivot} pivot"]
    lines += ["    classDef pivot font-weight:bold,stroke-width:4px", "    classDef undo stroke-dasharray:4 4"]
    return "\n".join(lines)


def _row_lines(table: ProtocolTable, rows: tuple[Row, ...], index: int, row: Row) -> Iterator[str]:
    title = f"{row.step} (the pivot)" if row.step is table.pivot else f"{row.step}"
    when = f", if {row.when.label}" if row.when is not None else ""
    yield f'state "{title}{when}" as {row.step}'
    if index + 1 < len(rows):
        yield f"{row.step} --> {rows[index + 1].step}"
    if row.undo is not None:
        first = ", before all others" if row.step in table.thaw else ""
        only_if = f", if {row.undo_when.label}" if row.undo_when is not None else ""
        yield f'state "{row.undo}" as undo_{row.step}'
        yield f"{row.step} --> undo_{row.step} : undone by{first}{only_if}"
        yield f"class undo_{row.step} undo"
        if row.step is table.pivot:
            following = rows[index + 1].step
            yield f"undo_{row.step} --> {following} : it had succeeded"


# ---------------------------------------------------------------- the phases


def phase_diagram() -> str:
    """Draw which events lead from phase to phase, found by walking every state that a run can reach."""
    safe = {True: "_after_pivot", False: ""}
    edges: dict[tuple[str, str], set[str]] = {}
    for run, event, after in _walk():
        ends = (f"{run.phase}{safe[_shown_safe(run)]}", f"{after.phase}{safe[_shown_safe(after)]}")
        if ends[0] != ends[1]:
            edges.setdefault(ends, set()).add(type(event).__name__)
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.FORWARD}"]
    lines += [f"    {start} --> {end} : {', '.join(sorted(names))}" for (start, end), names in sorted(edges.items())]
    lines += [f"    {phase} --> [*]" for phase in (Phase.DONE, Phase.REVERTED)]
    lines += ['    state "forward, backup safe" as forward_after_pivot']
    lines += ['    state "stuck, backup safe, cleanup owed" as stuck_after_pivot']
    return "\n".join(lines)


def _shown_safe(run: Run) -> bool:
    return run.committed and run.phase in (Phase.FORWARD, Phase.STUCK)


def _walk() -> Iterator[tuple[Run, Event, Run]]:
    """Visit every transition of two short protocols of the source, which between them show every kind of it."""
    waiting = [
        begin(Opened("run", RunKind.BACKUP, Site.SOURCE, "volume", BackupMode.DIRECT)),
        begin(Opened("run", RunKind.RESTORE, Site.SOURCE, "volume", RestoreMode.VOLUME)),
    ]
    seen = {_shape(run) for run in waiting}
    while waiting:
        run = waiting.pop()
        for event in _candidates(run):
            try:
                after = evolve(run, event)
            except ProtocolViolation:
                continue
            yield run, event, after
            if _shape(after) not in seen:
                seen.add(_shape(after))
                waiting.append(after)


def _shape(run: Run) -> tuple[object, ...]:
    owed = tuple(leftover.step for leftover in run.leftovers)
    attempts = tuple(sorted((step, min(run.attempts(step), ATTEMPTS)) for step in set(run.started)))
    undos = (run.to_undo, min(len(run.doubts), ATTEMPTS), run.waiting, run.again)
    return (run.opened.kind, run.phase, run.position, run.open, attempts, undos, owed, run.committed, run.cancelled)


def _candidates(run: Run) -> Iterator[Event]:
    problem = Problem("NightwellError", "", "", "", "", "")
    yield from (Resumed(1, ""), CancelRequested(""), Reopened(""), Resolved("", ""), FoundCommitted("v", _FOUND))
    action = run.next()
    if action is not None:
        step = action.step
        yield from (Started(step), UndoStarted(step), Failed(step, problem), Doubted(step, problem))
        yield from (Finished(step, Facts(version_id="v")), Undone(step, Facts(committed=False)))
        yield UndoFailed(step, problem)


_FOUND = Facts(committed=True, version_id="v")

# ---------------------------------------------------------------- the document


def with_diagrams(text: str) -> str:
    """Return a document with every diagram between its markers brought up to date.

    Raises
    ------
    InputError
        When the document lacks the markers of a diagram, or has some that are unknown.
    """
    drawn = diagrams()
    named = {match["name"] for match in _BLOCK.finditer(text)}
    if named != drawn.keys():
        raise InputError(
            f"{DOCUMENT}",
            expected=f"the markers of {', '.join(sorted(drawn))}",
            found=f"those of {', '.join(sorted(named)) or 'none'}",
            cause="a protocol or a mode came or went",
            next_step="write `<!-- diagram: NAME -->` and `<!-- end -->` where each missing one belongs",
        )
    return _BLOCK.sub(lambda match: f"{match[1]}```mermaid\n{drawn[match['name']]}\n```\n{match[3]}", text)


def main(arguments: list[str] | None = None) -> int:
    """Write the diagrams, or check them; the exit status is 1 when ``--check`` finds them stale."""
    parser = argparse.ArgumentParser(prog="python -m nightwell.protocol.diagram", description=__doc__)
    parser.add_argument("document", nargs="?", type=Path, default=DOCUMENT)
    parser.add_argument("--check", action="store_true", help="only say whether the diagrams are stale")
    given = parser.parse_args(arguments)
    text = given.document.read_text(encoding="utf-8")
    fresh = with_diagrams(text)
    if given.check and fresh != text:
        sys.stderr.write(f"{given.document} is stale: run `python -m nightwell.protocol.diagram`\n")
        return 1
    if fresh != text:
        given.document.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
