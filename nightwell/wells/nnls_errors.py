"""The compiled loop over spectra: amounts, and their uncertainties; called by :mod:`nightwell.wells.nnls` alone.

Words as in :mod:`nightwell.wells.nnls_kernel`; ``cov`` is the covariance of the scaled amounts.
"""

# ruff: noqa: C901, PLR0912, PLR0917, FBT001 - compiled functions take their arrays one by one; calls between them cost compile time

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nightwell.wells.nnls_kernel import (
    SMALLEST_PIVOT,
    Bools,
    Floats,
    Ints,
    Matrix,
    Space,
    compiled,
    gradient,
    gram,
    refine,
    search,
    space,
    start,
    sweep,
)

_FAR_BELOW = -6.0
# A weight that grows by less than this share when a species is taken out is left as it is.
_LEAST_GAIN = 0.01


class Room(NamedTuple):
    """Room for detection limits."""

    cov: Floats  # (width, width)
    reached: Floats  # (mz, width): cov times a scaled row of A
    known: Bools  # (mz,): whether ``reached`` is filled
    freed: Ints  # (peaks,): the m/z that gain weight
    added: Floats  # (peaks,)
    small: Floats  # (peaks, peaks + 1)


@compiled
def _share_above_bound(z: float) -> float:
    """Variance of a normal amount with mean ``z`` (not positive) and sigma 1, given that it is positive."""
    if z < _FAR_BELOW:
        return 1.0 / (z * z)  # the tail is exponential
    mills = math.sqrt(2.0 / math.pi) * math.exp(-0.5 * z * z) / math.erfc(-z / math.sqrt(2.0))
    return 1.0 - z * mills - mills * mills


@compiled
def _spread(passive: Bools, work: Space, widen: Floats, sigma: Floats) -> None:
    """Write one-sigmas to ``sigma`` and the variance that bound species may have above the bound to ``widen``.

    The covariance on the passive set alone is too small near the bound: a species that just met it may be there after
    all, and share the signal of its neighbours. So passive species are widened by what bound ones may have.
    """
    table, scale = work.table, work.scale
    size = scale.size
    for i in range(size):
        widen[i] = 0.0
        sigma[i] = -table[i, i] if passive[i] else 0.0
    for s in range(size):
        if passive[s] or scale[s] == 0.0:
            continue
        inner = 1.0 / max(table[s, s], SMALLEST_PIVOT)
        widen[s] = inner * _share_above_bound(min(table[size, s], 0.0) * np.sqrt(inner))
        for i in range(s):
            if passive[i]:
                sigma[i] += widen[s] * table[s, i] * table[s, i]
        for i in range(s + 1, size):
            if passive[i]:
                sigma[i] += widen[s] * table[i, s] * table[i, s]
        sigma[s] = inner
    for i in range(size):
        sigma[i] = np.sqrt(max(sigma[i], 0.0)) * scale[i] if scale[i] > 0.0 else np.nan


@compiled
def _whole(passive: Bools, work: Space, widen: Floats, cov: Floats) -> None:
    """Write the covariance of the scaled passive amounts, widened as in :func:`_spread`, to ``cov``."""
    table, step = work.table, work.step
    size, width = widen.size, cov.shape[0]
    for i in range(size):
        for j in range(width):
            cov[i, j] = 0.0
        for j in range(i + 1):
            cov[i, j] = -table[i, j] if passive[i] and passive[j] else 0.0
    for s in range(size):
        if passive[s] or widen[s] == 0.0:
            continue
        for i in range(width):
            step[i] = 0.0
        for i in range(size):
            if passive[i]:
                step[i] = table[s, i] if i < s else table[i, s]
        for i in range(size):
            gain = widen[s] * step[i]
            if gain != 0.0:
                row = cov[i]
                for j in range(i + 1):
                    row[j] += gain * step[j]
    for i in range(size):
        for j in range(i):
            cov[j, i] = cov[i, j]


