"""The compiled search for the passive set; called by :mod:`nightwell.wells.nnls_rows` alone.

Words: ``LANES`` spectra are solved side by side (:mod:`nightwell.wells.lanes`); rows of arrays are m/z, species or
pairs of species, columns are those spectra. ``table`` is the Gram matrix ``A^T W A`` scaled to a unit diagonal, its
lower triangle by rows (:func:`pair`), with ``A^T W y`` as if it were one species more; ``scale`` is what was divided
out (0: a species without weight). ``passive`` species, 1.0, are those off the bound; the ``signed`` have none.

A sweep of species ``k`` (Beaton's operator) makes from its column ``c`` of the table and the pivot ``d = c[k]``:
``table - c c^T / d``, ``c / d`` in the place of the column, ``-1 / d`` in that of the pivot; a second one takes it
back. Swept on the passive set the table holds, without a factorisation: minus the inverse of the passive part, what
each passive amount loses to a bound species that were let in, the information left for that species, and in its last
row the amounts of the passive and the gradients of the bound species. Lanes have passive sets of their own: where a
species does not move, its pivot counts as infinite. Sweeps are gathered by four, so that the table passes the processor
a quarter as often.

References
----------
Beaton, A. E. (1964), The use of special matrix operators in statistical calculus, ETS Research Bulletin RB-64-51.
Goodnight, J. H. (1979), A tutorial on the SWEEP operator, Am. Stat. 33, 149.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightwell.wells.lanes import (
    LANES,
    add,
    add_product,
    compiled,
    divide,
    lanes,
    larger,
    less_product,
    load,
    multiply,
    root,
    spread,
    store,
    subtract,
    where_above,
)
from nightwell.wells.nnls_matrix import Matrix

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_EPS = float(np.finfo(np.float64).eps)
# A pivot of the unit-diagonal Gram matrix below this: the column is a sum of the others, as far as numbers can tell.
SMALLEST_PIVOT = 64.0 * _EPS
#: Sweeps gathered.
PANEL = 4
# Block exchanges that may fail to lower the number of infeasible species before the method changes.
_PATIENCE = 3
_REFINEMENTS = 4
# After a refinement that changed amounts by less than this share of the largest, another one would change nothing.
_REFINED = 1e-13
# The first takes the error of the table off, and leaves as much of that as the error was of the amounts: its square.
_FIRST_REFINED = 1e-7
# With nearly equal patterns a refinement comes no nearer than rounding lets it; a last one this small is as good.
_NEARLY_REFINED = 1e-10

#: What has become of a lane.
SEARCHING, SETTLED, FAILED = 0, 1, 2


class Space(NamedTuple):
    """Room to work in, one for each thread; made by :func:`space`."""

    y: Floats  # (mz, LANES)
    w: Floats  # (mz, LANES)
    fit: Floats  # (mz, LANES)
    residual: Floats  # (mz, LANES), weighted
    table: Floats  # (pairs of species and one, LANES)
    panel: Floats  # (PANEL * (species + 1), LANES): columns of the table
    inverse: Floats  # (PANEL, LANES): of the pivots
    scale: Floats  # (species + 1, LANES)
    passive: Floats  # (species, LANES)
    moves: Floats  # (species, LANES): 1.0 where a species is about to move
    amount: Floats  # (species, LANES)
    g: Floats  # (species, LANES): scaled gradients
    step: Floats  # (species, LANES)
    sigma: Floats  # (species, LANES): scaled
    widen: Floats  # (species, LANES): variance that bound species may have above the bound
    tolerance: Floats  # (1, LANES): gradients that are not above it are rounding
    lane: Floats  # (3, LANES): numbers of each lane, for single steps
    moving: Ints  # (species,): the species of a sweep, in order
    state: Ints  # (LANES,): SEARCHING, SETTLED or FAILED
    fewest: Ints  # (LANES,): species that were wrong at best
    patience: Ints  # (LANES,): exchanges that may bring no fewer
    counts: Ints  # (LANES,): m/z that were measured


def space(species: int, mz: int) -> Space:
    """Return room for one thread."""
    return Space(
        lanes(mz), lanes(mz), lanes(mz), lanes(mz), lanes((species + 1) * (species + 2) // 2),
        lanes(PANEL * (species + 1)), lanes(PANEL), lanes(species + 1), lanes(species), lanes(species), lanes(species),
        lanes(species), lanes(species), lanes(species), lanes(species), lanes(1), lanes(3), np.zeros(species, np.int64),
        np.zeros(LANES, np.int64), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64),
    )  # fmt: skip


@compiled
def pair(i: int, j: int) -> int:
    """Return the row of the pair ``(i, j)``, ``j <= i``, in arrays of pairs."""
    return i * (i + 1) // 2 + j


@compiled
def gram(a: Matrix, room: Space) -> None:
    """Write table and scale, and what counts as a gradient."""
    table, scale = room.table, room.scale
    size = scale.shape[0] - 1
    zero, one = spread(0.0), spread(1.0)
    for at in range(table.shape[0]):
        store(table, at, zero)
    last = pair(size, 0)
    for m in a.peaks:
        weight, signal = load(room.w, m), load(room.y, m)
        first = a.row_starts[m]
        for at in range(first, a.row_starts[m + 1]):
            i = a.row_columns[at]
            entry = multiply(weight, spread(a.row_values[at]))
            store(table, last + i, add_product(load(table, last + i), entry, signal))
            for other in range(first, at + 1):
                into = pair(i, a.row_columns[other])
                store(table, into, add_product(load(table, into), entry, spread(a.row_values[other])))
    store(scale, size, one)
    for i in range(size + 1):
        if i < size:
            square = load(table, pair(i, i))
            store(scale, i, where_above(square, zero, divide(one, root(square)), zero))
        line, own = pair(i, 0), load(scale, i)
        for j in range(i + 1):
            store(table, line + j, multiply(load(table, line + j), multiply(own, load(scale, j))))
    length = zero
    for m in range(a.mz):
        length = add_product(length, load(room.w, m), multiply(load(room.y, m), load(room.y, m)))
    store(room.tolerance, 0, multiply(root(length), spread(4.0 * size * _EPS)))


@compiled
def lower(table: Floats, panel: Floats, inverse: Floats, size: int) -> None:
    """Take the products of the panel's columns, divided by their pivots, from the table."""
    b, c, d = size, 2 * size, 3 * size
    da, db, dc, dd = load(inverse, 0), load(inverse, 1), load(inverse, 2), load(inverse, 3)
    for i in range(size):
        fa, fb = multiply(load(panel, i), da), multiply(load(panel, b + i), db)
        fc, fd = multiply(load(panel, c + i), dc), multiply(load(panel, d + i), dd)
        line = pair(i, 0)
        for j in range(i + 1):
            left = less_product(load(table, line + j), fa, load(panel, j))
            left = less_product(left, fb, load(panel, b + j))
            left = less_product(left, fc, load(panel, c + j))
            store(table, line + j, less_product(left, fd, load(panel, d + j)))


