#!/usr/bin/env python3
"""Wells per second of a night: against workers, against the size of a well, and end to end beside xarray and scipy.

All wells are SIMULATED (nightwell.wells.fleet.generator). Every figure is of one run on one machine; those of one table
were measured one after the other, so they say something beside each other only.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet_by_hand import analyse_by_hand
from results import describe_machine

from nightwell.wells.archive import ResultsArchive
from nightwell.wells.container import open_scans
from nightwell.wells.fleet.catalogue import candidates_in
from nightwell.wells.fleet.cluster import dask_client
from nightwell.wells.fleet.find_stale import find_stale
from nightwell.wells.fleet.generator import FleetPlan, write_fleet
from nightwell.wells.fleet.night import run_jobs
from nightwell.wells.fleet.well_task import MIB, Ending, WellJob, analyse_one
from nightwell.wells.method import Method

ROOT = Path(__file__).resolve().parents[1]
MARKS = ("<!-- fleet: begin -->", "<!-- fleet: end -->")
MEMORY_BYTES = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Size:
    """One size of well."""

    length_m: float
    wells: int


@dataclass(frozen=True, slots=True)
class NightRow:
    """One night."""

    workers: int
    wells: int
    length_m: float
    scans: int
    spectra: int
    start_s: float
    wall_s: float
    well_s: float
    again_s: float
    peak_bytes: int

    @property
    def wells_per_s(self) -> float:
        return self.wells / self.wall_s


@dataclass(frozen=True, slots=True)
class HandRow:
    """One well by nightwell in one process without a cluster, and by hand."""

    length_m: float
    spectra: int
    ours_s: float
    by_hand_s: float
    by_hand_solve_s: float
    ours_cpu_s: float
    by_hand_cpu_s: float
    largest_difference: float

    @property
    def times(self) -> float:
        """Processor time by hand over nightwell's: what else the machine does hardly touches it."""
        return self.by_hand_cpu_s / self.ours_cpu_s


@dataclass(frozen=True, slots=True)
class FleetRun:
    """All that was measured."""

    command: str
    when: str
    commit: str
    machine: str
    load_average: tuple[float, float, float]
    nights: list[NightRow]
    by_hand: list[HandRow]


