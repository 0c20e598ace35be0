r"""Dead time: ions that arrive while the detector still works on the one before are not counted.

A non-paralysable detector that is dead for ``tau`` after each count sees ``m`` counts per second of the ``n`` that
arrive: ``n = m / (1 - m * tau)`` [Knoll2010]_. Currents are counts per second times the charge of a count, so the same
loss is ``I / (1 - I * loss)`` with ``loss = tau / ion_charge_c`` [1/A]; nothing here needs to know the charge.

``tau`` is fitted from isotope pairs. One gas shows a large and a small peak, in a ratio ``R`` that nature fixes; only
the large one loses counts. ``I_big / (1 - loss * I_big) = R * I_small / (1 - loss * I_small)`` is, to first order in
``loss``, linear in ``R`` and ``c = loss * (R - 1)``: ``I_big = R * I_small - c * I_big * I_small``. What makes ``R``
and ``c`` separable is range: air in the gas line, and a thousandth of it in an evacuated chamber.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Pairs of one gas of the blank: (large m/z, small m/z). 12C16O2 against 13C16O2 has too little gas in air to help.
ISOTOPE_PAIRS = ((28, 29), (32, 34), (40, 36))

#: A current that would be lost by more than this share is beyond the formula: it is treated as saturated.
MOST_LOST = 0.5

_LEAST_RANGE = 3.0  # largest over smallest current of a pair: below it, ratio and loss cannot be told apart
_ROUNDS = 8


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


def fit_dead_time(pairs: dict[tuple[int, int], tuple[Floats, Floats, Floats, Floats]]) -> DeadTime:
    """Fit the loss from isotope pairs.

    Parameters
    ----------
    pairs
        By (large m/z, small m/z): currents of the large and of the small peak, and their variances, each float64
        (scan). Scans in which another gas adds to one of the two peaks must be left out.

    Returns
    -------
    DeadTime
        The weighted mean of the pairs that show enough range; a mean below three sigmas is 0, and says so.
    """
    found = {pair: one for pair, arrays in pairs.items() if (one := _fit_pair(*arrays)) is not None}
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


def _fit_pair(big: Floats, small: Floats, big_variance: Floats, small_variance: Floats) -> tuple[float, float] | None:
    """Return loss and sigma from one pair; ``None`` without range."""
    known = np.isfinite(big) & np.isfinite(small) & (small > 5.0 * np.sqrt(small_variance))
    big, small, big_variance, small_variance = (array[known] for array in (big, small, big_variance, small_variance))
    if big.size < 4 or big.max() < _LEAST_RANGE * big.min():  # noqa: PLR2004 - two unknowns want some redundancy
        return None
    ratio, loss = float(np.median(big / small)), 0.0
    covariance = np.zeros((2, 2))
    for _ in range(_ROUNDS):  # weights depend on the answer; the second-order term of the loss is iterated too
        lost = 1.0 - loss * small
        variance = big_variance / (1.0 - np.minimum(loss * big, MOST_LOST)) ** 2 + ratio**2 * small_variance
        design = np.stack([small / lost, -big * small / lost], axis=1)
        normal = design.T @ (design / variance[:, None])
        scale = np.sqrt(np.diag(normal))
        covariance = np.linalg.inv(normal / np.outer(scale, scale)) / np.outer(scale, scale)
        ratio, product = (float(value) for value in covariance @ (design.T @ (big / variance)))
        loss = max(product / ratio, 0.0)
    # I_big = R I_small/(1 - loss I_small) * (1 - loss I_big): product = R * loss.
    gradient = np.array([-product / ratio**2, 1.0 / ratio])
    residual = big - design @ np.array([ratio, product])
    chi2 = float((residual**2 / variance).sum() / max(big.size - 2, 1))
    return product / ratio, float(np.sqrt(gradient @ covariance @ gradient * max(1.0, chi2)))
