#!/usr/bin/env python3
"""How near deconvolved amounts come to what was put in, and whether the stated one-sigma is true.

Mixtures in air at 100 counts per ppm of nitrogen, counting noise, and patterns wrong by 0, 1, 3 and 10 %: every
spectrum comes from an instrument with pattern errors of its own and is solved with the library that ships, the true
pattern error being stated. And one real quadrupole scan, solved with every species that its m/z axis can show. All but
that scan is simulated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deconvolve import heading, write_part

from nightwell.wells.composition import published_gases
from nightwell.wells.deconvolve import Deconvolution, make_deconvolver
from nightwell.wells.instrument import Instrument
from nightwell.wells.nnls import solve
from nightwell.wells.quadrupole import import_quadrupole
from nightwell.wells.species_file import load_library

Floats = NDArray[np.float64]

MARKS = ("<!-- accuracy: begin -->", "<!-- accuracy: end -->")
ERRORS = (0.0, 0.01, 0.03, 0.10)
AIR = {"nitrogen": 780_000.0, "oxygen": 209_000.0, "argon": 9_300.0}
FLOOR_MIXTURE = AIR | {
    "methane": 10_000.0, "ethane": 1_000.0, "propane": 500.0, "isobutane": 80.0, "n_butane": 150.0, "isopentane": 50.0,
    "n_pentane": 50.0, "benzene": 5.0, "toluene": 5.0, "acetic_acid": 5.0, "hydrogen_sulfide": 5.0,
}  # fmt: skip
#: RMS percent of a measured floor, with perfect patterns and with 3 % pattern error.
FLOORS = {
    "methane": (0.1, 2.0), "ethane": (0.5, 2.2), "propane": (1.1, 2.7), "isobutane": (4.9, 9.9), "n_butane": (2.5, 4.2),
    "isopentane": (6.7, 12.1), "n_pentane": (4.1, 6.1), "benzene": (2.2, 3.1), "acetic_acid": (4.7, 5.5),
}  # fmt: skip
#: Counts: 100 per ppm of nitrogen, transmission falling with the root of m/z, a noise floor of one count.
COUNTER = Instrument(
    "simulated ion counter", nitrogen_sensitivity_a_per_ppm=100.0, transmission_exponent=0.5, dwell_s=1.0,
    ion_charge_c=1.0, excess_noise=1.0, noise_floor_a=1.0,
)  # fmt: skip
LEAST_STATED = 0.0005  # with perfect patterns; the stated error may not be zero where a peak has 1e7 counts
QUADRUPOLE = "qms/anatema_2025-03-12_Ar-EtOH_plasma_peakheights.csv"
#: The scan's baseline stands where no ion falls; and a peak leaks this share of itself to its neighbours.
OFF_MASS, LEAK = (5, 11), 0.003


def cube_of(mixture: dict[str, float], error: float, count: int, seed: int) -> xr.Dataset:
    """Return spectra of one mixture, each from an instrument with pattern errors of its own."""
    library, rng = load_library(), np.random.default_rng(seed)
    mz = np.arange(1.0, 121.0)
    ppm = np.array([mixture.get(name, 0.0) for name in library.names])
    columns = library.design_matrix(mz, transmission_exponent=0.5) * 100.0 * ppm
    wrong = 1.0 + error * rng.standard_normal((count, *columns.shape))
    clean = (columns * np.maximum(wrong, 0.0)).sum(axis=2)
    counts = rng.poisson(clean) + rng.standard_normal(clean.shape)
    return xr.Dataset(
        {
            "intensity": (("depth", "mz"), counts),
            "variance": (("depth", "mz"), np.maximum(counts, 0.0) + 1.0),
            "scan_count": ("depth", np.ones(count)),
            "flag": ("depth", np.zeros(count), {"flag_meanings": "", "flag_masks": []}),
        },
        coords={"depth": np.arange(float(count)), "mz": mz},
    )


def scores(
    mixture: dict[str, float], error: float, count: int, *, is_told: bool = False, seed: int = 1
) -> dict[str, tuple[float, float]]:
    """Return RMS percent, and the share of amounts within one stated sigma, by species.

    ``is_told``: the library holds what is in the mixture, water and carbon dioxide, and nothing else.
    """
    library = load_library()
    if is_told:
        library = library.select([name for name in library.names if name in {*mixture, "water", "carbon_dioxide"}])
    cube = cube_of(mixture, error, count, seed)
    bound = make_deconvolver(cube, COUNTER, library, Deconvolution(pattern_error=max(error, LEAST_STATED)))
    found = bound.solve(cube)
    out = {}
    for name, ppm in mixture.items():
        if name in library.names and ppm > 0:
            at = library.index(name)
            off = found.value[:, at] - ppm
            within = np.abs(off) <= found.sigma[:, at]
            out[name] = float(100 * np.sqrt(np.mean((off / ppm) ** 2))), float(100 * np.mean(within))
    return out


def bound_of(mixture: dict[str, float], error: float) -> dict[str, float]:
    """Return the percent below which no method comes that is told what is in the mixture, by species.

    The standard deviation of weighted least squares with the true variances, amounts not held above zero.
    """
    library = load_library()
    library = library.select([name for name in library.names if name in {*mixture, "water", "carbon_dioxide"}])
    ppm = np.array([mixture.get(name, 0.0) for name in library.names])
    design = library.design_matrix(np.arange(1.0, 121.0), transmission_exponent=0.5) * 100.0
    variance = (design * ppm).sum(axis=1) + 1.0 + ((error * design * ppm) ** 2).sum(axis=1)
    sigma = np.sqrt(np.diag(np.linalg.inv(design.T @ (design / variance[:, None]))))
    return {name: float(100.0 * sigma[library.index(name)] / value) for name, value in mixture.items()}


def table_of(mixture: dict[str, float], count: int, *, floors: bool, is_told: bool = False) -> str:
    """Return the scores of a mixture as Markdown."""
    by_error = [scores(mixture, error, count, is_told=is_told) for error in ERRORS]
    heads = [f"{100 * error:g} %" for error in ERRORS]
    title = ["species", "ppm", *heads, *(["floor 0 %", "floor 3 %"] if floors else []), *(f"in 1s, {h}" for h in heads)]
    bounds = [bound_of(mixture, error) for error in ERRORS] if is_told else []
    title += [f"bound, {h}" for h in heads if is_told]
    lines = ["| " + " | ".join(title) + " |", "|" + "---|" * len(title)]
    for name in by_error[0]:
        low = [f"{value:g}" for value in FLOORS[name]] if name in FLOORS else ["", ""]
        cells = [name, f"{mixture[name]:.4g}", *(f"{one[name][0]:.2f}" for one in by_error), *(low if floors else [])]
        cells += [f"{one[name][1]:.0f}" for one in by_error] + [f"{one[name]:.2f}" for one in bounds]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def gas_in_air(gas: str, ppm: float = 20_000.0) -> dict[str, float]:
    """Return a published natural gas diluted in air."""
    mixture = {name: value * (1.0 - ppm / 1e6) for name, value in AIR.items()}
    for name, share in published_gases()[gas].items():
        mixture[name] = mixture.get(name, 0.0) + ppm * share
    return mixture


def real_scan(path: Path) -> str:
    """Solve the real scan with all species that its axis can show, and return them by significance, as Markdown."""
    scans = import_quadrupole(path).scans["scans"].to_dataset()
    current, mz = scans["intensity"].to_numpy().astype(np.float64), scans["mz"].to_numpy()
    off = (mz >= OFF_MASS[0]) & (mz <= OFF_MASS[1])
    current -= np.median(current[:, off], axis=1, keepdims=True)
    mean, scatter = current.mean(axis=0), current[:, off].std()
    beside = np.maximum(np.append(mean[1:], 0.0), np.insert(mean[:-1], 0, 0.0))
    library, missing = load_library(core=False).covered(mz)
    design = library.pattern_matrix(mz) * library.sensitivities * (28.0 / mz[:, None]) ** 0.5
    error = 0.10  # patterns of a library, not of this instrument
    variance = scatter**2 + (error * np.maximum(mean, 0.0)) ** 2 + (LEAK * np.maximum(beside, 0.0)) ** 2
    found = solve(design, mean[None], variance[None])
    significance = np.nan_to_num(found.value[0] / found.sigma[0])
    lines = ["| species | share of amounts | sigmas |", "|---|---|---|"]
    for at in np.argsort(-significance):
        if significance[at] > 1.0 or library.names[at] in {"ethanol", "acetaldehyde", "methane", "ethylene"}:
            share = found.value[0, at] / np.nansum(found.value[0])
            lines.append(f"| {library.names[at]} | {share:.2e} | {significance[at]:.1f} |")
    standardised = (mean - found.fit[0]) / np.sqrt(variance)
    worst = np.argsort(-np.abs(standardised))[:5]
    listed = ", ".join(f"{mz[at]:.0f} ({standardised[at]:+.1f})" for at in worst)
    explained = 100.0 * float(np.minimum(found.fit[0], mean)[mean > 0].sum() / mean[mean > 0].sum())
    return (
        f"{len(library.names)} species on m/z {mz[0]:.0f} to {mz[-1]:.0f} ({len(missing)} others need higher m/z),"
        f" condition number {library.condition_number(mz):.3g}; {100 * error:.0f} % pattern error stated, transmission"
        f" exponent 0.5 assumed. The fit holds {explained:.1f} % of the current; chi-square {found.chi2[0]:.0f} with"
        f" {found.freedom[0]} degrees of freedom; worst m/z (sigmas): {listed}.\n\n" + "\n".join(lines) + "\n"
    )


def report(count: int, data: Path) -> str:
    """Measure, and return the figures as Markdown."""
    intro = (
        f"RMS percent of {count} simulated spectra by pattern error, and the percentage of amounts within one stated"
        " sigma (68 is right). Floors: those of a perfect-library experiment on the same mixture.\n"
    )
    parts = [intro, "The whole core library (38 species):\n", table_of(FLOOR_MIXTURE, count, floors=True)]
    parts += ["A library of what is in the mixture, water and carbon dioxide alone:\n"]
    parts += [table_of(FLOOR_MIXTURE, count, floors=True, is_told=True)]
    for gas in published_gases():
        parts += [
            f"Published gas `{gas}` (AGA Report No. 8), 2 % in air:\n",
            table_of(gas_in_air(gas), count, floors=False),
        ]
    if data.is_dir():
        parts += [
            "A real scan, argon plasma fed with ethanol (m/z 1 to 50, mean of 7 cycles):\n",
            real_scan(data / QUADRUPOLE),
        ]
    return "\n".join(parts)


def compare(mixture: dict[str, float], error: float, count: int, sigmas: float) -> None:
    """Print for what is in a mixture besides air how near whole fits come, and fits without species of few sigmas.

    From each spectrum the species with the fewest sigmas above zero is left out and the rest is solved anew, until all
    that stay have as many as asked for.
    """
    print(f"{100 * error:g} % pattern error: RMS % (within one stated sigma %)")
    library = load_library()
    cube = cube_of(mixture, error, count, seed=1)
    bound = make_deconvolver(cube, COUNTER, library, Deconvolution(pattern_error=max(error, LEAST_STATED)))
    whole = bound.solve(cube)
    intensity, variance, _ = bound.weigh(cube)
    noise = np.sqrt(variance)
    pairs = [
        with_evidence(bound.design / noise[row][:, None], intensity[row] / noise[row], ~bound.signed, sigmas)
        for row in range(count)
    ]
    value, sigma = (np.array(part) for part in zip(*pairs, strict=True))
    for name, ppm in mixture.items():
        if name not in AIR:
            at = library.index(name)
            ways = ((whole.value[:, at], whole.sigma[:, at]), (value[:, at], sigma[:, at]))
            words = [f"{rms(amount, ppm):7.2f} ({covered(amount, one, ppm):3.0f})" for amount, one in ways]
            print(f"  {name:18}{ppm:10.1f} ppm {words[0]}  left out: {words[1]}")


def with_evidence(design: Floats, data: Floats, may_go: NDArray[np.bool_], sigmas: float) -> tuple[Floats, Floats]:
    """Return amounts and their one-sigma, zero and NaN for species that were left out."""
    kept = np.ones(design.shape[1], dtype=bool)
    while True:
        at = np.flatnonzero(kept)
        found, _ = nnls(design[:, at], data)
        off = at[found > 0.0]
        value, sigma = np.zeros(kept.size), np.full(kept.size, np.nan)
        value[at] = found
        sigma[off] = np.sqrt(np.diag(np.linalg.inv(design[:, off].T @ design[:, off])))
        evidence = np.where(may_go & (value > 0.0), value / sigma, np.inf)
        kept &= ~may_go | (value > 0.0)
        least = int(np.argmin(evidence))
        if evidence[least] >= sigmas:
            return value, sigma
        kept[least] = False


def rms(amount: Floats, ppm: float) -> float:
    return float(100.0 * np.sqrt(np.mean((amount / ppm - 1.0) ** 2)))


def covered(amount: Floats, sigma: Floats, ppm: float) -> float:
    return float(100.0 * np.mean(np.abs(amount - ppm) <= sigma))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few spectra: does it work at all")
    parser.add_argument("--page", type=Path, help="put the figures into this page, as docs/deconvolution.md")
    parser.add_argument(
        "--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data", help="folder of real data"
    )
    parser.add_argument(
        "--leave-out", type=float, metavar="SIGMAS", help="only show what leaving out species of fewer sigmas would do"
    )
    options = parser.parse_args(arguments)
    if options.leave_out:
        mixtures = {"mixture of the floors": FLOOR_MIXTURE} | {gas: gas_in_air(gas) for gas in published_gases()}
        for title, mixture in mixtures.items():
            print(title)
            for error in (0.0, 0.03):
                compare(mixture, error, 40 if options.smoke else 300, options.leave_out)
        return 0
    words = ["benchmarks/accuracy/accuracy.py", *(arguments if arguments is not None else sys.argv[1:])]
    text = heading(" ".join(words)) + "\n" + report(40 if options.smoke else 1000, options.data)
    print(text)
    if options.page:
        write_part(options.page, MARKS, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
