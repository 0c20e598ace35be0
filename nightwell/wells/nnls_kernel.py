"""The compiled search for the passive set; called by :mod:`nightwell.wells.nnls_errors` alone.

Words: ``table`` is the Gram matrix ``A^T W A`` scaled to a unit diagonal, swept on the ``passive`` species (those off
the bound; the ``signed`` have none), and in one row more the amounts of the passive and the gradients of the bound
species; ``scale`` is what was divided out. ``dense`` is ``A``, its rows filled with zeros to ``width``, a multiple of
``LANES``; ``columns`` and ``rows`` hold the places of its non-zero entries by columns and by rows.

A sweep of species ``k`` (Beaton's operator) makes from the column ``c`` and pivot ``d = c[k]``: ``table - c c^T / d``,
``c / d`` in the place of the column, ``-1 / d`` in that of the pivot; a second one takes it back. Swept on the passive
set the table holds, without a factorisation: minus the inverse of the passive part, the amounts that least squares
gives them, what each of them loses to a bound species that were let in, and the information left for that species.
Sweeps are gathered by eight, so that the table passes the processor an eighth as often.

References
----------
Beaton, A. E. (1964), The use of special matrix operators in statistical calculus, ETS Research Bulletin RB-64-51.
Goodnight, J. H. (1979), A tutorial on the SWEEP operator, Am. Stat. 33, 149.
"""

# ruff: noqa: C901 - compiled functions take their arrays one by one; calls between them cost compile time

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

_Function = TypeVar("_Function", bound=Callable[..., object])
# Without the interpreter lock, so that dask's threads share the work; cached, so that only the first run compiles.
# "contract" lets a product and a sum round once instead of twice; nothing else of the arithmetic is loosened.
compiled = cast(
    "Callable[[_Function], _Function]",
    numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}),
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_EPS = float(np.finfo(np.float64).eps)
# A pivot of the unit-diagonal Gram matrix below this: the column is a sum of the others, as far as numbers can tell.
SMALLEST_PIVOT = 64.0 * _EPS
#: Numbers that the compiler handles in one turn of an inner loop: rows are filled up to a multiple of it.
LANES = 16
_PANEL = 8
_GATHERED = 4
# Block exchanges that may fail to lower the number of infeasible species before the method changes.
_PATIENCE = 3
_REFINEMENTS = 4
# After a refinement that changed amounts by less than this share of the largest, another one would change nothing.
_REFINED = 1e-13
# With nearly equal patterns a refinement comes no nearer than rounding lets it; a last one this small is as good.
_NEARLY_REFINED = 1e-10


class Matrix(NamedTuple):
    """The design matrix as the compiled functions want it, made by :func:`nightwell.wells.nnls.matrix_of`.

    Attributes
    ----------
    dense : ndarray of float64, dims (mz, width)
    column_starts, column_rows : ndarrays of int64
        Rows of the non-zero entries of column ``s``: ``column_rows[column_starts[s] : column_starts[s + 1]]``.
    row_starts, row_columns : ndarrays of int64
        The same by rows.
    """

    dense: Floats
    column_starts: Ints
    column_rows: Ints
    row_starts: Ints
    row_columns: Ints


class Space(NamedTuple):
    """Room to work in, one for each thread; made by :func:`space`."""

    table: Floats  # (species + 1, width)
    panel: Floats  # (_PANEL, width + 1)
    inverse: Floats  # (_PANEL,): of the pivots
    scale: Floats  # (species,)
    x: Floats  # (species,)
    g: Floats  # (width,)
    step: Floats  # (width,)
    residual: Floats  # (mz,)
    moving: Ints  # (species,)


@compiled
def space(species: int, width: int, mz: int) -> Space:
    """Return room for one thread."""
    return Space(
        np.zeros((species + 1, width)), np.zeros((_PANEL, width + 1)), np.zeros(_PANEL), np.zeros(species),
        np.zeros(species), np.zeros(width), np.zeros(width), np.zeros(mz), np.zeros(species, np.int64),
    )  # fmt: skip


