"""The compiled loop over spectra: amounts, and their uncertainties; called by :mod:`nightwell.wells.nnls` alone.

Words as in :mod:`nightwell.wells.nnls_kernel`; ``cov`` is the covariance of the scaled amounts.
"""

# ruff: noqa: C901, PLR0912, PLR0917, FBT001, SIM110 - compiled functions take their arrays one by one; calls between them cost compile time

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
# A species this many sigmas off the bound is off it at the next depth too.
_SURE_SIGMAS = 2.0


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
def _are_equal(weights: Floats, row: int) -> bool:
    """Return whether a spectrum has the weights of the one before it."""
    for m in range(weights.shape[1]):
        if weights[row, m] != weights[row - 1, m]:
            return False
    return True


@compiled
def _follow(
    a: Matrix, y: Floats, w: Floats, signed: Bools, passive: Bools, work: Space, has_table: bool, is_same: bool
) -> bool:
    """Solve a spectrum after the one before it, of which ``passive`` and, if ``has_table``, the table are left.

    With the same weights (``is_same``) the table serves again. Otherwise the new one starts with the species that were
    sure of their place: of those that hovered at the bound, the gradient knows more than the neighbour.
    """
    table, size = work.table, passive.size
    if has_table and is_same:
        for s in range(size):
            table[size, s] = 0.0
        if refine(a, y, w, passive, work) and search(a, y, w, signed, passive, work):
            return True
    elif has_table:
        for s in range(size):
            passive[s] = passive[s] and table[size, s] * table[size, s] > -_SURE_SIGMAS * _SURE_SIGMAS * table[s, s]
    return start(a, y, w, signed, passive, work) and search(a, y, w, signed, passive, work)


@compiled
def solve_rows(
    a: Matrix, spectra: Floats, weights: Floats, signed: Bools, shot: Floats, own_relative: float,
    value: Floats, passive: Bools, settled: Bools, sigma: Floats, limit: Floats, covariance: Floats,
    is_given: bool, wants_sigma: bool, wants_limit: bool,
) -> None:  # fmt: skip
    """Fill amounts and their uncertainties, the ``limit`` in standard deviations of one; ``covariance`` may be empty.

    Each spectrum starts from the passive set of the one before it: neighbours in depth are alike. ``settled`` is False
    where another method must take over; once it has, ``is_given`` fills in the uncertainties of what it found.
    """
    rows, mz = spectra.shape
    size, width = value.shape[1], a.dense.shape[1]
    peaks = 1
    for s in range(size):
        peaks = max(peaks, a.column_starts[s + 1] - a.column_starts[s])
    work = space(size, width, mz)
    room = Room(
        np.zeros((width, width)), np.zeros((mz if wants_limit else 0, width)), np.zeros(mz, np.bool_),
        np.zeros(peaks, np.int64), np.zeros(peaks), np.zeros((peaks, peaks + 1)),
    )  # fmt: skip
    widen, guess = np.zeros(size), np.zeros(size, np.bool_)
    swept = False
    wants_whole = wants_limit or covariance.shape[0] > 0
    for row in range(rows):
        y, w, here = spectra[row], weights[row], passive[row]
        if is_given:
            _settle(a, y, w, value[row], here, work)
        else:
            settled[row] = _follow(a, y, w, signed, guess, work, swept, swept and _are_equal(weights, row))
            swept = settled[row]
            for s in range(size):
                here[s] = guess[s]
                value[row, s] = work.x[s]
                guess[s] = guess[s] and settled[row]
            if not settled[row]:
                continue
        if not wants_sigma:
            continue
        _spread(here, work, widen, sigma[row])
        if wants_whole:
            _whole(here, work, widen, room.cov)
        if wants_limit:
            _find_limits(
                a, y, w, shot[row], own_relative, value[row], here, work.scale, sigma[row], limit[row], room
            )  # fmt: skip
        if covariance.shape[0] > 0:
            for i in range(size):
                for j in range(size):
                    covariance[row, i, j] = room.cov[i, j] * work.scale[i] * work.scale[j]
                covariance[row, i, i] = sigma[row, i] * sigma[row, i]
