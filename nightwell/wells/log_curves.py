"""Curves of a result as an interpretation reads them: indicators and species of one stream by name.

What is absurd is taken out here, for every curve of the depth: a reading must not rest on it, and neither must the
background that others are compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.wells.deconvolve import DECISION_SIGMAS, SpeciesFlag
from nightwell.wells.indicators import IndicatorFlag

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_UNSEEN = (IndicatorFlag.NOT_DETECTED | IndicatorFlag.MISSING_INPUT | IndicatorFlag.BELOW_DETECTION).value
_UNSEEN_SPECIES = (SpeciesFlag.BELOW_DETECTION | SpeciesFlag.MISSING_INPUT).value


@dataclass(frozen=True, slots=True)
class LogCurve:
    """One curve against depth.

    Parameters
    ----------
    name, title, units
        As of the indicator; of a species its name.
    value, sigma
        float64 (depth,); NaN where missing or unknown.
    detected
        bool (depth,).
    bound
        float64 (depth,): the value where detected; of an amount that was not, the most that may be there; NaN else.
    """

    name: str
    title: str
    units: str
    value: Floats
    sigma: Floats
    detected: Bools
    bound: Floats

    @property
    def seen(self) -> Floats:
        """The value where it was detected; NaN elsewhere."""
        return np.where(self.detected, self.value, np.nan)


@dataclass(frozen=True, slots=True)
class StreamLog:
    """One stream of a result.

    Parameters
    ----------
    stream
        Its name.
    depth
        float64 (depth,), m.
    absurd
        bool (depth,): a gas is above ``greatest_ppm`` there.
    empty
        bool (depth,): nothing was measured.
    """

    stream: str
    depth: Floats
    absurd: Bools
    empty: Bools
    _indicators: xr.Dataset
    _species: xr.Dataset

    @classmethod
    def of(cls, result: xr.DataTree, stream: str, *, greatest_ppm: float) -> StreamLog:
        """Read a stream of a result."""
        species = result[stream]["species"].to_dataset()
        value = species["value"].to_numpy()
        with np.errstate(invalid="ignore"):
            absurd = np.asarray((value > greatest_ppm).any(axis=1))
        empty = np.asarray(np.isnan(value).all(axis=1))
        indicators = result[stream]["indicators"].to_dataset()
        return cls(stream, species["depth"].to_numpy(), absurd, empty, indicators, species)

    def curve(self, name: str) -> LogCurve | None:
        """Return an indicator or, where there is none of that name, a species; ``None`` for neither."""
        if name in self._indicators["indicator"].to_numpy():
            return self._indicator(name)
        if name in self._species["species"].to_numpy():
            return self._amount(name)
        return None

    def _indicator(self, name: str) -> LogCurve:
        one = self._indicators.sel(indicator=name)
        value, sigma = self._clean(one["value"].to_numpy()), self._clean(one["sigma"].to_numpy())
        detected = ((one["flag"].to_numpy() & _UNSEEN) == 0) & np.isfinite(value)
        units = str(one["units"].item())
        bound = np.where(detected, value, np.nan)
        if units == "ppm":  # an amount: what may be there although it was not seen; of a ratio nothing can be said
            bound = np.where(detected, value, np.maximum(value, 0.0) + DECISION_SIGMAS * sigma)
        return LogCurve(name, str(one["title"].item()), units, value, sigma, detected, bound)

    def _amount(self, name: str) -> LogCurve:
        one = self._species.sel(species=name)
        value, sigma = self._clean(one["value"].to_numpy()), self._clean(one["sigma"].to_numpy())
        detected = ((one["flag"].to_numpy() & _UNSEEN_SPECIES) == 0) & np.isfinite(value)
        limit = np.maximum(value, self._clean(one["detection_limit"].to_numpy()))
        return LogCurve(name, name.replace("_", " "), "ppm", value, sigma, detected, np.where(detected, value, limit))

    def _clean(self, values: NDArray[np.float32]) -> Floats:
        return np.where(self.absurd, np.nan, values.astype(np.float64))