@compiled
def _own_rows(
    a: Matrix,
    y: Floats,
    w: Floats,
    shot: Floats,
    own_relative: float,
    largest: float,
    s: int,
    amount: float,
    room: Room,
) -> int:
    """Gather the m/z whose variance falls when species ``s`` is taken out, and the weight they gain.

    The variance of an m/z never falls below the smallest one in the spectrum: the electrometer's and the blank's.
    """
    count = 0
    for at in range(a.column_starts[s], a.column_starts[s + 1]):
        m = a.column_rows[at]
        own = a.dense[m, s] * amount
        if own == 0.0 or w[m] == 0.0:
            continue
        rest = y[m] - own
        variance = 1.0 / w[m] - shot[m] * own - own_relative * own_relative * (y[m] * y[m] - rest * rest)
        gain = (min(1.0 / variance, largest) if variance > 0.0 else largest) - w[m]
        if gain > _LEAST_GAIN * w[m]:
            room.freed[count] = m
            room.added[count] = gain
            count += 1
    return count


@compiled
def _reach(a: Matrix, m: int, scale: Floats, room: Room) -> None:
    """Write covariance times the scaled row ``m`` of ``A`` to ``room.reached``, once for each spectrum."""
    if room.known[m]:
        return
    into = room.reached[m]
    for j in range(into.size):
        into[j] = 0.0
    for at in range(a.row_starts[m], a.row_starts[m + 1]):
        k = a.row_columns[at]
        entry, row = a.dense[m, k] * scale[k], room.cov[k]
        for j in range(into.size):
            into[j] += entry * row[j]
    room.known[m] = True


@compiled
def _empty_variance(a: Matrix, s: int, scale: Floats, rows: int, room: Room) -> float:
    """Scaled variance of species ``s`` after ``rows`` m/z gained weight (Woodbury's identity)."""
    small = room.small
    variance = room.cov[s, s]
    for r in range(rows):
        reached = room.reached[room.freed[r]]
        for q in range(r + 1):
            m = room.freed[q]
            total = 1.0 / room.added[r] if q == r else 0.0
            for at in range(a.row_starts[m], a.row_starts[m + 1]):
                k = a.row_columns[at]
                total += a.dense[m, k] * scale[k] * reached[k]
            for k in range(q):
                total -= small[r, k] * small[q, k]
            small[r, q] = np.sqrt(total) if q == r else total / small[q, q]
        total = reached[s]
        for k in range(r):
            total -= small[r, k] * small[k, -1]
        small[r, -1] = total / small[r, r]
        variance -= small[r, -1] * small[r, -1]
    positive: float = max(variance, 0.0)
    return positive


@compiled
def _find_limits(
    a: Matrix, y: Floats, w: Floats, shot: Floats, own_relative: float, value: Floats, passive: Bools, scale: Floats,
    sigma: Floats, limit: Floats, room: Room,
) -> None:  # fmt: skip
    """Fill the standard deviations that the amounts would have if their species were absent."""
    largest = 0.0
    for m in range(w.size):
        largest = max(largest, w[m])
        room.known[m] = False
    for s in range(scale.size):
        limit[s] = sigma[s]
        if not passive[s]:
            continue
        gained = _own_rows(a, y, w, shot, own_relative, largest, s, value[s], room)
        for r in range(gained):
            _reach(a, room.freed[r], scale, room)
        limit[s] = np.sqrt(_empty_variance(a, s, scale, gained, room)) * scale[s]


@compiled
def _settle(a: Matrix, y: Floats, w: Floats, value: Floats, passive: Bools, work: Space) -> None:
    """Make the table of amounts that another method found; a species that is a sum of the others stays out of it."""
    scale, moving = work.scale, work.moving
    size = scale.size
    gram(a, y, w, work)
    for s in range(size):
        wanted = passive[s] and scale[s] > 0.0
        passive[s] = False
        moving[0] = s
        if wanted:
            sweep(work, passive, moving, 1)
    gradient(a, y, w, value, scale, work.residual, work.g)
    for s in range(size):
        work.table[size, s] = work.g[s]


@compiled
def _weigh(
    spectra: Floats, variance: Floats, shot: Floats, row: int, y: Floats, w: Floats, own: Floats
) -> tuple[int, bool]:
    """Write signal, weights and shot of a spectrum; return how many m/z count, and whether ``w`` is unchanged."""
    count, is_same = 0, True
    for m in range(y.size):
        signal, spread = spectra[row, m], variance[row, m]
        weight = 1.0 / spread if math.isfinite(signal) and math.isfinite(spread) and spread > 0.0 else 0.0
        y[m] = signal if weight > 0.0 else 0.0
        count += 1 if weight > 0.0 else 0
        if w[m] != weight:
            w[m], is_same = weight, False
        if shot.shape[0] > 0:
            own[m] = shot[row, m] if math.isfinite(shot[row, m]) else 0.0
    return count, is_same


