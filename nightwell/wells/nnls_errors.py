"""The compiled uncertainties of a solved spectrum; called by :mod:`nightwell.wells.nnls` alone.

Words as in :mod:`nightwell.wells.nnls_kernel`; ``cov`` is the inverse of the passive part of ``normal``, in its order.
"""

# ruff: noqa: PLR0912, PLR0917, C901 - compiled functions take their arrays one by one; calls between them cost compile time

from __future__ import annotations

import math

import numpy as np

from nightwell.wells.nnls_kernel import SMALLEST_PIVOT, Bools, Floats, Ints, compiled, factor, gradient, gram, order_of

_FAR_BELOW = -6.0


@compiled
def _inner_variance(normal: Floats, order: Ints, count: int, lower: Floats, s: int, step: Floats) -> float:
    """Scaled variance that species ``s``, not in ``order``, would have beside those in it (Schur complement)."""
    remaining = normal[s, s]
    for i in range(count):
        total = normal[s, order[i]]
        for k in range(i):
            total -= lower[i, k] * step[k]
        step[i] = total / lower[i, i]
        remaining -= step[i] * step[i]
    variance: float = 1.0 / max(remaining, SMALLEST_PIVOT)
    return variance


@compiled
def _invert(lower: Floats, count: int, inverse: Floats, cov: Floats) -> None:
    """Write the inverse of ``lower`` and ``cov``, the inverse of ``lower lower^T``."""
    for j in range(count):
        for i in range(j, count):
            total = 1.0 if i == j else 0.0
            for k in range(j, i):
                total -= lower[i, k] * inverse[k, j]
            inverse[i, j] = total / lower[i, i]
    for i in range(count):
        for j in range(i + 1):
            total = 0.0
            for k in range(i, count):
                total += inverse[k, i] * inverse[k, j]
            cov[i, j] = total
            cov[j, i] = total


@compiled
def _share_above_bound(z: float) -> float:
    """Variance of a normal amount with mean ``z`` (not positive) and sigma 1, given that it is positive."""
    if z < _FAR_BELOW:
        return 1.0 / (z * z)  # the tail is exponential
    mills = math.sqrt(2.0 / math.pi) * math.exp(-0.5 * z * z) / math.erfc(-z / math.sqrt(2.0))
    return 1.0 - z * mills - mills * mills


@compiled
def _widen(
    normal: Floats, order: Ints, count: int, base: Floats, s: int, variance: float, step: Floats, cov: Floats
) -> None:
    """Add to ``cov`` what the passive amounts vary by when bound species ``s`` varies by ``variance``."""
    for i in range(count):
        step[i] = 0.0
        for j in range(count):
            step[i] += base[i, j] * normal[order[j], s]
    for i in range(count):
        for j in range(count):
            cov[i, j] += variance * step[i] * step[j]


@compiled
def _own_rows(
    starts: Ints, columns: Ints, entries: Floats, y: Floats, w: Floats, shot: Floats, own_relative: float,
    s: int, amount: float, scale: Floats, place: Ints, freed: Floats, added: Floats,
) -> int:  # fmt: skip
    """Gather the m/z whose variance falls when species ``s`` is taken out: rows of ``A``, and the weight they gain.

    The variance of an m/z never falls below the smallest one in the spectrum: the electrometer's and the blank's.
    """
    largest, count = 0.0, 0
    for m in range(w.size):
        largest = max(largest, w[m])
    for m in range(y.size):
        own = 0.0
        for i in range(starts[m], starts[m + 1]):
            if columns[i] == s:
                own = entries[i] * amount
        if own == 0.0 or w[m] == 0.0:
            continue
        rest = y[m] - own
        variance = 1.0 / w[m] - shot[m] * own - own_relative * own_relative * (y[m] * y[m] - rest * rest)
        gain = (min(1.0 / variance, largest) if variance > 0.0 else largest) - w[m]
        if gain <= 0.01 * w[m]:
            continue
        for i in range(scale.size):
            freed[count, i] = 0.0
        for i in range(starts[m], starts[m + 1]):
            if place[columns[i]] >= 0:
                freed[count, place[columns[i]]] = entries[i] * scale[columns[i]]
        added[count] = gain
        count += 1
    return count