@compiled
def gram(a: Matrix, y: Floats, w: Floats, room: Space) -> None:
    """Write the scaled Gram matrix and right-hand side to the table, and the scale (0: a species without weight)."""
    table, scale, panel = room.table, room.scale, room.panel
    size = scale.size
    for i in range(size):
        stop = (i // LANES + 1) * LANES
        into = table[i]
        for j in range(stop):
            into[j] = 0.0
        total = 0.0
        first, last = a.column_starts[i], a.column_starts[i + 1]
        for at in range(first, last, _GATHERED):
            m0 = a.column_rows[at]
            m1 = a.column_rows[min(at + 1, last - 1)]
            m2 = a.column_rows[min(at + 2, last - 1)]
            m3 = a.column_rows[min(at + 3, last - 1)]
            r0, r1, r2, r3 = a.dense[m0], a.dense[m1], a.dense[m2], a.dense[m3]
            w0 = w[m0] * r0[i]
            w1 = w[m1] * r1[i] if at + 1 < last else 0.0
            w2 = w[m2] * r2[i] if at + 2 < last else 0.0
            w3 = w[m3] * r3[i] if at + 3 < last else 0.0
            total += w0 * y[m0] + w1 * y[m1] + w2 * y[m2] + w3 * y[m3]
            for j in range(stop):
                into[j] += w0 * r0[j] + w1 * r1[j] + w2 * r2[j] + w3 * r3[j]
        scale[i] = 1.0 / np.sqrt(into[i]) if into[i] > 0.0 else 0.0
        table[size, i] = total
        panel[0, i] = scale[i]
    for j in range(size, table.shape[1]):
        panel[0, j] = 0.0
        table[size, j] = 0.0
    scales = panel[0]
    for i in range(size + 1):
        stop = (i // LANES + 1) * LANES if i < size else table.shape[1]
        factor = scale[i] if i < size else 1.0
        into = table[i]
        for j in range(stop):
            into[j] *= factor * scales[j]


@compiled
def _column(table: Floats, k: int, column: Floats) -> None:
    """Gather column ``k`` of the table, whose lower triangle alone is kept, and its last row's entry at the end."""
    size, width = table.shape[0] - 1, table.shape[1]
    for j in range(k):
        column[j] = table[k, j]
    for i in range(k, size):
        column[i] = table[i, k]
    for i in range(size, width):
        column[i] = 0.0
    column[width] = table[size, k]


@compiled
def _lower(table: Floats, panel: Floats, d: Floats, together: int) -> None:
    """Take the products of the panel's columns from the table; by eight, four or two, as many as there are."""
    size, width = table.shape[0] - 1, table.shape[1]
    p0, p1, p2, p3 = panel[0], panel[1], panel[2], panel[3]
    p4, p5, p6, p7 = panel[4], panel[5], panel[6], panel[7]
    for i in range(size + 1):
        stop = (i // LANES + 1) * LANES if i < size else width
        at = i if i < size else width
        a0, a1, a2, a3 = p0[at] * d[0], p1[at] * d[1], p2[at] * d[2], p3[at] * d[3]
        into = table[i]
        if together > 4:  # noqa: PLR2004 - half a panel
            a4, a5, a6, a7 = p4[at] * d[4], p5[at] * d[5], p6[at] * d[6], p7[at] * d[7]
            for j in range(stop):
                into[j] -= (a0 * p0[j] + a1 * p1[j] + a2 * p2[j] + a3 * p3[j]) + (
                    a4 * p4[j] + a5 * p5[j] + a6 * p6[j] + a7 * p7[j]
                )
        elif together > 2:  # noqa: PLR2004 - a quarter
            for j in range(stop):
                into[j] -= a0 * p0[j] + a1 * p1[j] + a2 * p2[j] + a3 * p3[j]
        else:
            for j in range(stop):
                into[j] -= a0 * p0[j] + a1 * p1[j]


@compiled
def sweep(room: Space, passive: Bools, moving: Ints, count: int) -> bool:
    """Sweep the species in ``moving`` into the passive set or out of it; False when one is a sum of the others.

    ``table - c c^T / d`` alone does a sweep when ``c[k]`` is lowered by 1 beforehand and the pivot by 2 afterwards.
    """
    table, panel, d = room.table, room.panel, room.inverse
    width = table.shape[1]
    for at in range(0, count, _PANEL):
        together = min(_PANEL, count - at)
        for q in range(together):
            k, line = moving[at + q], panel[q]
            _column(table, k, line)
            for before in range(q):
                other = panel[before]
                share = other[k] * d[before]
                for j in range(width + 1):
                    line[j] -= share * other[j]
            pivot = line[k]
            if not (pivot < 0.0 if passive[k] else pivot > SMALLEST_PIVOT):
                return False
            line[k] += 1.0 if passive[k] else -1.0
            d[q] = 1.0 / pivot
        for q in range(together, _PANEL):
            d[q] = 0.0
        _lower(table, panel, d, together)
        for q in range(together):
            k = moving[at + q]
            table[k, k] += 2.0 if passive[k] else -2.0
            passive[k] = not passive[k]
    return True


@compiled
def gradient(a: Matrix, y: Floats, w: Floats, x: Floats, scale: Floats, residual: Floats, g: Floats) -> None:
    """Write scaled ``A^T W (y - A x)`` to ``g``, by way of the residual: the Gram matrix would lose half the digits."""
    for m in range(y.size):
        rest = y[m]
        for at in range(a.row_starts[m], a.row_starts[m + 1]):
            rest -= a.dense[m, a.row_columns[at]] * x[a.row_columns[at]]
        residual[m] = rest * w[m]
    for s in range(x.size):
        total = 0.0
        for at in range(a.column_starts[s], a.column_starts[s + 1]):
            total += a.dense[a.column_rows[at], s] * residual[a.column_rows[at]]
        g[s] = total * scale[s]


@compiled
def refine(a: Matrix, y: Floats, w: Floats, passive: Bools, room: Space) -> bool:
    """Bring the amounts of the passive set to full accuracy and the gradients with them; False when that fails.

    They begin from what the last row of the table says.
    """
    table, scale, x, g, step = room.table, room.scale, room.x, room.g, room.step
    size = scale.size
    for s in range(size):
        x[s] = table[size, s] * scale[s] if passive[s] else 0.0
    for turn in range(_REFINEMENTS):
        gradient(a, y, w, x, scale, room.residual, g)
        for s in range(size):
            g[s] = g[s] if passive[s] else 0.0
        for j in range(step.size):
            step[j] = 0.0
        for i in range(size):
            if not passive[i]:
                continue
            row, gain, total = table[i], g[i], 0.0
            for j in range(i):
                step[j] -= row[j] * gain
                total -= row[j] * g[j]
            step[i] += total - row[i] * gain
        moved = largest = 0.0
        for s in range(size):
            if passive[s]:
                x[s] += step[s] * scale[s]
                moved = max(moved, abs(step[s]))
                largest = max(largest, abs(x[s] / scale[s]))
        if moved <= _REFINED * largest or (turn == _REFINEMENTS - 1 and moved <= _NEARLY_REFINED * largest):
            gradient(a, y, w, x, scale, room.residual, g)
            for s in range(size):
                table[size, s] = x[s] / scale[s] if passive[s] else g[s]
            return True
    return False


@compiled
def start(a: Matrix, y: Floats, w: Floats, signed: Bools, passive: Bools, room: Space) -> bool:
    """Make the table and sweep it on the passive set that is guessed; False when the set is singular."""
    gram(a, y, w, room)
    count = 0
    for s in range(passive.size):
        if (passive[s] or signed[s]) and room.scale[s] > 0.0:
            room.moving[count] = s
            count += 1
        passive[s] = False
    return sweep(room, passive, room.moving, count)


@compiled
def search(a: Matrix, y: Floats, w: Floats, signed: Bools, passive: Bools, room: Space) -> bool:
    """Find the passive set and the amounts from a table swept on a guess; False where another method must go on.

    All species on the wrong side move at once (Portugal, Judice and Vicente 1994).
    """
    table, scale, moving = room.table, room.scale, room.moving
    size = scale.size
    length = 0.0
    for m in range(y.size):
        length += w[m] * y[m] * y[m]
    tolerance = 4.0 * size * _EPS * np.sqrt(length)
    fewest, patience, refined = size + 1, _PATIENCE, False
    while True:
        while True:
            wrong = 0
            for s in range(size):
                here = table[size, s]
                leaves = passive[s] and here <= 0.0 and not signed[s]
                if leaves or (not passive[s] and scale[s] > 0.0 and here > tolerance):
                    moving[wrong] = s
                    wrong += 1
            if wrong > 0 or refined:
                break
            if not refine(a, y, w, passive, room):
                return False
            refined = True
        if wrong == 0:
            return True
        refined = False
        if wrong < fewest:
            fewest, patience = wrong, _PATIENCE
        else:
            patience -= 1
        if patience < 0 or not sweep(room, passive, moving, wrong):
            return False
