r"""Carry-over: what the sample before left in the line, learned from steps to a blank and taken out.

After a purge of ``t`` a share ``mu = sum_k a_k exp(-t / tau_k)`` of what stood in the line is still there, so of each
species a scan shows ``y_i = (1 - mu) x_i + mu y_(i-1)``, and ``x_i = (y_i - mu y_(i-1)) / (1 - mu)``: to ``y_i`` is
added ``mu / (1 - mu) (y_i - y_(i-1))``. Where a blank follows, ``x_i`` is the blank: the slope of ``y_i`` over the
contrast ``y_(i-1) - y_i`` is ``mu / (1 - mu)``.

Memory belongs to a species, not to an m/z: acetic acid clings, the CO2 that shares m/z 45 with it does not. So the
step from scan to scan is read by a fixed linear estimator (weighted least squares on the library), and each species
that has a memory is corrected by its own spectrum. All of it is linear: variances follow, that of ``mu`` adds
``((y_i - y_(i-1)) / (1 - mu)**2)**2 var mu``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Floats = NDArray[np.float64]

#: A correction larger than so many sigmas of the scan is flagged.
FLAG_SIGMAS = 2.0

#: A share is used when it stands out of its error by so much.
LEARNED_SIGMAS = 3.0

#: Beyond this share a scan says more of the one before than of itself: no more is corrected, and it is flagged.
MOST_CARRIED = 0.7

_LEAST_STEPS = 4
_LEAST_CONTRAST = 2.0  # of steps to a blank, mean square over its variance: below it is noise that would be fitted
_SPREAD_OF_NORMAL = 1.4826


@dataclass(frozen=True, slots=True)
class CarryOver:
    """Memory of the line for each species that was seen to have one.

    Parameters
    ----------
    species
        Names; empty when nothing is carried over that could be seen.
    amplitude, tau_s
        ``a_k`` and ``tau_k`` for each species and term.
    sigma
        Relative one-sigma of ``mu`` for each species.
    mz
        m/z of the two matrices.
    estimator, signature
        For each species and m/z: amount per current, and current per amount.
    """

    species: tuple[str, ...] = ()
    amplitude: tuple[tuple[float, ...], ...] = ()
    tau_s: tuple[tuple[float, ...], ...] = ()
    sigma: tuple[float, ...] = ()
    mz: tuple[int, ...] = ()
    estimator: tuple[tuple[float, ...], ...] = ()
    signature: tuple[tuple[float, ...], ...] = ()

    def shares(self, purge_s: Floats) -> tuple[Floats, Floats]:
        """Return ``mu`` and its one-sigma after purges: float64 (scan, species)."""
        share = np.zeros((purge_s.size, len(self.species)))
        for place, (amplitudes, taus) in enumerate(zip(self.amplitude, self.tau_s, strict=True)):
            for a, tau in zip(amplitudes, taus, strict=True):
                share[:, place] += a * np.exp(-purge_s / tau)
        return share, share * np.array(self.sigma)

    def on_axis(self, mz: Floats) -> tuple[Floats, Floats]:
        """Return estimator and signature on an m/z axis: float64 (species, mz); 0 where the calibration had none."""
        known = np.array(self.mz, dtype=np.float64)
        _, here, there = np.intersect1d(mz, known, return_indices=True)
        placed = []
        for matrix in (self.estimator, self.signature):
            wide = np.zeros((len(self.species), mz.size))
            wide[:, here] = np.array(matrix, dtype=np.float64)[:, there]
            placed.append(wide)
        return placed[0], placed[1]


@dataclass(frozen=True, slots=True)
class Corrected:
    """Scans without carry-over: current, variances (own, and from the error of ``mu``) and what to flag."""

    current: Floats
    variance: Floats
    shared: Floats
    flagged: NDArray[np.bool_]


def remove_carry_over(
    current: Floats,
    variance: Floats,
    before: Floats,
    before_variance: Floats,
    shares: tuple[Floats, Floats],
    matrices: tuple[Floats, Floats],
) -> Corrected:
    """Take the memory of the scan before out of each scan.

    Parameters
    ----------
    current, variance
        float64 (scan, mz): measured, baseline removed.
    before, before_variance
        float64 (scan, mz): the scan before, as measured; NaN where there is none or it was saturated.
    shares
        ``mu`` and its one-sigma, float64 (scan, species).
    matrices
        Estimator and signature, float64 (species, mz).

    Returns
    -------
    Corrected
        ``flagged`` bool (scan, mz): the correction is larger than two sigmas of the scan; or the scan before is not
        known, or left more than :data:`MOST_CARRIED`, and more stands there than is corrected.
    """
    (share, share_sigma), (estimator, signature) = shares, matrices
    too_much = share > MOST_CARRIED
    left = 1.0 - np.minimum(share, MOST_CARRIED)
    factor = np.minimum(share, MOST_CARRIED) / left
    known = np.isfinite(current) & np.isfinite(before)
    step = np.where(known, current - before, 0.0) @ estimator.T
    added = (factor * step) @ signature
    own = np.where(known, variance, 0.0)
    step_variance = (own + np.where(known, before_variance, 0.0)) @ (estimator**2).T
    new_variance = variance * np.maximum(1.0 + 2.0 * factor @ (estimator * signature), 1.0)
    new_variance += (factor**2 * step_variance) @ signature**2
    shared = (step / left**2 * share_sigma) ** 2 @ signature**2
    with np.errstate(invalid="ignore"):
        large: NDArray[np.bool_] = np.abs(added) > FLAG_SIGMAS * np.sqrt(variance)
    unsure: NDArray[np.bool_] = too_much | ((share > 0.0) & ~np.asarray(known.any(axis=1))[:, None])
    doubtful: NDArray[np.bool_] = unsure.astype(np.float64) @ (signature > 0.0).astype(np.float64) > 0.0
    return Corrected(current + added, new_variance, shared, large | doubtful)


@dataclass(frozen=True, slots=True)
class Steps:
    """Pairs of scans of which the second is a blank.

    Parameters
    ----------
    before, after
        float64 (step, species): amounts.
    before_variance, after_variance
        float64 (step, species).
    purge_s
        float64 (step): from scan to scan.
    group
        int (step): steps of one group go back to the same clean blank.
    """

    before: Floats
    after: Floats
    before_variance: Floats
    after_variance: Floats
    purge_s: Floats
    group: NDArray[np.intp]


def fit_carry_over(names: Sequence[str], steps: Steps) -> CarryOver:
    """Learn the memory of each species from steps to a blank.

    Parameters
    ----------
    names
        Of the species.
    steps
        At least four for a species to be learned.

    Returns
    -------
    CarryOver
        Without its matrices: the species whose share stands three sigmas above zero. With one purge time only, ``a`` is
        taken as 1 and ``tau`` follows; with two, both are fitted; with four or more, a second, slower term where it
        helps.
    """
    purges = np.unique(np.round(steps.purge_s, 3))
    learned: list[str] = []
    amplitudes: list[tuple[float, ...]] = []
    taus: list[tuple[float, ...]] = []
    sigmas: list[float] = []
    for column, name in enumerate(names):
        seen = [
            (purge, *found)
            for purge in purges
            if (found := _slope(steps, column, np.isclose(steps.purge_s, purge, atol=1e-3))) is not None
        ]
        if not seen:
            continue
        time_s, share, sigma = np.array(seen).T
        weight = 1.0 / sigma**2
        if (weight * share).sum() < LEARNED_SIGMAS * np.sqrt((weight * (share > 0.0)).sum() or np.inf):
            continue
        if share[np.argmax(weight)] <= 0.0:
            continue
        amplitude, tau_s = fit_decay(time_s, share, sigma)
        best = int(np.argmax(np.abs(share) / sigma))
        learned.append(name)
        amplitudes.append(amplitude)
        taus.append(tau_s)
        sigmas.append(float(sigma[best] / share[best]))
    return CarryOver(tuple(learned), tuple(amplitudes), tuple(taus), tuple(sigmas))


def fit_decay(purge_s: Floats, share: Floats, sigma: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fit ``a_k`` and ``tau_k`` to shares left after purges; parameters float64 (purge).

    One purge: ``a = 1``. A second term is taken only with four purges or more, and only when it lowers chi2 by more
    than the two parameters it costs, at 3 sigma.
    """
    first = int(np.argmax(share / sigma))
    tau_s = -purge_s[first] / np.log(np.clip(share[first], 1e-6, 0.999))
    if purge_s.size == 1:
        return (1.0,), (float(tau_s),)
    one = _decay([(min(0.9, 1.5 * float(share.max())), float(tau_s))], purge_s, share, sigma)
    if purge_s.size >= 4:  # noqa: PLR2004 - two terms have four parameters
        slow = float(np.max(purge_s))
        start = [(one[0][0][0], 0.3 * one[0][1][0]), (0.2 * one[0][0][0], slow)]
        two = _decay(start, purge_s, share, sigma)
        if one[1] - two[1] > 11.8:  # noqa: PLR2004 - chi2 of two parameters at 3 sigma
            return two[0]
    return one[0]


