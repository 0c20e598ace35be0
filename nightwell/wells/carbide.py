"""Carbide checks: what the hole really holds, from the strokes that a puff of acetylene needed to come round.

Calcium carbide is dropped into the pipe at a connection; its acetylene goes down the pipe and up the annulus::

    integral of q dt from dropped to seen - delay = V_pipe(bit) + f * V_annulus(bit)

The factor ``f`` of each check scales the volume around its depth. It holds washed-out hole and pump efficiency at once,
for the same pumps move the gas later on [Whittaker1991].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.annulus import Annulus
from nightwell.wells.pumped import Pumped, pumped_of

Floats = NDArray[np.float64]

#: Inner to outer diameter of drill pipe where only the outer is known: 4.276 in to 5 in (5 in, 19.5 lb/ft).
PIPE_INNER_RATIO = 4.276 / 5.0

#: One-sigma error of a check's own times [s].
TIMING_ERROR_S = 15.0

#: The least relative error left after checks: the hole washes out on, and pumps wear.
MIN_ERROR = 0.01

_PLAUSIBLE = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class CarbideScale:
    """What checks tell of the annulus.

    Parameters
    ----------
    depth_m
        float64 (check), increasing: where the bit was.
    factor
        float64 (check): measured volume over computed volume.
    sigma
        One-sigma relative error of a volume scaled so: timing of the checks, and how far they scatter.
    """

    depth_m: Floats
    factor: Floats
    sigma: float

    def apply(self, annulus: Annulus) -> Annulus:
        """Return the annulus scaled by the checks."""
        return annulus.scaled_by_depth(self.depth_m, self.factor)


def scale_of_checks(drilling: xr.Dataset, annulus: Annulus, checks: xr.Dataset) -> CarbideScale:
    """Return what carbide checks tell of an annulus.

    Parameters
    ----------
    drilling
        Group ``/drilling``.
    annulus
        As computed from diameters.
    checks
        Group ``/carbide``: ``dropped`` and ``seen``, datetime64[ns], UTC.

    Raises
    ------
    InputError
        A check outside the drilling series, seen before the pipe's own volume was pumped, or implausible (factor below
        0.5 or above 2); the check is named.
    """
    pumped = pumped_of(drilling)
    delay_s = float(drilling.attrs["gas_line_delay_s"])
    dropped_s = pumped.seconds(checks["dropped"].to_numpy())
    seen_s = pumped.seconds(checks["seen"].to_numpy()) - delay_s
    bit = pumped.bit_at(dropped_s)
    above = annulus.volume_above(bit)
    moved = pumped.volume_at(seen_s) - pumped.volume_at(dropped_s) - pipe_volume_m3(drilling, bit)
    factor = moved / above
    bad = np.flatnonzero(~((factor >= _PLAUSIBLE[0]) & (factor <= _PLAUSIBLE[1])))
    if bad.size:
        raise _implausible(checks, int(bad[0]), float(factor[bad[0]]))
    order = np.argsort(bit, kind="stable")
    at, first, count = np.unique(bit[order], return_index=True, return_counts=True)
    mean = np.add.reduceat(factor[order], first) / count
    timing = TIMING_ERROR_S * _flow_at(pumped, seen_s) / above
    scatter = float(np.std(factor, ddof=1)) / np.sqrt(2.0) if factor.size > 1 else 0.0
    sigma = float(np.sqrt(np.mean(timing**2) + scatter**2 + MIN_ERROR**2))
    return CarbideScale(at, mean, sigma)


def pipe_volume_m3(drilling: xr.Dataset, depth_m: Floats) -> Floats:
    """Return the volume inside the pipe down to a depth [m3], the pipe being as wide as the series' median."""
    outer = float(np.nanmedian(drilling["pipe_diameter"].to_numpy()))
    return np.asarray(np.pi / 4.0 * (PIPE_INNER_RATIO * outer) ** 2 * depth_m, dtype=np.float64)


def _flow_at(pumped: Pumped, seconds: Floats) -> Floats:
    return np.asarray(np.interp(seconds, pumped.clock_s, pumped.flow), dtype=np.float64)


def _implausible(checks: xr.Dataset, row: int, factor: float) -> InputError:
    return InputError(
        f"carbide check of {checks['dropped'].to_numpy()[row]}",
        expected=f"{_PLAUSIBLE[0]:g} to {_PLAUSIBLE[1]:g} times the computed volume, within the drilling series",
        found="no drilling series then" if np.isnan(factor) else f"{factor:.2f} times",
        cause="a wrong time, another clock than the drilling record's, or another gas peak taken for acetylene",
        next_step="correct the check, or leave it out",
    )
