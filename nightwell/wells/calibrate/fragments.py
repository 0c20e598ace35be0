r"""Sensitivities and fragment patterns, learned from standards fragment by fragment.

Every response ``a_ms`` (current at m/z ``m`` per ppm of species ``s``) is an unknown with a prior: the library's value
``a0_ms``, uncertain by its sensitivity, which all fragments of a species share, and by its pattern, each fragment for
itself: ``cov(a_ms, a_ns) = (e_s^2 + d_mn e_p^2) a0_ms a0_ns``. A standard of amounts ``x`` measures
``y_m = sum_s a_ms x_s`` with noise and with the error of its certificate, which is common to all m/z:
``cov(y) = diag(var y) + sum_s var(x_s) a_s a_s^T``. Both are normal, so the posterior is one linear update (Kalman's
gain [Kalman1960]_):

``K = P H^T (H P H^T + R)^-1``, ``a = a0 + K (y - H a0)``, ``P' = P - K H P``.

A fragment that stands alone in a standard is then known as well as the standard; two that overlap stay as uncertain as
they are, and say so; a fragment that was not seen alone still follows what its species' others show of sensitivity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from nightwell.wells.nnls import solve

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: What a library's fragment may be off by, one-sigma relative: instruments differ by factors in minor peaks.
PATTERN_PRIOR = 0.3

#: A fragment counts as learned when its error fell below this share of what it was.
LEARNED_SHARE = 0.5

#: An amount that is not known, against its estimate.
_UNKNOWN = 10.0

_MODEL_ERROR = 1e-3  # what linearity of a real instrument is good for
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Observation:
    """One standard, measured.

    Parameters
    ----------
    signal, variance
        float64 (mz): current, A and A2; NaN where not measured or saturated.
    amounts, sigma
        float64 (species), ppm: 0 where the standard has none of it, NaN where it is there in an unknown amount.
    """

    signal: Floats
    variance: Floats
    amounts: Floats
    sigma: Floats


@dataclass(frozen=True, slots=True)
class Responses:
    """Responses after the standards: float64 (mz, species) A/ppm and one-sigma; bool (mz, species) what was learned."""

    response: Floats
    sigma: Floats
    learned: Bools


def learn_responses(
    design: Floats,
    sensitivity_error: Floats,
    observations: Sequence[Observation],
    *,
    pattern_prior: float = PATTERN_PRIOR,
) -> Responses:
    """Learn responses from standards.

    Parameters
    ----------
    design
        float64 (mz, species): the library's responses, A/ppm.
    sensitivity_error
        float64 (species): one-sigma of the library's sensitivities, relative.
    observations
        The standards.
    pattern_prior
        One-sigma of the library's fragments, relative.
    """
    present = np.zeros(design.shape[1], dtype=np.bool_)
    for one in observations:
        present |= np.isnan(one.amounts) | (one.amounts > 0.0)
    rows, columns = np.nonzero((design > 0.0) & present)
    prior = design[rows, columns]
    same = columns[:, None] == columns[None, :]
    # Where no standard certifies an amount, the sensitivity stays the library's, and the pattern alone is learned.
    anchored = present & ~np.any([one.amounts > 0.0 for one in observations], axis=0)
    spread = np.where(anchored, 0.0, sensitivity_error)[columns]
    before = same * np.outer(spread * prior, spread * prior) + np.diag((pattern_prior * prior) ** 2)
    state, covariance = prior, before
    for _ in range(_ROUNDS):  # amounts that are not known, and the certificate's term, follow the responses
        current = design.copy()
        current[rows, columns] = state
        state, covariance = prior, before
        for one in observations:
            state, covariance = _update(state, covariance, (rows, columns), current, one, anchored)
    response, sigma = design.copy(), np.zeros_like(design)
    response[rows, columns] = np.maximum(state, 0.0)
    sigma[rows, columns] = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    learned = np.zeros(design.shape, dtype=np.bool_)
    learned[rows, columns] = sigma[rows, columns] < LEARNED_SHARE * pattern_prior * np.maximum(state, 0.0)
    return Responses(response, sigma, learned)


def _update(
    state: Floats,
    covariance: Floats,
    places: tuple[NDArray[np.intp], NDArray[np.intp]],
    current: Floats,
    seen: Observation,
    anchored: Bools,
) -> tuple[Floats, Floats]:
    """Return the state and covariance after one standard."""
    rows, columns = places
    amounts, sigma = _amounts(current, seen, anchored)
    has_state = np.isin(np.arange(current.shape[0]), rows[amounts[columns] > 0.0])
    used = np.flatnonzero(np.isfinite(seen.signal) & has_state)
    place = {row: at for at, row in enumerate(used.tolist())}
    measure = np.zeros((used.size, rows.size))
    for entry, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        if row in place:
            measure[place[row], entry] = amounts[column]
    signal = seen.signal[used]
    certificate = current[used] * sigma
    noise = np.diag(seen.variance[used] + (_MODEL_ERROR * signal) ** 2) + certificate @ certificate.T
    innovation = measure @ covariance @ measure.T + noise
    scale = np.sqrt(np.diag(innovation))  # currents span nine decades
    factor = cho_factor(innovation / np.outer(scale, scale))
    gain = cho_solve(factor, measure @ covariance / scale[:, None]).T / scale
    after = covariance - gain @ measure @ covariance
    return state + gain @ (signal - measure @ state), 0.5 * (after + after.T)


def _amounts(current: Floats, seen: Observation, anchored: Bools) -> tuple[Floats, Floats]:
    """Return amounts and sigmas with what is unknown estimated from the spectrum itself."""
    amounts, sigma = seen.amounts.copy(), seen.sigma.copy()
    unknown = np.isnan(amounts)
    if unknown.any():
        known = np.nan_to_num(amounts)
        # Least squares on the whole spectrum; the known part may be off by its prior, so weights are relative.
        weight = seen.variance + (0.05 * np.nan_to_num(seen.signal)) ** 2
        rest = (seen.signal - current @ known)[None, :]
        found = solve(current[:, unknown], rest, weight[None, :], with_errors=False)
        amounts[unknown] = np.nan_to_num(found.value[0])
        sigma[unknown] = np.where(anchored[unknown], 0.0, _UNKNOWN * amounts[unknown])
    return amounts, sigma
