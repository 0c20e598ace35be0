"""The compiled one-sigmas of amounts; called by :mod:`nightwell.wells.nnls_rows` alone.

Words as in :mod:`nightwell.wells.nnls_kernel`.
"""

from __future__ import annotations

import math

from nightwell.wells.lanes import (
    LANES,
    add_product,
    compiled,
    divide,
    load,
    multiply,
    root,
    spread,
    store,
    subtract,
    where_above,
)
from nightwell.wells.nnls_kernel import SMALLEST_PIVOT, Space, pair

_FAR_BELOW = -6.0


@compiled
def _share_above_bound(z: float) -> float:
    """Variance of a normal amount with mean ``z`` (not positive) and sigma 1, given that it is positive."""
    if z < _FAR_BELOW:
        return 1.0 / (z * z)  # the tail is exponential
    mills = math.sqrt(2.0 / math.pi) * math.exp(-0.5 * z * z) / math.erfc(-z / math.sqrt(2.0))
    return 1.0 - z * mills - mills * mills


@compiled
def find_sigmas(room: Space) -> None:
    """Write one-sigmas, scaled, to ``sigma`` and the variance that bound species may have above the bound to ``widen``.

    The covariance on the passive set alone is too small near the bound: a species that just met it may be there after
    all, and share the signal of its neighbours. So passive species are widened by what bound ones may have.
    """
    table, passive, widen, sigma = room.table, room.passive, room.widen, room.sigma
    size = passive.shape[0]
    zero, one, half, least = spread(0.0), spread(1.0), spread(0.5), spread(SMALLEST_PIVOT)
    for i in range(size):
        here = load(table, pair(i, i))
        inner = divide(one, where_above(here, least, here, least))
        is_passive = load(passive, i)
        store(sigma, i, where_above(is_passive, half, subtract(zero, here), inner))
        gradient = load(room.g, i)
        store(widen, i, multiply(where_above(gradient, zero, zero, gradient), root(inner)))
        for lane in range(LANES):
            outside = passive[i, lane] == 0.0 and room.scale[i, lane] > 0.0
            widen[i, lane] = _share_above_bound(widen[i, lane]) if outside else 0.0
        store(widen, i, multiply(load(widen, i), inner))
    for i in range(size):
        total, own = load(sigma, i), load(widen, i)
        is_passive = load(passive, i)
        for j in range(i):
            entry = load(table, pair(i, j))
            square = multiply(entry, entry)
            total = add_product(total, square, where_above(is_passive, half, load(widen, j), zero))
            other = where_above(load(passive, j), half, own, zero)
            store(sigma, j, add_product(load(sigma, j), square, other))
        store(sigma, i, total)
    for i in range(size):
        variance = load(sigma, i)
        store(sigma, i, root(where_above(variance, zero, variance, zero)))
