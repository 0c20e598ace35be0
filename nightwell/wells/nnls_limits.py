"""The compiled covariance and detection limits of amounts; called by :mod:`nightwell.wells.nnls_rows` alone.

Words as in :mod:`nightwell.wells.nnls_kernel`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nightwell.wells.lanes import (
    LANES,
    add,
    add_product,
    compiled,
    divide,
    lanes,
    less_product,
    load,
    multiply,
    root,
    spread,
    store,
    subtract,
    where_above,
)
from nightwell.wells.nnls_kernel import PANEL, Bools, Floats, Ints, Space, lower, pair
from nightwell.wells.nnls_matrix import Matrix

# A weight that grows by less than this share when a species is taken out is left as it is.
_LEAST_GAIN = 0.01


class Room(NamedTuple):
    """Room for covariances and detection limits; made by :func:`limit_room`."""

    cov: Floats  # (pairs, LANES): covariance of the scaled passive amounts
    reached: Floats  # (mz * species, LANES): cov times a scaled row of A
    known: Bools  # (mz,): whether ``reached`` is filled
    freed: Ints  # (peaks,): the m/z that gain weight in some lane
    gain: Floats  # (peaks, LANES): roots of the weights they gain
    small: Floats  # (pairs of peaks, LANES)
    solved: Floats  # (peaks, LANES)
    some: Floats  # (1, LANES)
    shot: Floats  # (mz, LANES): variance that a unit of signal brings
    limit: Floats  # (species, LANES): scaled


def limit_room(a: Matrix, *, wants_limit: bool, wants_cov: bool) -> Room:
    """Return room for one thread."""
    species = a.column_starts.size - 1
    most = max(1, int(np.diff(a.column_starts).max(initial=0)))
    return Room(
        lanes(species * (species + 1) // 2 if wants_limit or wants_cov else 0),
        lanes(a.mz * species if wants_limit else 0), np.zeros(a.mz, np.bool_), np.zeros(most, np.int64),
        lanes(most), lanes(most * (most + 1) // 2), lanes(most), lanes(1), lanes(a.mz if wants_limit else 0),
        lanes(species),
    )  # fmt: skip


@compiled
def find_covariance(work: Space, cov: Floats) -> None:
    """Write the covariance of the scaled passive amounts, widened as their sigmas are, to ``cov``."""
    table, passive = work.table, work.passive
    size, zero = passive.shape[0], spread(0.0)
    for i in range(size):
        here = subtract(zero, load(passive, i))
        for j in range(i + 1):
            store(cov, pair(i, j), multiply(load(table, pair(i, j)), multiply(here, load(passive, j))))
    for first in range(0, size, PANEL):
        for q in range(PANEL):
            s, line = first + q, q * size
            for j in range(size):
                entry = zero
                if s < size:
                    entry = multiply(load(passive, j), load(table, pair(max(s, j), min(s, j))))
                store(work.panel, line + j, entry)
            store(work.inverse, q, subtract(zero, load(work.widen, min(s, size - 1))))
        lower(cov, work.panel, work.inverse, size)


@compiled
def _free(a: Matrix, work: Space, own_relative: float, s: int, room: Room) -> int:
    """Gather the m/z whose variance falls when species ``s`` is taken out, and the roots of the weights they gain.

    The variance of an m/z never falls below the smallest one in the spectrum: the electrometer's and the blank's.
    """
    zero, one, most = spread(0.0), spread(1.0), load(work.lane, 0)
    relative, least = spread(own_relative * own_relative), spread(1.0 + _LEAST_GAIN)
    count = 0
    for at in range(a.column_starts[s], a.column_starts[s + 1]):
        m = a.column_rows[at]
        weight = load(work.w, m)
        own = multiply(spread(a.column_values[at]), load(work.amount, s))
        variance = less_product(divide(one, weight), load(room.shot, m), own)
        variance = less_product(variance, relative, multiply(own, own))
        without = where_above(variance, zero, divide(one, variance), most)
        without = where_above(without, most, most, without)
        gain = where_above(without, multiply(weight, least), subtract(without, weight), zero)
        gain = where_above(weight, zero, multiply(root(gain), load(work.passive, s)), zero)
        store(room.gain, count, gain)
        store(room.some, 0, gain)
        is_freed = False
        for lane in range(LANES):
            is_freed |= room.some[0, lane] > 0.0
        if is_freed:
            room.freed[count] = m
            count += 1
    return count


@compiled
def _reach(a: Matrix, m: int, scale: Floats, room: Room) -> None:
    """Write covariance times the scaled row ``m`` of ``A`` to ``room.reached``, once for each spectrum."""
    if room.known[m]:
        return
    size = scale.shape[0] - 1
    for i in range(size):
        total = spread(0.0)
        for at in range(a.row_starts[m], a.row_starts[m + 1]):
            k = a.row_columns[at]
            entry = multiply(spread(a.row_values[at]), load(scale, k))
            total = add_product(total, entry, load(room.cov, pair(max(i, k), min(i, k))))
        store(room.reached, m * size + i, total)
    room.known[m] = True


@compiled
def _empty_variance(a: Matrix, s: int, scale: Floats, rows: int, room: Room) -> None:
    """Write the scaled variance of species ``s`` after ``rows`` m/z gained weight (Woodbury's identity) to ``some``."""
    small, solved, size = room.small, room.solved, scale.shape[0] - 1
    variance = load(room.cov, pair(s, s))
    for r in range(rows):
        reached = room.freed[r] * size
        gain = load(room.gain, r)
        for q in range(r + 1):
            m = room.freed[q]
            total = spread(0.0)
            for at in range(a.row_starts[m], a.row_starts[m + 1]):
                k = a.row_columns[at]
                entry = multiply(spread(a.row_values[at]), load(scale, k))
                total = add_product(total, entry, load(room.reached, reached + k))
            total = multiply(multiply(total, gain), load(room.gain, q))
            if q == r:
                total = add(total, spread(1.0))
            for k in range(q):
                total = less_product(total, load(small, pair(r, k)), load(small, pair(q, k)))
            store(small, pair(r, q), root(total) if q == r else divide(total, load(small, pair(q, q))))
        total = multiply(gain, load(room.reached, reached + s))
        for k in range(r):
            total = less_product(total, load(small, pair(r, k)), load(solved, k))
        total = divide(total, load(small, pair(r, r)))
        store(solved, r, total)
        variance = less_product(variance, total, total)
    store(room.some, 0, where_above(variance, spread(0.0), variance, spread(0.0)))


@compiled
def find_limits(a: Matrix, work: Space, own_relative: float, room: Room) -> None:
    """Write the scaled standard deviations that the amounts would have if their species were absent."""
    half, largest = spread(0.5), spread(0.0)
    for m in range(a.mz):
        weight = load(work.w, m)
        largest = where_above(weight, largest, weight, largest)
        room.known[m] = False
    store(work.lane, 0, largest)
    for s in range(work.sigma.shape[0]):
        freed = _free(a, work, own_relative, s, room)
        for r in range(freed):
            _reach(a, room.freed[r], work.scale, room)
        _empty_variance(a, s, work.scale, freed, room)
        store(room.limit, s, where_above(load(work.passive, s), half, root(load(room.some, 0)), load(work.sigma, s)))
