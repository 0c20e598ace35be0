#!/usr/bin/env python3
"""Weighted non-negative least squares with one-sigmas: nightwell beside the loop that one would write with scipy.

Simulated spectra: 48 species of the library that ships on 200 m/z, amounts that wander with depth, a third of them
absent, counting noise and 2 % pattern error in the weights. Both sides get the same arrays and give the amount and the
one-sigma of every species; seconds are of the processor, and the turns alternate, so that a busy machine is busy for
both; NumPy and SciPy have one thread. Amounts are compared before any figure is printed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import scipy
import scipy.optimize
from numpy.typing import NDArray
from results import describe_machine

from nightwell.wells.monte_carlo import MonteCarlo, scatter_of
from nightwell.wells.nnls import Solution, solve
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.species_file import load_library

Floats = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[1]
MZ, SPECIES = 200, 48
MARKS = ("<!-- speed: begin -->", "<!-- speed: end -->")
SHOT, FLOOR, PATTERN_ERROR = 0.1, 0.01, 0.02
AGREE = 1e-9
LOOP = "scipy.optimize.nnls in a loop"


def library_of(count: int) -> SpeciesLibrary:
    """Return the core species and, in the order of the file, others until there are ``count``."""
    core, every = load_library(), load_library(core=False)
    others = [name for name in every.names if name not in core.names]
    axis = np.arange(1.0, MZ + 1.0)
    chosen = list(core.names)
    for name in others:
        if len(chosen) < count and every.select([*chosen, name]).condition_number(axis) < 200.0:
            chosen.append(name)
    return every.select(chosen[:count])


def spectra_of(design: Floats, depths: int, seed: int = 1) -> tuple[Floats, Floats]:
    """Return spectra and their variances (depth, mz), in counts."""
    rng = np.random.default_rng(seed)
    species = design.shape[1]
    level = 10.0 ** rng.uniform(0, 4, species) * (rng.random(species) < 2 / 3)
    wander = np.exp(np.cumsum(0.02 * rng.standard_normal((depths, species)), axis=0))
    clean = (level * wander) @ design.T
    variance = SHOT * clean + FLOOR + PATTERN_ERROR**2 * ((level * wander) ** 2 @ (design**2).T)
    return clean + rng.standard_normal(clean.shape) * np.sqrt(variance), variance


def with_scipy(design: Floats, spectra: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Do it as one would: weigh, ``scipy.optimize.nnls``, and the covariance of what is not at the bound."""
    value, sigma = np.zeros((2, spectra.shape[0], design.shape[1]))
    for row, (y, v) in enumerate(zip(spectra, variance, strict=True)):
        root = 1.0 / np.sqrt(v)
        weighted = design * root[:, None]
        value[row], _ = scipy.optimize.nnls(weighted, y * root)
        passive = value[row] > 0
        part = weighted[:, passive]
        sigma[row, passive] = np.sqrt(np.diag(np.linalg.inv(part.T @ part)))
    return value, sigma


def on_threads(design: Floats, spectra: Floats, variance: Floats, threads: int) -> list[Solution]:
    """Solve equal shares of the depths on threads."""
    shares = np.array_split(np.arange(spectra.shape[0]), threads)
    with ThreadPoolExecutor(threads) as pool:
        return list(
            pool.map(lambda rows: solve(design, spectra[rows], variance[rows], with_limit=False), shares),
        )


