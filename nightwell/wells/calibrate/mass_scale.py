r"""The m/z scale: where peaks really stand, corrected in profile scans and checked in scans of peak heights.

A quadrupole's scale slips with the temperature of its supply. In a profile scan (several points per m/z) each peak of
air is located by its centre of mass above half height; the shifts, weighted, give a straight line
``shift(m) = a + b m``, and heights are read at ``m + shift(m)``. In a scan of one reading per m/z the peaks
cannot be located, but they can be told to be on the wrong m/z: a known peak that is smaller than its neighbour is not
where it should be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightwell.errors import InputError

Floats = NDArray[np.float64]

#: Peaks of air and moisture that are taller than both neighbours: in every blank that breathes air.
KNOWN_PEAKS = (18, 28, 32, 40)

#: A shift beyond this is not a slip of the scale but another axis [m/z].
LARGEST_SHIFT = 0.3

_WINDOW = 0.5
_LEAST_POINTS = 3
_LEAST_HEIGHT_SIGMAS = 10.0
_CLEAR_SIGMAS = 5.0


@dataclass(frozen=True, slots=True)
class MassScale:
    """The line ``shift = offset + slope * m/z``, with its one-sigma at the mean of the peaks, and those peaks."""

    offset: float = 0.0
    slope: float = 0.0
    sigma: float = 0.0
    peaks: tuple[int, ...] = ()
    source: str = "not looked at"

    def shift(self, mz: Floats) -> Floats:
        """Return by how much peaks stand too high on the axis."""
        shifted: Floats = self.offset + self.slope * mz
        return shifted


def find_shift(mz: Floats, profile: Floats, known: tuple[int, ...] = KNOWN_PEAKS) -> MassScale:
    """Locate known peaks in profile scans.

    Parameters
    ----------
    mz
        float64 (point), increasing, several points per m/z.
    profile
        float64 (point) or (scan, point), A; scans are averaged.
    known
        m/z of peaks that are there.

    Raises
    ------
    InputError
        No known peak is found, or the scale is off by more than :data:`LARGEST_SHIFT`.
    """
    mean = np.atleast_2d(profile).mean(axis=0)
    noise = 1.4826 * float(np.median(np.abs(mean - np.median(mean)))) or float(np.finfo(np.float64).tiny)
    found = {peak: place for peak in known if (place := _centre(mz, mean, peak, noise)) is not None}
    if not found:
        raise _off("none of them found", known)
    peaks = np.array(list(found), dtype=np.float64)
    shifts = np.array(list(found.values())) - peaks
    # A slope wants peaks far apart; two close ones would make it of their noise.
    if peaks.size > 2 and np.ptp(peaks) > 10.0:  # noqa: PLR2004 - a line through two points has no residual
        slope, offset = (float(value) for value in np.polyfit(peaks, shifts, 1))
    else:
        slope, offset = 0.0, float(shifts.mean())
    residual = shifts - (offset + slope * peaks)
    scale = MassScale(
        offset,
        slope,
        float(np.sqrt((residual**2).sum() / max(peaks.size - (2 if slope else 1), 1) / peaks.size)),
        tuple(found),
        "profile",
    )
    worst = float(np.abs(scale.shift(peaks)).max())
    if worst > LARGEST_SHIFT:
        raise _off(f"peaks {worst:.2f} off", known)
    return scale


def heights(mz: Floats, profile: Floats, wanted: Floats, scale: MassScale) -> Floats:
    """Read peak heights of profile scans at whole m/z, on a corrected scale.

    Parameters
    ----------
    mz, profile
        float64 (point) and (scan, point).
    wanted
        float64 (mz): whole m/z.
    scale
        As :func:`find_shift`.

    Returns
    -------
    ndarray
        float64 (scan, mz): the profile at each peak, linear between points; NaN off the axis.
    """
    at = wanted + scale.shift(wanted)
    rows = np.atleast_2d(profile)
    return np.stack([np.interp(at, mz, row, left=np.nan, right=np.nan) for row in rows])


def check_bars(mz: Floats, mean: Floats, sigma: Floats, known: tuple[int, ...] = KNOWN_PEAKS) -> MassScale:
    """Check that known peaks of a spectrum of peak heights stand on their m/z.

    Parameters
    ----------
    mz, mean, sigma
        float64 (mz): a mean spectrum of air, baseline removed, and its one-sigma.
    known
        m/z that are taller than both neighbours.

    Returns
    -------
    MassScale
        Without a shift: in such scans it can only be found or not.

    Raises
    ------
    InputError
        At least two known peaks, and most of those that can be judged, stand beside their m/z, on the same side.
    """
    column_of = {round(value): column for column, value in enumerate(mz.tolist())}
    sides: dict[int, int] = {}
    for peak in known:
        columns = [column_of.get(peak + step) for step in (-1, 0, 1)]
        if any(column is None or not np.isfinite(mean[column]) for column in columns):
            continue
        left, here, right = (int(column) for column in columns if column is not None)
        tallest = max((left, here, right), key=lambda column: float(mean[column]))
        margin = np.hypot(sigma[tallest], sigma[here])
        if mean[tallest] < _CLEAR_SIGMAS * sigma[tallest]:
            continue  # no such gas
        sides[peak] = int(np.sign(tallest - here)) if mean[tallest] - mean[here] > _CLEAR_SIGMAS * margin else 0
    if not sides:
        return MassScale(source="no known peak to check it by")
    for side in (-1, 1):
        wrong = [peak for peak, found in sides.items() if found == side]
        if len(wrong) > 1 and 2 * len(wrong) > len(sides):
            raise _off(f"m/z {', '.join(map(str, wrong))} found at {side:+d}", known)
    return MassScale(peaks=tuple(sides), source="peak heights: known peaks stand on their m/z")


def _centre(mz: Floats, mean: Floats, peak: int, noise: float) -> float | None:
    """Return the centre of a peak: the mean m/z of its points above half height, weighted by how far above."""
    near = np.flatnonzero(np.abs(mz - peak) <= 2.0 * _WINDOW)
    if near.size < _LEAST_POINTS:
        return None
    top = int(near[np.argmax(mean[near])])
    height = float(mean[top])
    if height < _LEAST_HEIGHT_SIGMAS * noise:
        return None
    around = np.flatnonzero(np.abs(mz - mz[top]) <= _WINDOW)
    weight = np.clip(mean[around] - 0.5 * height, 0.0, None)
    return float((weight * mz[around]).sum() / weight.sum())


def _off(found: str, known: tuple[int, ...]) -> InputError:
    return InputError(
        "the m/z scale",
        expected=f"peaks of air and moisture at m/z {', '.join(map(str, known))}, within {LARGEST_SHIFT:g}",
        found=found,
        cause="the scale of the quadrupole slipped, or the columns of the file are shifted",
        next_step="tune the mass scale of the instrument, or correct the m/z of the file, and import it again",
    )