@compiled
def _empty_variance(
    cov: Floats, count: int, here: int, rows: int, freed: Floats, added: Floats, small: Floats, v: Floats
) -> float:
    """Scaled variance of one species after ``rows`` m/z gained weight (Woodbury's identity)."""
    variance = cov[here, here]
    for r in range(rows):
        for i in range(count):
            v[i] = 0.0
        for j in range(count):
            if freed[r, j] != 0.0:
                for i in range(count):
                    v[i] += cov[j, i] * freed[r, j]
        for q in range(r + 1):
            total = 1.0 / added[r] if q == r else 0.0
            for i in range(count):
                total += freed[q, i] * v[i]
            for k in range(q):
                total -= small[r, k] * small[q, k]
            small[r, q] = np.sqrt(total) if q == r else total / small[q, q]
        total = v[here]
        for k in range(r):
            total -= small[r, k] * small[k, -1]
        small[r, -1] = total / small[r, r]
        variance -= small[r, -1] * small[r, -1]
    positive: float = max(variance, 0.0)
    return positive


@compiled
def find_errors(
    starts: Ints, columns: Ints, entries: Floats, spectra: Floats, weights: Floats, shot: Floats,
    own_relative: float, peaks: int, value: Floats, passive: Bools, sigma: Floats, limit: Floats, covariance: Floats,
) -> None:  # fmt: skip
    """Fill ``sigma``, ``limit`` (in standard deviations of one) and, unless it is empty, ``covariance``.

    ``peaks`` is the largest number of peaks that one species has. The covariance on the passive set alone is too
    small near the bound: a species that just met it may be there after all, and share the signal of its neighbours.
    So the covariance is widened by every bound species, by the variance its amount has above the bound.
    """
    size = value.shape[1]
    normal, lower = np.empty((size, size)), np.empty((size, size))
    cov, inverse = np.empty((size, size)), np.empty((size, size))
    scale, step, g = np.empty(size), np.empty(size), np.empty(size)
    base = np.empty((size, size))
    order, place = np.empty(size, np.int64), np.empty(size, np.int64)
    freed, added, small = np.empty((peaks, size)), np.empty(peaks), np.empty((peaks, peaks + 1))
    for row in range(spectra.shape[0]):
        y, w = spectra[row], weights[row]
        gram(starts, columns, entries, w, normal, scale)
        count = order_of(passive[row], order)
        factor(normal, order, count, lower)
        _invert(lower, count, inverse, base)
        gradient(starts, columns, entries, y, w, value[row], scale, g)
        for i in range(count):
            for j in range(count):
                cov[i, j] = base[i, j]
        for s in range(size):
            if scale[s] == 0.0:
                sigma[row, s] = np.nan
            elif not passive[row, s]:
                inner = _inner_variance(normal, order, count, lower, s, step)
                sigma[row, s] = np.sqrt(inner) * scale[s]
                possible = inner * _share_above_bound(g[s] * np.sqrt(inner))
                _widen(normal, order, count, base, s, possible, step, cov)
        for s in range(size):
            place[s] = -1
        for i in range(count):
            place[order[i]] = i
            sigma[row, order[i]] = np.sqrt(cov[i, i]) * scale[order[i]]
        for s in range(size):
            limit[row, s] = sigma[row, s]
        for i in range(count):
            s = order[i]
            gained = _own_rows(
                starts, columns, entries, y, w, shot[row], own_relative, s, value[row, s], scale, place, freed, added
            )  # fmt: skip
            limit[row, s] = np.sqrt(_empty_variance(cov, count, i, gained, freed, added, small, step)) * scale[s]
        if covariance.shape[0] > 0:
            for s in range(size):
                covariance[row, s, s] = sigma[row, s] * sigma[row, s]
            for i in range(count):
                for j in range(count):
                    covariance[row, order[i], order[j]] = cov[i, j] * scale[order[i]] * scale[order[j]]
