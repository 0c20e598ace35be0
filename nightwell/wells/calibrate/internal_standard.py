r"""The internal standard: argon of the air that the sample is mixed with, and the share of air, solved for.

Argon at m/z 40 of a scan over that of the blanks is ``g * f``: the gain of the instrument times the share of air in
the sample; argon alone cannot tell the two apart. Once every scan is scaled to the argon of the blanks, amounts come
out as ``x / f``. All amounts together are a million ppm, so ``f = 1 - sum(x) / 1e6`` and, with ``c`` the sum of the
amounts as they came out, ``f = 1 / (1 + c / 1e6)``. With ``var c``, ``var f = (f**2 / 1e6)**2 var c``.

Air that is only diluted keeps N2/Ar; ``nitrogen_excess`` of :func:`air_curves` says how far it does not (nitrogen of
the rock, or argon of it), so that the assumption is checked at every depth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightwell.wells.nnls import Solution

Floats = NDArray[np.float64]

_WHOLE_PPM = 1e6
_NITROGEN_PPM = 780_840.0  # of dry air, by volume (NOAA)


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


def diluted(found: Solution) -> Solution:
    """Return amounts of the sample from amounts on the argon of the blanks.

    The error of the share of air is left out of the sigmas: it is that of the same amounts, ``x`` parts in a million.
    """
    fraction, _ = air_fraction(found.value, found.covariance)
    by_species = fraction[:, None]
    return found._replace(
        value=found.value * by_species,
        sigma=found.sigma * by_species,
        limit=found.limit * by_species,
        covariance=found.covariance * (fraction**2)[:, None, None],
    )


def widened(found: Solution, scale_error: Floats) -> Solution:
    """Return amounts whose errors hold that of the standard too, which all fragments of a species share.

    Parameters
    ----------
    found
        Amounts with covariance.
    scale_error
        float64 (species): relative, one-sigma.
    """
    more = np.nan_to_num(scale_error * found.value) ** 2
    covariance = found.covariance.copy()
    species = np.arange(scale_error.size)
    covariance[:, species, species] += more
    return found._replace(sigma=np.sqrt(found.sigma**2 + more), covariance=covariance)


def air_curves(found: Solution, names: tuple[str, ...]) -> dict[str, tuple[str, NDArray[np.float32], dict[str, str]]]:
    """Return the variables that say how much air a sample held, and whether it was air.

    Parameters
    ----------
    found
        Amounts on the argon of the blanks.
    names
        Of the species.

    Returns
    -------
    dict
        ``air_fraction``, ``air_fraction_sigma`` and, with nitrogen in the library, ``nitrogen_excess`` and
        ``nitrogen_excess_sigma``: N2/Ar over that of air, less 1. All float32 (depth), NaN without a spectrum.
    """
    fraction, sigma = air_fraction(found.value, found.covariance)
    missing = np.isnan(found.value).all(axis=1)
    curves = {
        "air_fraction": (fraction, "share of air in the sample, solved"),
        "air_fraction_sigma": (sigma, "one-sigma of that share"),
    }
    if "nitrogen" in names:
        column = names.index("nitrogen")
        curves |= {
            "nitrogen_excess": (found.value[:, column] / _NITROGEN_PPM, "N2/Ar over that of air, less 1"),
            "nitrogen_excess_sigma": (found.sigma[:, column] / _NITROGEN_PPM, "one-sigma of that excess"),
        }
    return {
        name: ("depth", np.where(missing, np.nan, value).astype(np.float32), {"units": "1", "long_name": meaning})
        for name, (value, meaning) in curves.items()
    }