@compiled
def sweep(room: Space, count: int) -> None:
    """Sweep the first ``count`` species of ``moving`` in the lanes where they move; row 0 of ``lane`` counts failures.

    A species that is a sum of the others stays where it is. ``table - c c^T / d`` alone does a sweep when ``c[k]`` is
    lowered by 1 beforehand and the pivot by 2 afterwards; to take one back, both are raised.
    """
    table, panel, inverse = room.table, room.panel, room.inverse
    size = room.scale.shape[0]
    zero, one, two, half, least = spread(0.0), spread(1.0), spread(2.0), spread(0.5), spread(SMALLEST_PIVOT)
    failed = zero
    for first in range(0, count, PANEL):
        together = min(PANEL, count - first)
        for q in range(together):
            k, line = room.moving[first + q], q * size
            for j in range(k):
                store(panel, line + j, load(table, pair(k, j)))
            for i in range(k, size):
                store(panel, line + i, load(table, pair(i, k)))
            for before in range(q):
                other = before * size
                share = multiply(load(panel, other + k), load(inverse, before))
                for j in range(size):
                    store(panel, line + j, less_product(load(panel, line + j), share, load(panel, other + j)))
            pivot, sign = load(panel, line + k), less_product(one, two, load(room.passive, k))
            can = where_above(multiply(pivot, sign), least, one, zero)
            moves = load(room.moves, k)
            failed = add(failed, less_product(moves, moves, can))
            moves = multiply(moves, can)
            store(room.moves, k, moves)
            store(inverse, q, where_above(moves, half, divide(one, pivot), zero))
            store(panel, line + k, subtract(pivot, sign))
        for q in range(together, PANEL):
            store(inverse, q, zero)
        lower(table, panel, inverse, size)
        for at in range(first, first + together):
            k = room.moving[at]
            sign, moves = less_product(one, two, load(room.passive, k)), load(room.moves, k)
            store(table, pair(k, k), less_product(load(table, pair(k, k)), multiply(two, sign), moves))
            store(room.passive, k, add_product(load(room.passive, k), sign, moves))
    store(room.lane, 0, failed)


