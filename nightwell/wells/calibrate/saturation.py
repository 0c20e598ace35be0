"""Saturation: currents above full scale say only that there is more; species then stand on their minor peaks.

A saturated m/z is left out of the fit (no weight) for the whole depth bin, so that the mean is not that of the weak
scans alone. What is left of a pattern carries the species: N2 by 14 and 29, O2 by 16 and 34, Ar by 20, 36 and 38,
CO2 by 45 and 12, CH4 by 13 and 12, whichever the library and the axis hold. The result is flagged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightwell.wells.species import SpeciesLibrary

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Readings this near full scale count as saturated.
SATURATION_SHARE = 0.999

#: A peak that is this share of a species' ions is a main one.
_MAIN_SHARE = 0.2


def saturated_currents(intensity: Floats, full_scale_a: float) -> Bools:
    """Tell which readings are at full scale: bool (scan, mz)."""
    with np.errstate(invalid="ignore"):
        found: Bools = intensity >= SATURATION_SHARE * full_scale_a
    return found


def fallback_peaks(library: SpeciesLibrary, mz: Floats, saturated: Bools) -> dict[str, tuple[int, ...]]:
    """Return the m/z that are left to species one of whose main peaks is saturated.

    Parameters
    ----------
    library, mz
        Species and axis.
    saturated
        bool (mz).

    Returns
    -------
    dict
        By species, its other peaks on the axis, largest first; empty when none is left (its amount is then NaN).
    """
    gone = {round(value) for value in mz[saturated].tolist()}
    left = {round(value) for value in mz[~saturated].tolist()}
    found = {}
    for one in library.species:
        largest = max(share for _, share in one.peaks)
        if any(peak in gone and share >= _MAIN_SHARE * largest for peak, share in one.peaks):
            rest = sorted(((share, peak) for peak, share in one.peaks if peak in left), reverse=True)
            found[one.name] = tuple(peak for _, peak in rest)
    return found
