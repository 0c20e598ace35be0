"""Profile scans, several points per m/z: told from other labels, put on their m/z scale, read at whole m/z."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.calibrate.mass_scale import KNOWN_PEAKS, MassScale, find_shift, heights

Floats = NDArray[np.float64]

#: Points are no further apart than this in a profile [m/z]: half masses of doubly charged ions are.
LARGEST_STEP = 0.25

_LEAST_POINTS = 8  # two m/z of four points
_EVEN = 1.5  # most steps are within this factor of the middle one


def is_profile(labelled: Floats) -> bool:
    """Tell whether labels of m/z are the points of a profile scan: close together, in even steps.

    Parameters
    ----------
    labelled
        float64: labels in any order, each once or more.
    """
    steps = np.diff(np.unique(labelled[np.isfinite(labelled)]))
    if steps.size < _LEAST_POINTS - 1:
        return False
    step = float(np.median(steps))
    even = np.mean((steps < step * _EVEN) & (steps > step / _EVEN))
    return bool(step <= LARGEST_STEP and even > 0.9)  # noqa: PLR2004 - a profile of parts of the axis has some gaps


def peaks_of(mz: Floats, current: Floats, *, subject: str) -> tuple[Floats, Floats, str]:
    """Return peak heights at whole m/z, on the scale that peaks of air and moisture show.

    The height is the current at the peak's place, linear between points: the largest point within a window would turn
    noise into current at every m/z where there is nothing.

    Parameters
    ----------
    mz
        float64 (point), increasing.
    current
        float64 (scan, point), A; NaN where not measured.
    subject
        For the error.

    Returns
    -------
    tuple
        float64 (mz): whole m/z with points on both sides; float64 (scan, mz): heights; and a sentence for the report.

    Raises
    ------
    InputError
        Known peaks stand too far beside their m/z, or no whole m/z lies on the axis.
    """
    scale = _scale(mz, current)
    whole = np.arange(np.ceil(mz[0]), np.floor(mz[-1]) + 1.0)
    at = whole + scale.shift(whole)
    nearest = np.abs(mz[:, None] - at[None, :]).min(axis=0)
    whole = whole[(at >= mz[0]) & (at <= mz[-1]) & (nearest <= LARGEST_STEP)]
    if whole.size == 0:
        raise InputError(
            subject,
            expected="a profile over at least one whole m/z",
            found=f"points from m/z {mz[0]:g} to {mz[-1]:g}",
            cause="a window beside the peak was exported",
            next_step="export the whole scan",
        )
    said = (
        f"scale moved by {-scale.offset:+.3f} at m/z 0 and {-scale.slope * 1e3:+.2f}e-3 per m/z, by peaks "
        f"{', '.join(map(str, scale.peaks))}"
        if scale.peaks
        else "scale taken as it is: no peak of air or moisture to check it by"
    )
    return whole, heights(mz, current, whole, scale), f"heights of {whole.size} peaks from {mz.size} points; {said}"


def _scale(mz: Floats, current: Floats) -> MassScale:
    known = tuple(peak for peak in KNOWN_PEAKS if mz[0] + 0.5 <= peak <= mz[-1] - 0.5)
    measured = np.isfinite(current)
    mean = np.where(measured, current, 0.0).sum(axis=0) / np.maximum(measured.sum(axis=0), 1)
    try:
        return find_shift(mz, mean, known) if known else MassScale()
    except InputError as error:
        if "none of them" in error.found:
            return MassScale()
        raise