def seconds_of(jobs: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Return the processor seconds of each job, in turns that alternate."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(turns):
        for name, job in jobs.items():
            began = time.process_time()
            job()
            found[name].append(time.process_time() - began)
    return found


def threads_table(design: Floats, spectra: Floats, variance: Floats, turns: int) -> str:
    """Return what one and two threads take by the wall's clock, and the cores that they got, as Markdown."""
    lines = ["| threads | us per spectrum, wall | cores that they got |", "|---|---|---|"]
    for threads in (1, 2):
        best = (float("inf"), 0.0)
        for _ in range(turns):
            wall, processor = time.perf_counter(), time.process_time()
            on_threads(design, spectra, variance, threads)
            took = time.perf_counter() - wall
            best = min(best, (took, (time.process_time() - processor) / took))
        lines.append(f"| {threads} | {1e6 * best[0] / spectra.shape[0]:.1f} | {best[1]:.2f} |")
    return "\n".join(lines) + "\n"


def run(depths: int, loop_depths: int, turns: int) -> str:
    """Measure, and return the figures as Markdown."""
    library = library_of(SPECIES)
    axis = np.arange(1.0, MZ + 1.0)
    design = library.design_matrix(axis, transmission_exponent=0.5)
    spectra, variance = spectra_of(design, depths)
    few = spectra[:loop_depths], variance[:loop_depths]
    ours, (value, sigma) = solve(design, *few), with_scipy(design, *few)
    apart = float(np.max(np.abs(ours.value - value) / value.max(axis=1, keepdims=True)))
    if apart > AGREE:
        raise SystemExit(f"amounts differ from scipy's by {apart:.1e} of the largest; no figure is worth printing")
    wider = float(np.min((ours.sigma / np.where(sigma > 0, sigma, np.inf))[sigma > 0]))
    drawn = min(loop_depths, 64)
    draws = MonteCarlo(draws=100)
    jobs: dict[str, Callable[[], object]] = {
        LOOP: lambda: with_scipy(design, *few),
        "nightwell, value and sigma": lambda: solve(design, spectra, variance, with_limit=False),
        "nightwell, and detection limits": lambda: solve(
            design, spectra, variance, own_shot=np.full_like(spectra, SHOT), own_relative=PATTERN_ERROR
        ),
        f"nightwell, Monte Carlo of {draws.draws} draws": lambda: scatter_of(
            design, ours.value[:drawn], few[1][:drawn], few[1][:drawn], PATTERN_ERROR, draws,
            keys=np.arange(float(drawn)),
        ),
    }  # fmt: skip
    each = {LOOP: loop_depths, f"nightwell, Monte Carlo of {draws.draws} draws": drawn}
    solved = {name: draws.draws if "Monte Carlo" in name else 1 for name in jobs}
    found = seconds_of(jobs, turns)
    us = {name: 1e6 * np.array(seconds) / each.get(name, depths) for name, seconds in found.items()}
    lines = ["| | us per spectrum, least | times scipy, median of turns | least of turns |", "|---|---|---|---|"]
    for name, took in us.items():
        ratio = solved[name] * us[LOOP] / took
        lines.append(f"| {name} | {took.min():.1f} | {np.median(ratio):.1f} | {ratio.min():.1f} |")
    passive = float(np.mean((ours.value > 0).sum(axis=1)))
    condition = library.condition_number(axis)
    return (
        f"{MZ} m/z x {SPECIES} species, condition number {condition:.0f}, {passive:.1f} species off the bound in the"
        f" mean; {depths} depths ({loop_depths} for scipy), {turns} turns, processor seconds, one thread.\nAmounts"
        f" differ from scipy's by at most {apart:.1e} of the largest; a sigma is at least {wider:.3f} of"
        " the loop's.\n\n"
        + "\n".join(lines)
        + "\n\n"
        + threads_table(design, np.tile(spectra, (4, 1)), np.tile(variance, (4, 1)), turns)
    )


def write_part(page: Path, marks: tuple[str, str], text: str) -> None:
    """Put text into a page, between two marks; the words around them stay."""
    before, begin, rest = page.read_text().partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise SystemExit(f"{page} lacks the marks {marks[0]} and {marks[1]}")
    page.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")


def heading(command: str) -> str:
    """Return when, where and with what a figure was measured."""
    when = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"Command `{command}`, {when}, commit {commit or 'unknown'}. {describe_machine()}; load average before: {load}."
        f" NumPy {np.__version__}, SciPy {scipy.__version__}, OPENBLAS_CORETYPE"
        f" {os.environ.get('OPENBLAS_CORETYPE', 'not set')}.\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few depths: does it work at all")
    parser.add_argument("--page", type=Path, help="put the figures into this page, as docs/deconvolution.md")
    options = parser.parse_args(arguments)
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    if not one_thread.items() <= os.environ.items():  # a core against a core; NumPy reads it when it starts
        again = [sys.executable, __file__, *(arguments if arguments is not None else sys.argv[1:])]
        return subprocess.run(again, env=os.environ | one_thread, check=False).returncode
    words = ["benchmarks/deconvolve.py", *(arguments if arguments is not None else sys.argv[1:])]
    head = heading(" ".join(words))
    text = head + run(*((64, 16, 1) if options.smoke else (2000, 200, 9)))
    print(text)
    if options.page:
        write_part(options.page, MARKS, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
