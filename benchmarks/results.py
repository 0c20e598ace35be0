"""What was measured, as numbers, as ratios, as a table and as a page."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
OURS = "nightwell"

#: What stands before and after the figures in a page, by the kind of run.
MARKS = {name: (f"<!-- {name}: begin -->", f"<!-- {name}: end -->") for name in ("figures", "sweep")}


@dataclass(frozen=True, slots=True)
class Row:
    """One case of one tool."""

    case: str
    contender: str
    wall_s: float
    client_cpu_s: float
    server_cpu_s: float
    others_cpu_s: float
    peak_rss_bytes: int
    stored_bytes: int  # what the bucket grew by
    verified: bool | None = None  # of a restore: it equals the image


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the benchmark."""

    command: str
    when: str
    commit: str
    machine: str
    load_average: tuple[float, float, float]
    size_bytes: int
    versions: dict[str, str]
    absent: dict[str, str]  # tools that could not be measured, and why
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Ratio:
    """One case of ours over the best of the other tools; below 1 is better."""

    case: str
    contender: str
    wall: float
    stored: float
    best_wall: str
    best_stored: str


def ratios(rows: Sequence[Row]) -> list[Ratio]:
    """Return each of our cases over the best other tool of that case, for seconds and for stored bytes apart."""
    found = []
    for row in rows:
        others = [other for other in rows if other.case == row.case and not other.contender.startswith(OURS)]
        if not row.contender.startswith(OURS) or not others:
            continue
        quick = min(others, key=lambda other: other.wall_s)
        small = min(others, key=lambda other: other.stored_bytes)
        found.append(
            Ratio(
                case=row.case,
                contender=row.contender,
                wall=row.wall_s / quick.wall_s,
                stored=row.stored_bytes / small.stored_bytes if small.stored_bytes else float("nan"),
                best_wall=quick.contender,
                best_stored=small.contender,
            )
        )
    return found


def table(run: Run) -> str:
    """Return the figures as Markdown, which reads as well on a terminal."""
    by = {(ratio.case, ratio.contender): ratio for ratio in ratios(run.rows)}
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("case", lambda row: row.case),
        ("tool", lambda row: row.contender),
        ("s", lambda row: f"{row.wall_s:.2f}"),
        ("of best", lambda row: _ratio(by.get((row.case, row.contender)), "wall")),
        ("client CPU s", lambda row: f"{row.client_cpu_s:.2f}"),
        ("server CPU s", lambda row: f"{row.server_cpu_s:.2f}"),
        ("arrays CPU s", lambda row: f"{row.others_cpu_s:.2f}" if row.others_cpu_s else ""),
        ("peak MiB", lambda row: f"{row.peak_rss_bytes / MIB:.0f}"),
        ("stored MiB", lambda row: f"{row.stored_bytes / MIB:.2f}" if row.verified is None else ""),
        (
            "of best",
            lambda row: "" if row.verified is not None else _ratio(by.get((row.case, row.contender)), "stored"),
        ),
        ("restored", lambda row: {None: "", True: "equal", False: "DIFFERS"}[row.verified]),
    ]
    lines = [[title for title, _ in columns], *([cell(row) for _, cell in columns] for row in run.rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def _ratio(ratio: Ratio | None, what: str) -> str:
    return "" if ratio is None else f"{getattr(ratio, what):.2f}"


def page_part(run: Run) -> str:
    """Return the part of the page that a run writes."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items()))
    absent = "".join(f"\nNot measured: {name} ({why})." for name, why in run.absent.items())
    load = ", ".join(f"{value:.2f}" for value in run.load_average)
    return (
        f"Command `{run.command}`, {run.when}, commit {run.commit}. {run.machine}; load average before: {load}.\n"
        f"{run.size_bytes // MIB} MiB volume. {versions}.{absent}\n\n{table(run)}\n"
    )


def write_page(page: Path, run: Run, *, kind: str = "figures") -> None:
    """Put a run's figures into the page, between the two marks of its kind; the words around them stay."""
    begin_mark, end_mark = MARKS[kind]
    before, _, rest = page.read_text().partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not end:
        raise ValueError(f"{page} lacks the marks {begin_mark} and {end_mark}")
    page.write_text(f"{before}{begin_mark}\n\n{page_part(run)}\n{end_mark}{after}")


def write_json(path: Path, run: Run) -> None:
    """Write all that was measured."""
    path.write_text(json.dumps(dataclasses.asdict(run), indent=1) + "\n")


def read_json(path: Path) -> Run:
    """Read what :func:`write_json` wrote."""
    document = json.loads(path.read_text())
    rows = [Row(**row) for row in document.pop("rows")]
    return Run(**{**document, "load_average": tuple(document["load_average"])}, rows=rows)


def describe_machine() -> str:
    """Return processor, cores, memory and kernel in one line."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    memory_kib = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{cpu}, {cores} cores, {memory_kib / MIB:.0f} GiB, {system}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
