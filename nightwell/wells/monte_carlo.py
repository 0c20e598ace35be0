"""Uncertainties by repetition: patterns and counts are drawn anew, and every spectrum is solved again.

The covariance of least squares is optimistic at the bound, and knows pattern error only as noise of each m/z. Here a
draw makes the spectra of the amounts that were found with another design matrix, the same at every depth as it is on
one instrument, adds counting noise, and solves them with the library as it stands and the weights that were used. What
the amounts scatter by is their uncertainty (a parametric bootstrap). All draws of a spectrum share its Gram matrix.

References
----------
Efron, B. and Tibshirani, R. J. (1993), An introduction to the bootstrap, chapter 6.
Schwarz-Selinger, T., Preuss, R., Dose, V. and von der Linden, W. (2001), Analysis of multicomponent mass spectra
applying Bayesian probability theory, J. Mass Spectrom. 36, 866.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.nnls import solve

Floats = NDArray[np.float64]

#: Spectra worked on at a time: with 200 m/z, 48 species and 200 draws they hold some 30 MB.
ROWS_TOGETHER = 32

#: Fewer draws than this give a one-sigma that is itself uncertain by more than a fifth.
LEAST_DRAWS = 16


@dataclass(frozen=True, slots=True)
class MonteCarlo:
    """How often spectra are solved again.

    Parameters
    ----------
    draws
        Number of draws; the one-sigma is uncertain by ``1 / sqrt(2 * draws)`` of itself.
    seed
        Equal seeds give equal numbers, whatever blocks the depths were worked on in.
    """

    draws: int = 200
    seed: int = 1

    def __post_init__(self) -> None:
        if self.draws < LEAST_DRAWS or self.seed < 0:
            raise InputError(
                "Monte Carlo uncertainties",
                expected=f"at least {LEAST_DRAWS} draws, and a seed that is not negative",
                found=f"{self.draws} draws, seed {self.seed}",
                cause="a scatter cannot be told from so few",
                next_step="ask for 100 draws or more",
            )


class Scatter(NamedTuple):
    """How amounts scatter over draws.

    Attributes
    ----------
    sigma : ndarray of float64, dims (spectrum, species)
        Root mean square distance of the draws from the amount that was found.
    low, high : ndarrays of float64, dims (spectrum, species)
        Percentiles 15.9 and 84.1 of the draws.
    """

    sigma: Floats
    low: Floats
    high: Floats


def scatter_of(
    design: Floats,
    value: Floats,
    weighed: Floats,
    counting: Floats,
    pattern_error: float | Floats,
    settings: MonteCarlo,
    *,
    keys: Floats,
    signed: NDArray[np.bool_] | None = None,
) -> Scatter:
    """Solve every spectrum again with other patterns and other counts.

    Parameters
    ----------
    design
        float64 (mz, species).
    value
        float64 (spectrum, species): the amounts found; NaN counts as none and stays NaN.
    weighed, counting
        float64 (spectrum, mz): the variance that the spectra were weighed by, and its part that is not pattern error.
        An m/z whose variance is not positive or is NaN has no weight.
    pattern_error
        One-sigma relative error of the entries of the design matrix: one for all, or float64 (mz, species).
    settings
        Draws and seed.
    keys
        float64 (spectrum): what tells the spectra apart, their depths; the noise of a spectrum is drawn from it.
    signed
        As :func:`~nightwell.wells.nnls.solve`.
    """
    rng = np.random.default_rng([settings.seed, 0])
    factor = rng.standard_normal((settings.draws, *design.shape))
    factor *= pattern_error
    factor += 1.0
    np.maximum(factor, 0.0, out=factor)
    factor *= design
    out = Scatter(np.empty_like(value), np.empty_like(value), np.empty_like(value))
    noise = np.sqrt(np.maximum(np.nan_to_num(counting), 0.0))
    bits = np.ascontiguousarray(keys, dtype=np.float64).view(np.uint64)
    for start in range(0, value.shape[0], ROWS_TOGETHER):
        amounts = np.nan_to_num(value[start : start + ROWS_TOGETHER])
        clean = (factor.reshape(-1, design.shape[1]) @ amounts.T).reshape(settings.draws, design.shape[0], -1)
        for place in range(amounts.shape[0]):
            row = start + place
            own = np.random.default_rng([settings.seed, 1, int(bits[row])])
            spectra = clean[:, :, place] + own.standard_normal(clean.shape[:2]) * noise[row]
            variance = np.broadcast_to(weighed[row], spectra.shape)
            drawn = solve(design, spectra, variance, signed=signed, with_errors=False).value
            out.sigma[row] = np.sqrt(np.mean((drawn - value[row]) ** 2, axis=0))
            out.low[row], out.high[row] = np.percentile(drawn, [15.865, 84.135], axis=0)
    return out