@compiled
def compare(a: Matrix, room: Space) -> None:
    """Write the fit of ``amount``, its residual, and the gradients: the table would have lost half their digits."""
    for m in a.peaks:
        fit = spread(0.0)
        for at in range(a.row_starts[m], a.row_starts[m + 1]):
            fit = add_product(fit, spread(a.row_values[at]), load(room.amount, a.row_columns[at]))
        store(room.fit, m, fit)
        store(room.residual, m, multiply(load(room.w, m), subtract(load(room.y, m), fit)))
    for s in range(room.g.shape[0]):
        total = spread(0.0)
        for at in range(a.column_starts[s], a.column_starts[s + 1]):
            total = add_product(total, spread(a.column_values[at]), load(room.residual, a.column_rows[at]))
        store(room.g, s, multiply(total, load(room.scale, s)))


@compiled
def _step(room: Space) -> None:
    """Write what the gradients of the passive amounts say that these lack."""
    table, step = room.table, room.step
    zero = spread(0.0)
    for i in range(step.shape[0]):
        gain, total, line = multiply(load(room.g, i), load(room.passive, i)), zero, pair(i, 0)
        store(room.moves, i, gain)
        for j in range(i):
            entry = load(table, line + j)
            store(step, j, less_product(load(step, j), entry, gain))
            total = less_product(total, entry, load(room.moves, j))
        store(step, i, less_product(total, load(table, line + i), gain))


@compiled
def _refine(a: Matrix, room: Space) -> None:
    """Bring amounts to full accuracy and the gradients with them; a lane where that fails has failed.

    They begin from what the last row of the table says, and end there too.
    """
    table, state, last = room.table, room.state, pair(room.g.shape[0], 0)
    size = room.g.shape[0]
    zero, half = spread(0.0), spread(0.5)
    for s in range(size):
        x = where_above(load(room.passive, s), half, load(table, last + s), zero)
        store(table, last + s, x)
        store(room.amount, s, multiply(x, load(room.scale, s)))
    compare(a, room)
    for turn in range(_REFINEMENTS):
        _step(room)
        moved, largest = zero, zero
        for s in range(size):
            step = multiply(load(room.step, s), load(room.passive, s))
            x = add(load(table, last + s), step)
            store(table, last + s, x)
            store(room.amount, s, multiply(x, load(room.scale, s)))
            moved, largest = larger(moved, step), larger(largest, x)
        store(room.lane, 1, moved)
        store(room.lane, 2, largest)
        compare(a, room)
        near, is_refined = _FIRST_REFINED if turn == 0 else _REFINED, True
        for lane in range(LANES):
            is_refined &= state[lane] == FAILED or room.lane[1, lane] <= near * room.lane[2, lane]
        if is_refined:
            break
    for lane in range(LANES):
        if not is_refined and not room.lane[1, lane] <= _NEARLY_REFINED * room.lane[2, lane]:
            state[lane] = FAILED
    for s in range(size):
        store(table, last + s, where_above(load(room.passive, s), half, load(table, last + s), load(room.g, s)))