@compiled
def _follow(a: Matrix, y: Floats, w: Floats, signed: Bools, passive: Bools, work: Space, is_same: bool) -> bool:
    """Solve a spectrum from the passive set of the one before it, whose table serves again when ``is_same``."""
    if is_same:
        for s in range(passive.size):
            work.table[passive.size, s] = 0.0
        if refine(a, y, w, passive, work) and search(a, y, w, signed, passive, work):
            return True
    return start(a, y, w, signed, passive, work) and search(a, y, w, signed, passive, work)


@compiled
def _compare(a: Matrix, y: Floats, w: Floats, value: Floats, scale: Floats, fit: Floats) -> float:
    """Write the fit, mark amounts without a measured m/z as missing, and return the weighted sum of squares."""
    chi2 = 0.0
    for m in range(y.size):
        total = 0.0
        for at in range(a.row_starts[m], a.row_starts[m + 1]):
            total += a.dense[m, a.row_columns[at]] * value[a.row_columns[at]]
        fit[m] = total
        chi2 += w[m] * (y[m] - total) * (y[m] - total)
    for s in range(scale.size):
        if scale[s] == 0.0:
            value[s] = np.nan
    return chi2


@compiled
def solve_rows(
    a: Matrix, spectra: Floats, variance: Floats, shot: Floats, signed: Bools, own_relative: float,
    value: Floats, passive: Bools, settled: Bools, sigma: Floats, limit: Floats, covariance: Floats,
    fit: Floats, chi2: Floats, freedom: Ints, is_given: bool, wants_sigma: bool,
) -> None:  # fmt: skip
    """Fill amounts, fits and uncertainties, the ``limit`` in standard deviations of one.

    ``limit`` and ``covariance`` are left alone when they are empty. Each spectrum starts from the passive set of the
    one before it: neighbours in depth are alike. ``settled`` is False where another method must take over; once it
    has, ``is_given`` fills in the rest of what it found.
    """
    rows, mz = spectra.shape
    size, width = value.shape[1], a.dense.shape[1]
    peaks = 1
    for s in range(size):
        peaks = max(peaks, a.column_starts[s + 1] - a.column_starts[s])
    wants_limit, wants_whole = limit.shape[0] > 0, covariance.shape[0] > 0
    work = space(size, width, mz)
    room = Room(
        np.zeros((width, width)), np.zeros((mz if wants_limit else 0, width)), np.zeros(mz, np.bool_),
        np.zeros(peaks, np.int64), np.zeros(peaks), np.zeros((peaks, peaks + 1)),
    )  # fmt: skip
    widen, here, has_table = np.zeros(size), np.zeros(size, np.bool_), False
    y, w, own = np.zeros(mz), np.zeros(mz), np.zeros(mz)
    for row in range(rows):
        count, is_same = _weigh(spectra, variance, shot, row, y, w, own)
        if is_given:
            for s in range(size):
                here[s] = passive[row, s]
            _settle(a, y, w, value[row], here, work)
        else:
            has_table = _follow(a, y, w, signed, here, work, has_table and is_same)
            settled[row] = has_table
            if not has_table:
                for s in range(size):
                    here[s] = False
                continue
            for s in range(size):
                passive[row, s], value[row, s] = here[s], work.x[s]
        for s in range(size):
            count -= 1 if passive[row, s] else 0
        freedom[row] = count
        chi2[row] = _compare(a, y, w, value[row], work.scale, fit[row])
        if not wants_sigma:
            continue
        _spread(here, work, widen, sigma[row])
        if wants_whole or wants_limit:
            _whole(here, work, widen, room.cov)
        if wants_limit:
            _find_limits(a, y, w, own, own_relative, value[row], here, work.scale, sigma[row], limit[row], room)
        if wants_whole:
            for i in range(size):
                for j in range(size):
                    covariance[row, i, j] = room.cov[i, j] * work.scale[i] * work.scale[j]
                covariance[row, i, i] = sigma[row, i] * sigma[row, i]
