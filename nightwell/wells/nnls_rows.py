"""The compiled loop over spectra, ``LANES`` of them side by side; called by :mod:`nightwell.wells.nnls` alone.

Words as in :mod:`nightwell.wells.nnls_kernel`.
"""

# ruff: noqa: PLR0917, FBT001 - compiled functions take their arrays one by one; calls between them cost compile time

from __future__ import annotations

import math

import numpy as np

from nightwell.wells.lanes import (
    LANES,
    add_product,
    compiled,
    divide,
    load,
    multiply,
    spread,
    store,
    subtract,
    where_above,
)
from nightwell.wells.nnls_errors import find_sigmas
from nightwell.wells.nnls_guess import Weak, guess
from nightwell.wells.nnls_kernel import (
    SEARCHING,
    SETTLED,
    Bools,
    Floats,
    Ints,
    Space,
    compare,
    gram,
    search,
    sweep,
)
from nightwell.wells.nnls_limits import Room, find_covariance, find_limits
from nightwell.wells.nnls_matrix import Matrix


@compiled
def _weigh(spectra: Floats, variance: Floats, first: int, room: Space) -> None:
    """Write signals and weights of the lanes, and how many m/z count; lanes beyond the last spectrum have none."""
    y, w, counts = room.y, room.w, room.counts
    zero, one, huge = spread(0.0), spread(1.0), spread(np.inf)
    for lane in range(LANES):
        row = first + lane
        counts[lane] = 0
        if row < spectra.shape[0]:
            for m in range(y.shape[0]):
                y[m, lane], w[m, lane] = spectra[row, m], variance[row, m]
        else:
            for m in range(y.shape[0]):
                y[m, lane], w[m, lane] = 0.0, 0.0
    for m in range(y.shape[0]):
        signal, deviation = load(y, m), load(w, m)
        usable = where_above(huge, deviation, divide(one, deviation), zero)
        usable = where_above(deviation, zero, usable, zero)
        usable = where_above(huge, signal, where_above(signal, subtract(zero, huge), usable, zero), zero)
        store(w, m, usable)
        store(y, m, where_above(usable, zero, signal, zero))
        for lane in range(LANES):
            counts[lane] += 1 if w[m, lane] > 0.0 else 0


@compiled
def _weigh_own(shot: Floats, first: int, own: Floats) -> None:
    """Write the shot factors of the lanes."""
    for lane in range(LANES):
        row = first + lane
        for m in range(own.shape[0]):
            here = shot[row, m] if row < shot.shape[0] else 0.0
            own[m, lane] = here if math.isfinite(here) else 0.0


@compiled
def _take(a: Matrix, value: Floats, passive: Bools, first: int, room: Space) -> None:
    """Take the passive sets and amounts that another method found."""
    for s in range(value.shape[1]):
        for lane in range(LANES):
            row = first + lane
            is_there = row < value.shape[0] and passive[row, s] and room.scale[s, lane] > 0.0
            room.passive[s, lane] = 0.0
            room.moves[s, lane] = 1.0 if is_there else 0.0
            room.amount[s, lane] = value[row, s] if is_there else 0.0
        room.moving[s] = s
    sweep(room, value.shape[1])
    compare(a, room)


@compiled
def _put(
    a: Matrix, first: int, room: Space,
    value: Floats, passive: Bools, settled: Bools, fit: Floats, chi2: Floats, freedom: Ints,
) -> None:  # fmt: skip
    """Write what the search found: amounts, fits and sums of squares."""
    total = spread(0.0)
    for m in range(a.mz):
        rest = subtract(load(room.y, m), load(room.fit, m))
        total = add_product(total, multiply(load(room.w, m), rest), rest)
    store(room.lane, 0, total)
    for lane in range(min(LANES, value.shape[0] - first)):
        row = first + lane
        settled[row] = room.state[lane] == SETTLED
        for m in range(a.mz):
            fit[row, m] = room.fit[m, lane]
        chi2[row] = room.lane[0, lane]
        freedom[row] = room.counts[lane]
        for s in range(value.shape[1]):
            is_there = room.passive[s, lane] > 0.0
            passive[row, s] = is_there
            freedom[row] -= 1 if is_there else 0
            value[row, s] = room.amount[s, lane] if room.scale[s, lane] > 0.0 else np.nan


@compiled
def _put_scaled(first: int, scaled: Floats, scale: Floats, into: Floats) -> None:
    """Write sigmas or limits; a species without weight has none."""
    for lane in range(min(LANES, into.shape[0] - first)):
        for s in range(into.shape[1]):
            into[first + lane, s] = scaled[s, lane] * scale[s, lane] if scale[s, lane] > 0.0 else np.nan


@compiled
def _put_covariance(first: int, cov: Floats, scale: Floats, sigma: Floats, into: Floats) -> None:
    at = 0
    for i in range(sigma.shape[1]):
        for j in range(i + 1):
            for lane in range(min(LANES, into.shape[0] - first)):
                row = first + lane
                entry = cov[at, lane] * scale[i, lane] * scale[j, lane]
                if i == j:
                    entry = sigma[row, i] ** 2
                into[row, i, j] = entry
                into[row, j, i] = entry
            at += 1


@compiled
def solve_rows(
    a: Matrix, work: Space, weak: Weak, room: Room,
    spectra: Floats, variance: Floats, shot: Floats, signed: Bools, own_relative: float,
    value: Floats, passive: Bools, settled: Bools, sigma: Floats, limit: Floats, covariance: Floats,
    fit: Floats, chi2: Floats, freedom: Ints, is_given: bool, wants_sigma: bool,
) -> None:  # fmt: skip
    """Fill amounts, fits and uncertainties, the ``limit`` in standard deviations of one.

    ``limit`` and ``covariance`` are left alone when they are empty. Each spectrum starts from the passive set of the
    one ``LANES`` before it: neighbours in depth are alike. ``settled`` is False where another method must take over;
    once it has, ``is_given`` fills in the rest of what it found.
    """
    wants_limit, wants_cov = limit.shape[0] > 0, covariance.shape[0] > 0
    for first in range(0, spectra.shape[0], LANES):
        _weigh(spectra, variance, first, work)
        gram(a, work)
        for lane in range(LANES):
            work.state[lane] = SETTLED if is_given else SEARCHING
        if is_given:
            _take(a, value, passive, first, work)
        else:
            guess(work, weak, signed)
            search(a, signed, work)
            for s in range(signed.size):
                store(weak.before, s, load(work.passive, s))
        _put(a, first, work, value, passive, settled, fit, chi2, freedom)
        if not wants_sigma:
            continue
        find_sigmas(work)
        _put_scaled(first, work.sigma, work.scale, sigma)
        if wants_limit or wants_cov:
            find_covariance(work, room.cov)
        if wants_limit:
            _weigh_own(shot, first, room.shot)
            find_limits(a, work, own_relative, room)
            _put_scaled(first, room.limit, work.scale, limit)
        if wants_cov:
            _put_covariance(first, room.cov, work.scale, sigma, covariance)
