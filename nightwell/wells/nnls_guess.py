"""The compiled guess of the passive sets, nearly always right; called by :mod:`nightwell.wells.nnls_rows` alone.

Words as in :mod:`nightwell.wells.nnls_kernel`. Species that every one of the ``LANES`` spectra before had off the bound
are taken in unseen. What is left are the few ``weak`` ones, absent or nearly so, which noise moves to and fro: with the
others swept, their part of the table is a problem of its own, so small that it can be factorised again and again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nightwell.wells.lanes import (
    LANES,
    add,
    compiled,
    divide,
    lanes,
    less_product,
    load,
    multiply,
    spread,
    store,
    subtract,
    where_above,
)
from nightwell.wells.nnls_kernel import (
    SEARCHING,
    SMALLEST_PIVOT,
    Bools,
    Floats,
    Ints,
    Space,
    be_patient,
    fail,
    may_move,
    pair,
    sweep,
)


class Weak(NamedTuple):
    """Room for the problem of the weak species; made by :func:`weak_room`."""

    species: Ints  # (species,): which they are
    factor: Floats  # (pairs, LANES): unit lower triangle
    column: Floats  # (species, LANES)
    inverse: Floats  # (species, LANES): of the pivots
    x: Floats  # (species, LANES): amounts of the passive, gradients of the bound
    guess: Floats  # (species, LANES): 1.0 where passive
    wrong: Floats  # (species, LANES)
    lane: Floats  # (3, LANES)
    before: Floats  # (species, LANES): 1.0 where a spectrum before was passive


def weak_room(species: int) -> Weak:
    """Return room for one thread."""
    return Weak(
        np.zeros(species, np.int64), lanes(species * (species + 1) // 2), lanes(species), lanes(species),
        lanes(species), lanes(species), lanes(species), lanes(3), lanes(species),
    )  # fmt: skip


@compiled
def _factorise(table: Floats, weak: Weak, count: int) -> None:
    """Write the factor of the passive part; a bound species' pivot counts as infinite, so its column is zero."""
    factor, column = weak.factor, weak.column
    zero, one, half, least = spread(0.0), spread(1.0), spread(0.5), spread(SMALLEST_PIVOT)
    for p in range(count):
        line, into = pair(weak.species[p], 0), pair(p, 0)
        for q in range(p + 1):
            store(factor, into + q, load(table, line + weak.species[q]))
    for k in range(count):
        pivot = load(factor, pair(k, k))
        inverse = where_above(pivot, least, divide(one, pivot), zero)
        inverse = where_above(load(weak.guess, k), half, inverse, zero)
        store(weak.inverse, k, inverse)
        for p in range(k + 1, count):
            entry, line = load(factor, pair(p, k)), pair(p, 0)
            store(column, p, entry)
            gain = multiply(entry, inverse)
            store(factor, line + k, gain)
            for q in range(k + 1, p + 1):
                store(factor, line + q, less_product(load(factor, line + q), gain, load(column, q)))


@compiled
def _solve(table: Floats, weak: Weak, count: int, last: int) -> None:
    """Write the amounts of the passive species and the gradients of the bound ones."""
    factor, x = weak.factor, weak.x
    zero, half = spread(0.0), spread(0.5)
    for p in range(count):
        rest = load(table, last + weak.species[p])
        for q in range(p):
            rest = less_product(rest, load(factor, pair(p, q)), load(x, q))
        store(x, p, rest)
    for p in range(count - 1, -1, -1):
        here = multiply(load(x, p), load(weak.inverse, p))
        for q in range(p + 1, count):
            here = less_product(here, load(factor, pair(q, p)), load(x, q))
        store(x, p, here)
    for p in range(count):
        rest, line = load(table, last + weak.species[p]), pair(weak.species[p], 0)
        for q in range(p):
            rest = less_product(rest, load(table, line + weak.species[q]), load(x, q))
        for q in range(p + 1, count):
            rest = less_product(rest, load(table, pair(weak.species[q], weak.species[p])), load(x, q))
        store(weak.column, p, where_above(load(weak.guess, p), half, zero, rest))
    for p in range(count):
        store(x, p, add(load(x, p), load(weak.column, p)))


@compiled
def _find_wrong(room: Space, weak: Weak, count: int) -> int:
    zero, one, half = spread(0.0), spread(1.0), spread(0.5)
    total, tolerance = zero, load(room.tolerance, 0)
    for p in range(count):
        here = load(weak.x, p)
        enters, leaves = where_above(here, tolerance, one, zero), where_above(here, zero, zero, one)
        wrong = where_above(load(weak.guess, p), half, leaves, enters)
        store(weak.wrong, p, wrong)
        total = add(total, wrong)
    store(weak.lane, 1, total)
    found = 0
    for lane in range(LANES):
        found += 1 if room.state[lane] == SEARCHING and weak.lane[1, lane] > 0.0 else 0
    return found


@compiled
def _divide(room: Space, weak: Weak, signed: Bools) -> int:
    """Tell the weak species from the strong, list the strong as moving, and return how many are weak."""
    zero, one = spread(0.0), spread(1.0)
    strong, count = 0, 0
    for s in range(signed.size):
        is_strong = True
        for lane in range(LANES):
            is_strong &= weak.before[s, lane] > 0.0
        store(room.passive, s, zero)
        store(room.moves, s, where_above(load(room.scale, s), zero, one, zero))
        if is_strong or signed[s]:
            room.moving[strong] = s
            strong += 1
        else:
            weak.species[count] = s
            store(weak.guess, count, multiply(load(weak.before, s), load(room.moves, s)))
            count += 1
    return count


@compiled
def guess(room: Space, weak: Weak, signed: Bools) -> None:
    """Sweep the table on a guess of the passive sets, starting from those before; a lane that fails is marked."""
    size = signed.size
    one, half = spread(1.0), spread(0.5)
    count = _divide(room, weak, signed)
    sweep(room, size - count)
    fail(room)
    be_patient(room)
    while True:
        _factorise(room.table, weak, count)
        _solve(room.table, weak, count, pair(size, 0))
        if _find_wrong(room, weak, count) == 0:
            break
        may_move(weak.lane, room)
        allowed = load(weak.lane, 2)
        for p in range(count):
            wrong, inside = multiply(load(weak.wrong, p), allowed), load(weak.guess, p)
            store(weak.guess, p, where_above(wrong, half, subtract(one, inside), inside))
    for p in range(count):
        room.moving[p] = weak.species[p]
        store(room.moves, weak.species[p], load(weak.guess, p))
    sweep(room, count)
    fail(room)