def _decay(
    start: Iterable[tuple[float, float]], purge_s: Floats, share: Floats, sigma: Floats
) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], float]:
    """Return amplitudes and times (slowest last), and chi2."""
    guess = np.array([(np.log(a), np.log(tau)) for a, tau in start]).ravel()

    def misfit(log: Floats) -> Floats:
        a, tau = np.exp(log[::2]), np.exp(log[1::2])
        model = (a * np.exp(-purge_s[:, None] / tau)).sum(axis=1)
        return np.asarray((model - share) / sigma)

    found = least_squares(misfit, guess, x_scale=1.0)
    a, tau = np.exp(found.x[::2]), np.exp(found.x[1::2])
    order = np.argsort(tau)
    terms = (tuple(float(value) for value in a[order]), tuple(float(value) for value in tau[order]))
    return terms, 2.0 * float(found.cost)


def _slope(steps: Steps, column: int, chosen: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Return ``mu`` and its sigma from the steps of one purge time; ``None`` when they show nothing.

    Fitted is ``y_i = b + k (y_(i-1) - y_i)`` with ``k = mu / (1 - mu)``, over the contrast and not over ``y_(i-1)``: a
    gain that drifts moves both scans, and what a blank is full of (the nitrogen of air) would seem carried over. The
    noise of ``y_i`` stands on both sides of that line, with opposite signs, that of ``y_(i-1)`` on one: what the known
    variances of both do to the slope is put back.

    The clean blank ``b`` of each group is not known either: it is the mean, and drops out. A step that lies far off the
    line (a leak, a blank that was none) is left out once.
    """
    before, after = steps.before[chosen, column], steps.after[chosen, column]
    noise_before = steps.before_variance[chosen, column]
    variance, group = steps.after_variance[chosen, column], steps.group[chosen]
    good = np.isfinite(before) & np.isfinite(after) & (variance > 0.0)
    for _ in range(2):
        if good.sum() < _LEAST_STEPS:
            return None
        _, at = np.unique(group[good], return_inverse=True)
        weight = 1.0 / variance[good]
        total = np.bincount(at, weight)
        contrast = before[good] - after[good]
        x = contrast - (np.bincount(at, weight * contrast) / total)[at]
        y = after[good] - (np.bincount(at, weight * after[good]) / total)[at]
        freedom = int(good.sum()) - total.size
        noise = float((weight * (noise_before[good] + variance[good])).mean()) * freedom
        power = float((weight * x * x).sum()) - noise  # of the contrast itself
        if freedom < 2 or power < _LEAST_CONTRAST * noise:  # noqa: PLR2004 - the slope costs one
            return None
        slope = (float((weight * x * y).sum()) + freedom) / power
        residual = np.sqrt(weight) * (y - slope * x)
        scatter = max(1.0, _SPREAD_OF_NORMAL * float(np.median(np.abs(residual))))
        outlier = np.abs(residual) > 6.0 * scatter  # far beyond noise, whatever its shape
        sigma = max(1.0, float((residual[~outlier] ** 2).sum() / (freedom - 1)) ** 0.5) / power**0.5
        if not outlier.any():
            break
        good[np.flatnonzero(good)[outlier]] = False
    passed = 1.0 + max(slope, 0.0)
    return slope / passed, sigma / passed**2
