"""A test of whether the library explains the spectra, which names the m/z that it does not and the species that would.

One spectrum is too noisy to tell, so spectra are averaged over windows of depth. Counting noise falls with the number
of depths, pattern error does not: the instrument's patterns are equally wrong at all of them. So the variance of an
average is ``sum(counting) / n^2 + (pattern_error * fit)^2``, and a library with good patterns fits it.

Under a library that is complete the weighted sum of squares follows chi-square with the degrees of freedom of the fit
(Pearson's test). Where it does not, each candidate species is put beside the library in turn: the fall of the sum of
squares is a likelihood ratio, its root the species' significance. The best joins the library and the search goes on
(forward selection), until none brings enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import chi2 as chi_square

from nightwell.errors import InputError
from nightwell.wells.deconvolve import Deconvolver
from nightwell.wells.nnls import solve
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.spectrum_windows import WINDOW_DEPTHS, Windows, average_windows

Floats = NDArray[np.float64]

#: A window whose sum of squares is less probable than this does not fit.
LEAST_PROBABILITY = 1e-4

#: An m/z, and a candidate species, count from this many sigmas on.
LEAST_SIGMAS = 5.0

_MOST_CANDIDATES = 5
_AS_GOOD = 0.8


@dataclass(frozen=True, slots=True)
class UnexplainedPeak:
    """An m/z that the library does not explain: where its residual stands out most, and by how many sigmas there."""

    mz: int
    sigmas: float
    residual_a: float
    top_m: float
    bottom_m: float


@dataclass(frozen=True, slots=True)
class MissingSpecies:
    """A species of the candidates that would explain what is left.

    Parameters
    ----------
    name
        Name in the candidates' library.
    sigmas
        Root of what it takes off the sum of squares in its best window.
    share
        Share of the excess sum of squares (over all windows that do not fit) that it takes off.
    amount
        In its best window, in the units of the deconvolver.
    top_m, bottom_m
        That window.
    intervals
        Top and bottom, m, of runs of windows where it counts.
    alternatives
        Candidates that do nearly as well: the spectra do not tell which.
    """

    name: str
    sigmas: float
    share: float
    amount: float
    top_m: float
    bottom_m: float
    intervals: tuple[tuple[float, float], ...]
    alternatives: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LackOfFit:
    """What the windows of a stream say of the library.

    Parameters
    ----------
    top_m, bottom_m
        float64 (window).
    mz
        float64 (mz).
    standardised
        float64 (window, mz): residual of the averaged spectrum in sigmas; NaN where nothing was measured.
    chi2, freedom, probability
        float64, int64, float64 (window).
    peaks
        Unexplained m/z, the most significant first.
    missing
        Species that would explain them, in the order in which they were found.
    """

    top_m: Floats
    bottom_m: Floats
    mz: Floats
    standardised: Floats
    chi2: Floats
    freedom: NDArray[np.int64]
    probability: Floats
    peaks: tuple[UnexplainedPeak, ...]
    missing: tuple[MissingSpecies, ...]

    @property
    def fits(self) -> bool:
        """Whether every window fits."""
        return not bool((self.probability < LEAST_PROBABILITY).any())

    def __str__(self) -> str:
        """Say it in one line."""
        if self.fits:
            return "the library explains the spectra"
        if not self.missing:
            poor = np.count_nonzero(self.probability < LEAST_PROBABILITY)
            listed = ", ".join(f"{peak.mz}" for peak in self.peaks[:_MOST_CANDIDATES]) or "none alone"
            return (
                f"the library does not explain {poor} of {self.probability.size} averaged spectra (m/z {listed}),"
                " and no candidate species does"
            )
        return "the library lacks " + "; ".join(
            f"{one.name}{''.join(f' or {other}' for other in one.alternatives)} ({one.sigmas:.0f} sigmas, "
            f"{one.top_m:g} to {one.bottom_m:g} m)"
            for one in self.missing
        )


def lack_of_fit(
    stream: xr.Dataset,
    deconvolver: Deconvolver,
    candidates: SpeciesLibrary,
    *,
    window_depths: int = WINDOW_DEPTHS,
) -> LackOfFit:
    """Test whether the library explains a stream, and rank species that it may lack.

    Parameters
    ----------
    stream
        A stream of a cube.
    deconvolver
        Made for it.
    candidates
        Species that might be there, for instance ``load_library(core=False)``; those of the deconvolver's library and
        those that the m/z axis cannot show are passed over.
    window_depths
        Depths averaged together, at least 1.

    Raises
    ------
    InputError
        ``window_depths`` is not positive.
    """
    if window_depths < 1:
        raise InputError(
            "lack-of-fit test",
            expected="windows of at least one depth",
            found=f"{window_depths}",
            cause="a setting was mistyped",
            next_step=f"leave it at {WINDOW_DEPTHS}",
        )
    return examine_windows(average_windows(stream, window_depths), deconvolver, candidates)


def examine_windows(windows: Windows, deconvolver: Deconvolver, candidates: SpeciesLibrary) -> LackOfFit:
    """Test averaged spectra; parameters and result as :func:`lack_of_fit`."""
    guess = windows.counting + (deconvolver.pattern_error * np.maximum(windows.spectra, 0.0)) ** 2
    first = solve(deconvolver.design, windows.spectra, guess, signed=deconvolver.signed, with_errors=False)
    variance = windows.counting + deconvolver.pattern_variance(first)
    found = solve(deconvolver.design, windows.spectra, variance, signed=deconvolver.signed, with_errors=False)
    residual = windows.spectra - found.fit
    with np.errstate(invalid="ignore", divide="ignore"):
        standardised = residual / np.sqrt(variance)
    freedom = np.maximum(found.freedom, 1)
    result = LackOfFit(
        top_m=windows.top_m,
        bottom_m=windows.bottom_m,
        mz=deconvolver.mz,
        standardised=np.where(np.isfinite(standardised), standardised, np.nan),
        chi2=found.chi2,
        freedom=freedom,
        probability=np.asarray(chi_square.sf(found.chi2, freedom), dtype=np.float64),
        peaks=(),
        missing=(),
    )
    if result.fits:
        return result
    missing = _search(windows, variance, deconvolver, candidates, result)
    return replace(result, peaks=_unexplained(result, residual), missing=missing)


def _unexplained(result: LackOfFit, residual: Floats) -> tuple[UnexplainedPeak, ...]:
    score = np.where(np.isfinite(result.standardised), result.standardised, 0.0)
    peaks = []
    for column in np.flatnonzero((np.abs(score) >= LEAST_SIGMAS).any(axis=0)).tolist():
        window = int(np.abs(score[:, column]).argmax())
        peaks.append(
            UnexplainedPeak(
                round(result.mz[column]),
                float(score[window, column]),
                float(residual[window, column]),
                float(result.top_m[window]),
                float(result.bottom_m[window]),
            )
        )
    return tuple(sorted(peaks, key=lambda peak: -abs(peak.sigmas)))


def _search(
    windows: Windows, variance: Floats, deconvolver: Deconvolver, candidates: SpeciesLibrary, result: LackOfFit
) -> tuple[MissingSpecies, ...]:
    """Select forward: the candidate that takes most off the sum of squares joins, and again."""
    known = set(deconvolver.library.names) | {leaf for one in deconvolver.library.species for leaf in one.members}
    covered, _ = candidates.covered(deconvolver.mz)
    names = [one.name for one in covered.species if one.name not in known]
    patterns = deconvolver.columns(covered.select(names))
    design, signed, chi2 = deconvolver.design, deconvolver.signed, result.chi2
    excess = float(np.maximum(result.chi2 - result.freedom, 0.0).sum())
    found: list[MissingSpecies] = []
    while names and len(found) < _MOST_CANDIDATES:
        falls, amounts = np.empty((len(names), chi2.size)), np.empty((len(names), chi2.size))
        for at in range(len(names)):
            wider = np.column_stack([design, patterns[:, at]])
            one = solve(wider, windows.spectra, variance, signed=np.append(signed, [False]), with_errors=False)
            falls[at], amounts[at] = chi2 - one.chi2, one.value[:, -1]
        total = falls.sum(axis=1)
        best = int(total.argmax())
        window = int(falls[best].argmax())
        sigmas = float(np.sqrt(max(falls[best, window], 0.0)))
        if sigmas < LEAST_SIGMAS:
            break
        alike = [names[at] for at in np.argsort(-total) if at != best and total[at] >= _AS_GOOD * total[best]]
        top, bottom = float(windows.top_m[window]), float(windows.bottom_m[window])
        share, amount = float(total[best]) / excess, float(amounts[best, window])
        where = _intervals(windows, falls[best] >= LEAST_SIGMAS**2)
        found.append(MissingSpecies(names[best], sigmas, share, amount, top, bottom, where, tuple(alike)))
        design, signed, chi2 = (
            np.column_stack([design, patterns[:, best]]),
            np.append(signed, [False]),
            chi2 - falls[best],
        )
        patterns = np.delete(patterns, best, axis=1)
        names.pop(best)
    return tuple(found)


def _intervals(windows: Windows, counts: NDArray[np.bool_]) -> tuple[tuple[float, float], ...]:
    """Return top and bottom of runs of windows that count."""
    edges = np.flatnonzero(np.diff(counts.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    return tuple((float(windows.top_m[first]), float(windows.bottom_m[end - 1])) for first, end in edges.tolist())
