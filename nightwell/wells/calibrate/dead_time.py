r"""Dead time: ions that arrive while the detector still works on the one before are not counted.

A non-paralysable detector that is dead for ``tau`` after each count sees ``m`` counts per second of the ``n`` that
arrive: ``n = m / (1 - m * tau)`` [Knoll2010]_. Currents are counts per second times the charge of a count, so the same
loss is ``I / (1 - I * loss)`` with ``loss = tau / ion_charge_c`` [1/A]; nothing here needs to know the charge.

``tau`` is fitted from isotope pairs. One gas shows a large and a small peak, in a ratio ``r`` that nature fixes; only
the large one loses counts to speak of: ``n_small = r * n_big``, and both are seen through the same ``tau``. What makes
``r`` and ``tau`` separable is range: air in the gas line, and a thousandth of it in an evacuated chamber. The noisy
small peak is fitted as a function of the large one, not the other way round, so that its noise does not bias ``r``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Floats = NDArray[np.float64]

#: Pairs of one gas of the blank: (large m/z, small m/z). 12C16O2 against 13C16O2 has too little gas in air to help.
ISOTOPE_PAIRS = ((28, 29), (32, 34), (40, 36))

#: A current that would be lost by more than this share is beyond the formula: it is treated as saturated.
MOST_LOST = 0.5

_LEAST_RANGE = 3.0  # largest over smallest current of a pair: below it, ratio and loss cannot be told apart
_CLEAR_SIGMAS = 5.0


@dataclass(frozen=True, slots=True)
class DeadTime:
    """The loss of a detector.

    Parameters
    ----------
    loss_per_a, sigma_per_a
        ``tau / ion_charge_c`` and its one-sigma [1/A]; 0 corrects nothing.
    source
        ``given``, ``fitted from m/z 28/29, ...``, or why none is known.
    """

    loss_per_a: float = 0.0
    sigma_per_a: float = 0.0
    source: str = "not looked for"


def restore_lost(current: Floats, dead_time: DeadTime) -> tuple[Floats, Floats]:
    """Return currents with what dead time took, and the variance that the error of ``tau`` adds.

    Parameters
    ----------
    current
        float64 (scan, mz), A above the baseline.
    dead_time
        The loss.

    Returns
    -------
    restored, variance
        float64 (scan, mz), A and A2. NaN where more than :data:`MOST_LOST` would be missing.
    """
    if dead_time.loss_per_a == 0.0:
        return current, np.zeros_like(current)
    lost = dead_time.loss_per_a * np.maximum(current, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        restored = np.where(lost < MOST_LOST, current / (1.0 - lost), np.nan)
    # d(restored)/d(loss) = restored**2
    return restored, (restored**2 * dead_time.sigma_per_a) ** 2


def fit_dead_time(
    pairs: dict[tuple[int, int], tuple[Floats, Floats, Floats, Floats]], *, offset_a: float = 0.0
) -> DeadTime:
    """Fit the loss from isotope pairs.

    Parameters
    ----------
    pairs
        By (large m/z, small m/z): currents of the large and of the small peak, and their variances, each float64
        (scan). Scans in which another gas adds to one of the two peaks must be left out.

    offset_a
        One-sigma of what may be left of the baseline under a small peak, A: it is fitted with this as its prior.

    Returns
    -------
    DeadTime
        The weighted mean of the pairs that show enough range; a mean below three sigmas is 0, and says so.
    """
    found = {pair: one for pair, arrays in pairs.items() if (one := _fit_pair(*arrays, offset_a)) is not None}
    if not found:
        return DeadTime(source="unknown: no isotope pair with enough range of current")
    weight = np.array([1.0 / sigma**2 for _, sigma in found.values()])
    values = np.array([value for value, _ in found.values()])
    mean = float((weight * values).sum() / weight.sum())
    chi2 = float((weight * (values - mean) ** 2).sum())
    scale = max(1.0, chi2 / max(len(found) - 1, 1))  # pairs that disagree widen the error
    sigma = float(np.sqrt(scale / weight.sum()))
    named = ", ".join(f"{big}/{small}" for big, small in found)
    if mean < 3.0 * sigma:
        return DeadTime(0.0, 0.0, f"none seen in m/z {named}: {mean:.3g} +- {sigma:.2g} per A")
    return DeadTime(mean, sigma, f"fitted from m/z {named}")


def _fit_pair(
    big: Floats, small: Floats, big_variance: Floats, small_variance: Floats, offset_a: float
) -> tuple[float, float] | None:
    """Return loss and sigma from one pair; ``None`` without range."""
    known = np.isfinite(big) & np.isfinite(small) & (big > _CLEAR_SIGMAS * np.sqrt(big_variance))
    big, small, big_variance, small_variance = (array[known] for array in (big, small, big_variance, small_variance))
    if big.size < 4 or big.max() < _LEAST_RANGE * big.min():  # noqa: PLR2004 - two unknowns want some redundancy
        return None
    top = float(big.max())
    start = float(small.sum() / big.sum())
    sigma = np.sqrt(small_variance + start**2 * big_variance)

    def misfit(unknown: Floats) -> Floats:
        ratio, lost, left = unknown
        arriving = start * ratio * big / (1.0 - lost * big / top)
        pull = (arriving / (1.0 + lost * arriving / top) + left * offset_a - small) / sigma
        return np.append(pull, left)

    found = least_squares(misfit, [1.0, 0.0, 0.0], bounds=([0.2, -MOST_LOST, -10.0], [5.0, MOST_LOST, 10.0]))
    slopes = np.asarray(found.jac, dtype=np.float64)
    covariance = np.linalg.pinv(slopes.T @ slopes)
    chi2 = 2.0 * float(found.cost) / max(big.size - 2, 1)
    return float(found.x[1]) / top, float(np.sqrt(covariance[1, 1] * max(1.0, chi2))) / top
