r"""The internal standard: argon of the air that the sample is mixed with, and the share of air, solved for.

Argon at m/z 40 of a scan over that of the blanks is ``g * f``: the gain of the instrument times the share of air in
the sample; argon alone cannot tell the two apart. Once every scan is scaled to the argon of the blanks, amounts come
out as ``x / f``. All amounts together are a million ppm, so ``f = 1 - sum(x) / 1e6`` and, with ``c`` the sum of the
amounts as they came out, ``f = 1 / (1 + c / 1e6)``. With ``var c``, ``var f = (f**2 / 1e6)**2 var c``.

Air that is only diluted keeps N2/Ar; :func:`nitrogen_excess` says how far it does not (nitrogen of the rock, or argon
of it), so that the assumption is checked at every depth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_WHOLE_PPM = 1e6


def air_fraction(value: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """Return the share of air in each sample and its one-sigma.

    Parameters
    ----------
    value
        float64 (depth, species): ppm on the argon of the blanks, blank removed; NaN counts for nothing.
    covariance
        float64 (depth, species, species), ppm2.

    Returns
    -------
    fraction, sigma
        float64 (depth). Amounts as they came out, times the fraction, are ppm of the sample.
    """
    added = np.maximum(np.nansum(value, axis=1), 0.0)
    fraction = 1.0 / (1.0 + added / _WHOLE_PPM)
    variance = np.maximum(np.nan_to_num(covariance).sum(axis=(1, 2)), 0.0)
    return fraction, fraction**2 / _WHOLE_PPM * np.sqrt(variance)


def nitrogen_excess(nitrogen: Floats, sigma: Floats, blank_ppm: float) -> tuple[Floats, Floats]:
    """Return N2/Ar of the sample over that of the blank, less 1, and its sigma: float64 (depth).

    Parameters
    ----------
    nitrogen, sigma
        float64 (depth): nitrogen left once the blank is gone, on the blanks' argon [ppm].
    blank_ppm
        Nitrogen of the blank.
    """
    return nitrogen / blank_ppm, sigma / blank_ppm