@compiled
def _find_wrong(room: Space, signed: Bools) -> int:
    """Mark species on the wrong side of the bound in ``moves``, count them in row 1 of ``lane``; return the lanes."""
    zero, one, half = spread(0.0), spread(1.0), spread(0.5)
    count, tolerance, last = zero, load(room.tolerance, 0), pair(signed.size, 0)
    for s in range(signed.size):
        here = load(room.table, last + s)
        leaves = zero if signed[s] else where_above(here, zero, zero, one)
        wrong = where_above(load(room.passive, s), half, leaves, where_above(here, tolerance, one, zero))
        store(room.moves, s, wrong)
        count = add(count, wrong)
    store(room.lane, 1, count)
    found = 0
    for lane in range(LANES):
        found += 1 if room.state[lane] == SEARCHING and room.lane[1, lane] > 0.0 else 0
    return found


@compiled
def may_move(numbers: Floats, room: Space) -> None:
    """Write to row 2 which lanes may move as many wrong species as row 1 says; one that ran out of patience fails."""
    state, fewest, patience = room.state, room.fewest, room.patience
    for lane in range(LANES):
        wrong = int(numbers[1, lane])
        numbers[2, lane] = 0.0
        if state[lane] != SEARCHING or wrong == 0:
            continue
        if wrong < fewest[lane]:
            fewest[lane], patience[lane] = wrong, _PATIENCE
        else:
            patience[lane] -= 1
        if patience[lane] < 0:
            state[lane] = FAILED
        else:
            numbers[2, lane] = 1.0


@compiled
def be_patient(room: Space) -> None:
    """Begin to count exchanges."""
    for lane in range(LANES):
        room.fewest[lane], room.patience[lane] = room.moving.size + 1, _PATIENCE


@compiled
def _choose(room: Space) -> int:
    """List the species that move in the lanes which may, and return how many."""
    allowed, count = load(room.lane, 2), 0
    for s in range(room.moves.shape[0]):
        store(room.moves, s, multiply(load(room.moves, s), allowed))
        is_moving = False
        for lane in range(LANES):
            is_moving |= room.moves[s, lane] > 0.0
        if is_moving:
            room.moving[count] = s
            count += 1
    return count


@compiled
def fail(room: Space) -> None:
    """Take lanes out of the search where the last sweep failed."""
    for lane in range(LANES):
        if room.state[lane] == SEARCHING and room.lane[0, lane] > 0.0:
            room.state[lane] = FAILED


@compiled
def search(a: Matrix, signed: Bools, room: Space) -> None:
    """Find the passive sets and the amounts of all lanes, from the passive sets that the table is swept on.

    ``state`` says which lanes to work on, and in the end which of them another method must take over. All species on
    the wrong side move at once (Portugal, Judice and Vicente 1994).
    """
    be_patient(room)
    is_refined = False
    while True:
        wrong = _find_wrong(room, signed)
        if is_refined:
            for lane in range(LANES):
                if room.state[lane] == SEARCHING and room.lane[1, lane] == 0.0:
                    room.state[lane] = SETTLED
        if wrong > 0:
            may_move(room.lane, room)
            sweep(room, _choose(room))
            fail(room)
            is_refined = False
        elif is_refined:
            return
        else:
            _refine(a, room)
            is_refined = True
