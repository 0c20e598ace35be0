"""The variance of one measured current: counting, electrometer, and the scatter of the scans when neither is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightwell.wells.instrument import Instrument

Floats = NDArray[np.float64]

#: Median of the absolute value of a normal variable of standard deviation one.
_NORMAL_MEDIAN = 0.6744897501960817


@dataclass(frozen=True, slots=True)
class ScanNoise:
    """Variance of a current: ``floor + rate * current``.

    Parameters
    ----------
    floor
        A2; float64 (mz) or a scalar.
    rate
        A: ``excess_noise * ion_charge_c / dwell_s``.
    """

    floor: Floats
    rate: float

    def variance(self, current: Floats) -> Floats:
        """Return the variance of currents above the baseline: float64 (scan, mz), A2."""
        noise: Floats = self.floor + self.rate * np.maximum(current, 0.0)
        return noise


def noise_of_instrument(instrument: Instrument) -> ScanNoise | None:
    """Return the noise that the facts of an instrument give; ``None`` when they are not known."""
    if instrument.ion_charge_c is None or instrument.dwell_s is None or instrument.noise_floor_a is None:
        return None
    rate = (instrument.excess_noise or 1.0) * instrument.ion_charge_c / instrument.dwell_s
    return ScanNoise(np.asarray(instrument.noise_floor_a**2), rate)


def noise_of_scatter(intensity: Floats) -> ScanNoise:
    """Return the noise that neighbouring scans of one stream show.

    Parameters
    ----------
    intensity
        float64 (scan, mz) in the order of time; a slow change between neighbours counts for little, a jump for
        nothing (median of absolute differences).
    """
    if intensity.shape[0] < 2:  # noqa: PLR2004 - a difference needs two scans
        return ScanNoise(np.zeros(intensity.shape[1]), 0.0)
    steps = np.abs(np.diff(intensity, axis=0))
    known = ~np.isnan(steps).all(axis=0)
    middle = np.zeros(intensity.shape[1])
    middle[known] = np.nanmedian(steps[:, known], axis=0)
    return ScanNoise((middle / _NORMAL_MEDIAN) ** 2 / 2.0, 0.0)