SIZES = (Size(60.0, 100), Size(600.0, 8), Size(2400.0, 2))
SMOKE = (Size(25.0, 2),)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; status 1 when results by hand differ."""
    options = _parse(arguments)
    load = os.getloadavg()
    sizes = SMOKE if options.smoke else SIZES
    options.out.mkdir(parents=True, exist_ok=True)
    method = Method.default()
    nights: list[NightRow] = []
    by_hand: list[HandRow] = []
    with tempfile.TemporaryDirectory(prefix="fleet-", dir=options.out) as scratch:
        folder = Path(scratch)
        for size in sizes:
            scans = folder / f"scans-{size.length_m:g}"
            write_fleet(FleetPlan(size.wells, length_m=size.length_m), scans)
        for size in sizes:
            scans = folder / f"scans-{size.length_m:g}"
            by_hand.append(measure_by_hand(scans, size, method, folder))
            for workers in options.workers:
                nights.append(measure_night(scans, size, method, workers, folder / f"{size.length_m:g}-{workers}"))
                print(f"  {nights[-1]}", file=sys.stderr, flush=True)
    run = FleetRun(
        command=shlex.join(["benchmarks/fleet.py", *(arguments if arguments is not None else sys.argv[1:])]),
        when=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=_commit(),
        machine=describe_machine(),
        load_average=load,
        nights=nights,
        by_hand=by_hand,
    )
    print(page_part(run))
    name = run.when[:16].replace(" ", "T").replace(":", "")
    (options.out / f"fleet-{name}.json").write_text(json.dumps(dataclasses.asdict(run), indent=1) + "\n")
    if options.page:
        write_page(options.page, run)
    return 0 if all(row.largest_difference < 1e-4 for row in by_hand) else 1


def measure_night(scans: Path, size: Size, method: Method, workers: int, results: Path) -> NightRow:
    """Measure one night on workers that have analysed a well before: libraries loaded, kernels compiled."""
    with _timed() as start, dask_client(workers=workers, memory_bytes=MEMORY_BYTES) as client:
        plan = find_stale(candidates_in(scans).candidates, method, results / "warm")
        warm = [WellJob(need, results / "warm", MEMORY_BYTES) for need in plan.needs[:workers]]
        list(run_jobs(client, warm, method))
        start.stop()
        with _timed() as wall:
            plan = find_stale(candidates_in(scans).candidates, method, results)
            jobs = [WellJob(need, results, MEMORY_BYTES) for need in plan.needs]
            outcomes = list(run_jobs(client, jobs, method))
    assert {one.ending for one in outcomes} == {Ending.COMPUTED}, [one.error for one in outcomes]
    with _timed() as again:
        plan = find_stale(candidates_in(scans).candidates, method, results)
    assert all(need.known is not None for need in plan.needs), "nothing is stale any more"
    return NightRow(
        workers=workers,
        wells=size.wells,
        length_m=size.length_m,
        scans=open_scans(next(iter(sorted(scans.iterdir()))))["scans"].sizes["scan"],
        spectra=_spectra(results, outcomes[0].well),
        start_s=start.seconds,
        wall_s=wall.seconds,
        well_s=sum(one.seconds for one in outcomes) / len(outcomes),
        again_s=again.seconds,
        peak_bytes=max(one.peak_bytes for one in outcomes),
    )


def measure_by_hand(scans: Path, size: Size, method: Method, folder: Path) -> HandRow:
    """Measure one well both ways, each from the container to a committed or written result, in this process."""
    container = next(iter(sorted(scans.iterdir())))
    (need, *_) = find_stale(candidates_in(scans).candidates, method, folder / "ours").needs
    analyse_one(WellJob(need, folder / "warm", MEMORY_BYTES), method)  # kernels are compiled once a machine
    with _timed() as ours:
        outcome = analyse_one(WellJob(need, folder / f"ours-{size.length_m:g}", MEMORY_BYTES), method)
    assert outcome.ending is Ending.COMPUTED, outcome.error
    with _timed() as theirs:
        hand = analyse_by_hand(container, folder / f"by-hand-{size.length_m:g}.zarr", method)
    result = ResultsArchive(folder / f"ours-{size.length_m:g}", outcome.well).open()
    return HandRow(
        length_m=size.length_m,
        spectra=hand.spectra,
        ours_s=ours.seconds,
        by_hand_s=theirs.seconds,
        by_hand_solve_s=hand.solve_s,
        ours_cpu_s=ours.cpu_s,
        by_hand_cpu_s=theirs.cpu_s,
        largest_difference=hand.largest_difference(result),
    )


def _spectra(results: Path, well: str) -> int:
    result = ResultsArchive(results, well).open()
    return sum(node["species"].sizes["depth"] for node in result.children.values() if "species" in node.children)


class _Clock:
    """Seconds from the beginning of a block to its end, or to an earlier stop, and processor time of this process."""

    def __init__(self) -> None:
        self._begun_s, self._begun_cpu_s = time.perf_counter(), time.process_time()
        self.seconds = self.cpu_s = 0.0

    def stop(self) -> None:
        self.seconds = self.seconds or time.perf_counter() - self._begun_s
        self.cpu_s = self.cpu_s or time.process_time() - self._begun_cpu_s


@contextmanager
def _timed() -> Iterator[_Clock]:
    clock = _Clock()
    yield clock
    clock.stop()


# ---------------------------------------------------------------- the page


def page_part(run: FleetRun) -> str:
    """Return the part of the page that a run writes."""
    load = ", ".join(f"{value:.2f}" for value in run.load_average)
    one_worker = {row.length_m: row.wells_per_s for row in run.nights if row.workers == 1}
    nights = [
        [
            f"{row.length_m:g} m",
            f"{row.scans}",
            f"{row.spectra}",
            f"{row.wells}",
            f"{row.workers}",
            f"{row.wells_per_s:.3f}",
            f"{row.wells_per_s / one_worker[row.length_m]:.2f}" if row.length_m in one_worker else "",
            f"{row.start_s:.1f}",
            f"{row.again_s / row.wells * 1e3:.0f}",
            f"{row.peak_bytes / MIB:.0f}",
        ]
        for row in run.nights
    ]
    hand = [
        [
            f"{row.length_m:g} m",
            f"{row.spectra}",
            f"{row.ours_s:.2f}",
            f"{row.by_hand_s:.2f}",
            f"{row.by_hand_solve_s:.2f}",
            f"{row.ours_cpu_s:.2f}",
            f"{row.by_hand_cpu_s:.2f}",
            f"{row.times:.1f}",
            f"{row.largest_difference:.1e}",
        ]
        for row in run.by_hand
    ]
    night_titles = ["well", "scans", "spectra", "wells", "workers", "wells/s", "of one worker", "start s"]
    night_titles += ["ms a well when nothing is stale", "peak MiB of a worker"]
    hand_titles = ["well", "spectra", "nightwell s", "by hand s", "its loop s"]
    hand_titles += ["nightwell CPU s", "by hand CPU s", "times", "largest difference, sigmas"]
    fastest = max(run.nights, key=lambda row: (row.length_m, row.wells_per_s))
    return (
        f"Command `{run.command}`, {run.when}, commit {run.commit}. {run.machine}; load average before: {load}. All "
        f"wells are SIMULATED.\n\n{_table(night_titles, nights)}\n\n{_table(hand_titles, hand)}\n\n"
        f"EXTRAPOLATED, not run: a thousand wells of {fastest.length_m:g} m on {fastest.workers} such workers would "
        f"take {1000 / fastest.wells_per_s / 60:.0f} min at {fastest.wells_per_s:.3f} wells/s.\n"
    )


def _table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_page(page: Path, run: FleetRun) -> None:
    """Put a run's figures into the page, between its marks; the words around them stay."""
    before, _, rest = page.read_text().partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not end:
        raise ValueError(f"{page} lacks the marks {MARKS[0]} and {MARKS[1]}")
    page.write_text(f"{before}{MARKS[0]}\n\n{page_part(run)}\n{end}{after}")


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers (default: 1 2)")
    parser.add_argument("--smoke", action="store_true", help="two small wells: does it work at all")
    parser.add_argument("--page", type=Path, help="put the figures into this page, as docs/fleet.md")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-out", help="folder for scratch and for the JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
