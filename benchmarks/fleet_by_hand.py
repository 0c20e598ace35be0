"""What a user would write today for one well: xarray, a loop over depths with scipy.optimize.nnls, a Zarr store.

The same cubes, the same variances (twice: the second time from the first fit), the same amounts that may be negative,
and one-sigma from the covariance on the passive set. No indicators, no flags, no limits, no versions: nightwell
does those too in the time that it is given here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.optimize
import xarray as xr
from numpy.typing import NDArray

from nightwell.wells.container import open_scans
from nightwell.wells.contract import Origin
from nightwell.wells.cube import build_cube
from nightwell.wells.deconvolve import Deconvolver, make_deconvolver
from nightwell.wells.method import Method
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ByHand:
    """Amounts and sigmas by stream, and how long the loop alone took."""

    values: dict[str, Floats]
    sigmas: dict[str, Floats]
    solve_s: float

    @property
    def spectra(self) -> int:
        return sum(value.shape[0] for value in self.values.values())

    def largest_difference(self, result: xr.DataTree) -> float:
        """Return the largest difference of an amount from nightwell's, in nightwell's one-sigma."""
        largest = 0.0
        for stream, value in self.values.items():
            group = result[f"{stream}/species"].to_dataset()
            known = np.isfinite(group["value"].to_numpy())
            # Nightwell's amounts are of the whole sample; those by hand, of the air in it.
            share = group["air_fraction"].to_numpy()[:, None] if "air_fraction" in group else 1.0
            apart = np.abs(value * share - group["value"].to_numpy()) / group["sigma"].to_numpy()
            largest = max(largest, float(apart[known].max(initial=0.0)))
        return largest


def analyse_by_hand(container: Path, target: Path, method: Method) -> ByHand:
    """Analyse a well by hand and write the result."""
    scans = open_scans(container)
    cube = build_cube(scans, method.cube)
    origin = Origin.of(cube)
    values: dict[str, Floats] = {}
    sigmas: dict[str, Floats] = {}
    solve_s = 0.0
    for stream in (one for one in Stream if one in cube.children):
        dataset = cube[stream].to_dataset()
        bound = make_deconvolver(dataset, origin.instrument, method.library, method.deconvolution)
        begun_s = time.perf_counter()
        values[stream], sigmas[stream] = _loop(dataset, bound)
        solve_s += time.perf_counter() - begun_s
        written = xr.Dataset(
            {"value": (("depth", "species"), values[stream]), "sigma": (("depth", "species"), sigmas[stream])},
            coords={"depth": dataset["depth"].to_numpy(), "species": np.array(method.library.names, dtype=object)},
        )
        written.to_zarr(target, group=str(stream), mode="w", consolidated=False)
    return ByHand(values, sigmas, solve_s)


def _loop(dataset: xr.Dataset, bound: Deconvolver) -> tuple[Floats, Floats]:
    intensity = dataset["intensity"].to_numpy().astype(np.float64)
    measured = dataset["variance"].to_numpy().astype(np.float64)
    counts = np.maximum(dataset["scan_count"].to_numpy(), 1).astype(np.float64)
    value = np.zeros((intensity.shape[0], bound.design.shape[1]))
    sigma = np.zeros_like(value)
    for row in range(intensity.shape[0]):
        spectrum, variance, shot = intensity[row], measured[row], bound.shot_a / counts[row]
        guess = variance + (bound.pattern_error * spectrum) ** 2
        amounts = _nnls(bound, spectrum, guess)
        first = bound.design @ amounts
        expected = np.maximum(variance + shot * (first - spectrum), 0.1 * variance)
        final = expected + bound.pattern_error**2 * (bound.design**2 @ amounts**2)
        value[row] = _nnls(bound, spectrum, final)
        sigma[row] = _sigma(bound, value[row], spectrum, final)
    return value, sigma


def _weights(spectrum: Floats, variance: Floats) -> Floats:
    usable = np.isfinite(spectrum) & np.isfinite(variance) & (variance > 0)
    weights: Floats = np.where(usable, 1.0 / np.sqrt(np.where(usable, variance, 1.0)), 0.0)
    return weights


def _nnls(bound: Deconvolver, spectrum: Floats, variance: Floats) -> Floats:
    weights = _weights(spectrum, variance)
    weighted = bound.design * weights[:, None]
    length = np.linalg.norm(weighted, axis=0)
    length[length == 0] = 1.0
    weighted /= length
    both = np.hstack([weighted, -weighted[:, bound.signed]])
    found, _ = scipy.optimize.nnls(both, np.nan_to_num(spectrum) * weights, maxiter=30 * both.shape[1])
    value: Floats = found[: length.size].copy()
    value[bound.signed] -= found[length.size :]
    unscaled: Floats = value / length
    return unscaled


def _sigma(bound: Deconvolver, value: Floats, spectrum: Floats, variance: Floats) -> Floats:
    weights = _weights(spectrum, variance)
    passive = (value != 0.0) | bound.signed
    weighted = bound.design[:, passive] * weights[:, None]
    scale = np.linalg.norm(weighted, axis=0)
    scale[scale == 0] = 1.0
    covariance = np.linalg.pinv((weighted / scale).T @ (weighted / scale))
    sigma = np.full(value.size, np.nan)
    sigma[passive] = np.sqrt(np.maximum(np.diag(covariance), 0.0)) / scale
    return sigma
