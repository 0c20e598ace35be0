r"""Weighted non-negative least squares for many spectra at once: functions of plain arrays, compiled.

For every spectrum ``y`` with weights ``w`` (the inverse variances) find ``x >= 0`` that minimises
``sum_m w_m * (y_m - sum_s A_ms x_s)**2``.

Block pivoting on the normal equations, by sweeps of the Gram matrix (:mod:`nightwell.wells.nnls_kernel`). A spectrum
starts from the passive set of its neighbour, which is nearly always right. The last solve is refined with the residual
of the spectrum itself (corrected semi-normal equations), so the answer neither depends on the neighbour nor loses the
digits that normal equations lose. The swept matrix holds the covariance too. The few spectra whose block exchanges do
not come to rest go to the active-set method of Lawson and Hanson.

References
----------
Lawson, C. L. and Hanson, R. J. (1974), Solving Least Squares Problems, chapter 23.
Portugal, L. F., Judice, J. J. and Vicente, L. N. (1994), A comparison of block pivoting and interior-point algorithms
for linear least squares problems with nonnegative variables, Math. Comput. 63, 625.
Björck, Å. (1987), Stability analysis of the method of seminormal equations, Linear Algebra Appl. 88/89, 31.
Currie, L. A. (1968), Limits for qualitative detection and quantitative determination, Anal. Chem. 40, 586.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from nightwell.wells.nnls_guess import weak_room
from nightwell.wells.nnls_kernel import space
from nightwell.wells.nnls_limits import limit_room
from nightwell.wells.nnls_matrix import matrix_of
from nightwell.wells.nnls_rows import solve_rows

#: Currie's detection limit for 5 % errors of both kinds, in standard deviations of the empty measurement.
DETECTION_SIGMAS = 3.29


class Solution(NamedTuple):
    """What :func:`solve` found, one row per spectrum.

    Attributes
    ----------
    value : ndarray of float64, dims (spectrum, species)
        Amounts; 0 at the bound; NaN where no measured m/z carries the species.
    sigma : ndarray of float64, dims (spectrum, species)
        One-sigma from the covariance ``(A^T W A)^-1`` on the passive set, widened by what bound species may hold
        above the bound (on the passive set alone it is too small near it). For a bound species, the sigma it would
        have if it were let in: no sigma is ever zero.
    limit : ndarray of float64, dims (spectrum, species)
        Detection limit: ``DETECTION_SIGMAS`` standard deviations of the species' amount if it were absent.
    covariance : ndarray of float64, dims (spectrum, species, species)
        The same covariance; bound species have their variance on the diagonal only. Empty unless asked for.
    fit : ndarray of float64, dims (spectrum, mz)
        ``A @ value``.
    chi2 : ndarray of float64, dims (spectrum,)
        Weighted sum of squared residuals.
    freedom : ndarray of int64, dims (spectrum,)
        Measured m/z less passive species.
    low, high : ndarray of float64, dims (spectrum, species)
        Percentiles 15.9 and 84.1 of Monte Carlo draws; empty without them.
    """

    value: NDArray[np.float64]
    sigma: NDArray[np.float64]
    limit: NDArray[np.float64]
    covariance: NDArray[np.float64]
    fit: NDArray[np.float64]
    chi2: NDArray[np.float64]
    freedom: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def solve(
    design: NDArray[np.float64],
    spectra: NDArray[np.float64],
    variance: NDArray[np.float64],
    *,
    signed: NDArray[np.bool_] | None = None,
    own_shot: NDArray[np.float64] | None = None,
    own_relative: float = 0.0,
    with_errors: bool = True,
    with_limit: bool = True,
    with_covariance: bool = False,
) -> Solution:
    """Solve the weighted non-negative least squares problem of every spectrum.

    Parameters
    ----------
    design : ndarray, dims (mz, species)
        Signal per unit amount.
    spectra, variance : ndarray, dims (spectrum, mz)
        Signal and its variance. An m/z with a NaN signal, a NaN variance or a variance that is not positive has no
        weight.
    signed : ndarray of bool, dims (species,), optional
        Species without a bound, whose amounts may be negative: what stands in a blank that was subtracted.
    own_shot : ndarray, dims (spectrum, mz), optional
        How much variance one unit of signal brings (``F * q / t``). With ``own_relative`` it tells what part of the
        variance a species brings itself, which is absent when the species is: the detection limit leaves it out.
    own_relative
        Relative pattern error, which ``variance`` holds as ``(own_relative * A_ms * x_s)**2`` of every species.
    with_errors
        Whether ``sigma``, ``limit`` and ``covariance`` are wanted.
    with_limit
        Whether ``limit`` is wanted; without it they cost next to nothing.
    with_covariance
        Whether to keep the whole covariance, species^2 numbers per spectrum.

    Returns
    -------
    Solution
    """
    rows, species = spectra.shape[0], design.shape[1]
    y, v = np.ascontiguousarray(spectra, dtype=np.float64), np.ascontiguousarray(variance, dtype=np.float64)
    shot = np.empty((0, y.shape[1])) if own_shot is None else np.ascontiguousarray(own_shot, dtype=np.float64)
    free = np.zeros(species, dtype=np.bool_) if signed is None else np.asarray(signed, dtype=np.bool_)
    wants_limit = with_errors and with_limit
    value, sigma = np.zeros((rows, species)), np.full((rows, species), np.nan)
    limit = np.full((rows if wants_limit else 0, species), np.nan)
    passive, settled = np.zeros((rows, species), dtype=np.bool_), np.zeros(rows, dtype=np.bool_)
    covariance = np.zeros((rows if with_covariance else 0, species, species))
    fit, chi2, freedom = np.zeros(y.shape), np.zeros(rows), np.zeros(rows, dtype=np.int64)
    matrix = matrix_of(design)
    rooms = (
        space(species, matrix.mz),
        weak_room(species),
        limit_room(matrix, wants_limit=wants_limit, wants_cov=with_covariance),
    )

    def run(at: slice, *, is_given: bool) -> None:
        solve_rows(
            matrix, *rooms, y[at], v[at], shot[at], free, own_relative, value[at], passive[at], settled[at], sigma[at],
            limit[at], covariance[at], fit[at], chi2[at], freedom[at], is_given, with_errors,
        )  # fmt: skip

    run(slice(None), is_given=False)
    for row in np.flatnonzero(~settled).tolist():
        weight = np.divide(1.0, v[row], out=np.zeros_like(v[row]), where=np.isfinite(y[row] + v[row]) & (v[row] > 0))
        value[row] = _one_by_one(design, free, np.where(weight > 0, y[row], 0.0), weight)
        passive[row] = value[row] != 0
        run(slice(row, row + 1), is_given=True)
    if not wants_limit:
        limit = np.full_like(value, np.nan)
    none = np.empty((0, species))
    return Solution(value, sigma, limit * DETECTION_SIGMAS, covariance, fit, chi2, freedom, none, none)


def compile_solver() -> None:
    """Compile what is not compiled yet, once, for the processes that start next: each would hold 120 MB more for it."""
    one = np.ones((1, 1))
    solve(one, one, one)


def _one_by_one(
    design: NDArray[np.float64],
    signed: NDArray[np.bool_],
    signal: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Solve one spectrum by Lawson and Hanson's own method: slow, and sure to end."""
    root = np.sqrt(weight)
    weighted = design * root[:, None]
    length = np.linalg.norm(weighted, axis=0)
    length[length == 0] = 1.0
    weighted /= length
    both = np.hstack([weighted, -weighted[:, signed]])
    solution, _ = scipy.optimize.nnls(both, signal * root, maxiter=30 * both.shape[1])
    value: NDArray[np.float64] = solution[: length.size]
    value[signed] -= solution[length.size :]
    unscaled: NDArray[np.float64] = value / length
    return unscaled
