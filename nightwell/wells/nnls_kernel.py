"""The compiled search for the passive set; called by :mod:`nightwell.wells.nnls` alone.

Words: ``normal`` is the Gram matrix ``A^T W A`` scaled to a unit diagonal, ``scale`` what was divided out, ``passive``
the species off the bound (those that are ``signed`` have none), ``order`` their columns in increasing order, ``lower``
the Cholesky factor of the passive part of ``normal``. ``starts, columns, entries`` are the non-zero entries of ``A`` by
rows.
"""

# ruff: noqa: PLR0917, C901 - compiled functions take their arrays one by one; calls between them cost compile time

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

_Function = TypeVar("_Function", bound=Callable[..., object])
# Without the interpreter lock, so that dask's threads share the work; cached, so that only the first run compiles.
compiled = cast(
    "Callable[[_Function], _Function]",
    numba.njit(cache=True, nogil=True, error_model="numpy"),
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_EPS = float(np.finfo(np.float64).eps)
# A pivot of the unit-diagonal Gram matrix below this: the column is a sum of the others, as far as numbers can tell.
SMALLEST_PIVOT = 64.0 * _EPS
_REFINEMENTS = 2
# Block exchanges that may fail to lower the number of infeasible species before the method changes.
_PATIENCE = 3


@compiled
def gram(starts: Ints, columns: Ints, entries: Floats, w: Floats, normal: Floats, scale: Floats) -> None:
    """Write the scaled Gram matrix to ``normal`` and its scale to ``scale`` (0 where a species has no weight)."""
    size = scale.size
    for i in range(size):
        for j in range(size):
            normal[i, j] = 0.0
    for m in range(w.size):
        if w[m] == 0.0:
            continue
        for i in range(starts[m], starts[m + 1]):
            weighted = w[m] * entries[i]
            for j in range(starts[m], i + 1):
                normal[columns[i], columns[j]] += weighted * entries[j]
    for i in range(size):
        scale[i] = 1.0 / np.sqrt(normal[i, i]) if normal[i, i] > 0.0 else 0.0
    for i in range(size):
        for j in range(i + 1):
            normal[i, j] *= scale[i] * scale[j]
            normal[j, i] = normal[i, j]


@compiled
def factor(normal: Floats, order: Ints, count: int, lower: Floats) -> bool:
    """Factor the passive part of ``normal``; False when it is not positive definite."""
    for i in range(count):
        for j in range(i):
            total = normal[order[i], order[j]]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            lower[i, j] = total / lower[j, j]
        pivot = normal[order[i], order[i]]
        for k in range(i):
            pivot -= lower[i, k] * lower[i, k]
        if pivot <= SMALLEST_PIVOT:
            return False
        lower[i, i] = np.sqrt(pivot)
    return True


@compiled
def _substitute(lower: Floats, count: int, vector: Floats) -> None:
    """Solve ``lower lower^T z = vector`` in place."""
    for i in range(count):
        for k in range(i):
            vector[i] -= lower[i, k] * vector[k]
        vector[i] /= lower[i, i]
    for i in range(count - 1, -1, -1):
        for k in range(i + 1, count):
            vector[i] -= lower[k, i] * vector[k]
        vector[i] /= lower[i, i]


@compiled
def gradient(
    starts: Ints, columns: Ints, entries: Floats, y: Floats, w: Floats, x: Floats, scale: Floats, g: Floats
) -> None:
    """Write scaled ``A^T W (y - A x)`` to ``g``, by way of the residual: the Gram matrix would lose half the digits."""
    for s in range(g.size):
        g[s] = 0.0
    for m in range(y.size):
        if w[m] == 0.0:
            continue
        residual = y[m]
        for i in range(starts[m], starts[m + 1]):
            residual -= entries[i] * x[columns[i]]
        residual *= w[m]
        for i in range(starts[m], starts[m + 1]):
            g[columns[i]] += entries[i] * residual
    for s in range(g.size):
        g[s] *= scale[s]


@compiled
def order_of(passive: Bools, order: Ints) -> int:
    """Write the columns of the passive species to ``order``; return how many."""
    count = 0
    for s in range(passive.size):
        if passive[s]:
            order[count] = s
            count += 1
    return count


@compiled
def _least_squares(
    starts: Ints, columns: Ints, entries: Floats, y: Floats, w: Floats, normal: Floats, scale: Floats,
    passive: Bools, order: Ints, lower: Floats, step: Floats, g: Floats, z: Floats, refinements: int,
) -> bool:  # fmt: skip
    """Write the unconstrained solution on the passive set to ``z``; False when the set is singular."""
    for s in range(z.size):
        z[s] = 0.0
    count = order_of(passive, order)
    if not factor(normal, order, count, lower):
        return False
    for _ in range(1 + refinements):
        gradient(starts, columns, entries, y, w, z, scale, g)
        for i in range(count):
            step[i] = g[order[i]]
        _substitute(lower, count, step)
        for i in range(count):
            z[order[i]] += step[i] * scale[order[i]]
    return True


@compiled
def _exchange(
    starts: Ints, columns: Ints, entries: Floats, y: Floats, w: Floats, normal: Floats, scale: Floats,
    passive: Bools, signed: Bools, order: Ints, lower: Floats, step: Floats, g: Floats, x: Floats, tolerance: float,
) -> bool:  # fmt: skip
    """Block pivoting (Portugal, Judice and Vicente 1994): move all species on the wrong side at once.

    False when it does not come to rest or meets a singular set.
    """
    fewest, patience, refinements = x.size + 1, _PATIENCE, 0
    while True:
        solved = _least_squares(
            starts, columns, entries, y, w, normal, scale, passive, order, lower, step, g, x, refinements
        )  # fmt: skip
        if not solved:
            return False
        gradient(starts, columns, entries, y, w, x, scale, g)
        wrong = 0
        for s in range(x.size):
            if (passive[s] and x[s] <= 0.0 and not signed[s]) or (
                not passive[s] and scale[s] > 0.0 and g[s] > tolerance
            ):
                wrong += 1
        if wrong == 0 and refinements == _REFINEMENTS:
            return True
        if wrong == 0:
            refinements = _REFINEMENTS  # the same set once more, to full accuracy
            continue
        if wrong < fewest:
            fewest, patience = wrong, _PATIENCE
        else:
            patience -= 1
        if patience < 0:
            return False
        for s in range(x.size):
            if passive[s]:
                passive[s] = x[s] > 0.0 or signed[s]
            elif scale[s] > 0.0 and g[s] > tolerance:
                passive[s] = True


@compiled
def find_passive(
    starts: Ints, columns: Ints, entries: Floats, spectra: Floats, weights: Floats, signed: Bools,
    value: Floats, passive: Bools, settled: Bools,
) -> None:  # fmt: skip
    """Fill ``value`` and ``passive`` (spectrum, species); ``settled`` is False where another method must take over.

    Each spectrum starts from the passive set of the one before it: neighbours in depth are alike.
    """
    rows, mz = spectra.shape
    size = value.shape[1]
    normal, lower = np.empty((size, size)), np.empty((size, size))
    scale, step, g = np.empty(size), np.empty(size), np.empty(size)
    order = np.empty(size, np.int64)
    guess = np.zeros(size, np.bool_)
    for row in range(rows):
        y, w, x = spectra[row], weights[row], value[row]
        gram(starts, columns, entries, w, normal, scale)
        length = 0.0
        for m in range(mz):
            length += w[m] * y[m] * y[m]
        for s in range(size):
            guess[s] = (guess[s] or signed[s]) and scale[s] > 0.0
        tolerance = 4.0 * size * _EPS * np.sqrt(length)
        settled[row] = _exchange(
            starts, columns, entries, y, w, normal, scale, guess, signed, order, lower, step, g, x, tolerance
        )  # fmt: skip
        for s in range(size):
            passive[row, s] = guess[s]
            guess[s] = guess[s] and settled[row]
