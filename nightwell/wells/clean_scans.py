"""Each scan by itself and with the one before: saturation, baseline, dead time, carry-over, in that order.

What depends on other scans (gain, drift, blank) comes after. Scans are read in blocks; the last scan of a block is
kept, for the first of the next one to be freed of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightwell.wells.baseline import remove_baseline
from nightwell.wells.calibrate.calibration import Calibration
from nightwell.wells.calibrate.dead_time import MOST_LOST, restore_lost
from nightwell.wells.calibrate.saturation import saturated_currents
from nightwell.wells.carry_over import remove_carry_over
from nightwell.wells.instrument import Instrument
from nightwell.wells.raw_scans import RawScans
from nightwell.wells.scan_noise import ScanNoise, noise_of_instrument, noise_of_scatter

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A block of scans: currents without baseline, dead time and carry-over.

    Parameters
    ----------
    block
        Which scans.
    current, variance, shared
        float64 (scan, mz), A and A2. ``shared`` is the variance of errors that scans have in common: of the dead time
        and of the carry-over.
    saturated, carried
        bool (scan, mz): above full scale (NaN); with a carry-over above two sigmas.
    baseline
        float64 (scan): what was subtracted.
    """

    block: slice
    current: Floats
    variance: Floats
    shared: Floats
    saturated: Bools
    carried: Bools
    baseline: Floats

    @classmethod
    def plain(cls, current: Floats, variance: Floats) -> Cleaned:
        """Return scans that nothing more is known of."""
        none = np.zeros(current.shape, dtype=np.bool_)
        rows = slice(0, current.shape[0])
        return cls(rows, current, variance, np.zeros_like(current), none, none, np.zeros(current.shape[0]))

    def rows(self, chosen: Bools | NDArray[np.intp]) -> Cleaned:
        """Return some of the scans; the block stays that of all."""
        return Cleaned(
            self.block,
            self.current[chosen],
            self.variance[chosen],
            self.shared[chosen],
            self.saturated[chosen],
            self.carried[chosen],
            self.baseline[chosen],
        )


def noise_of_scans(scans: RawScans, columns: NDArray[np.intp], instrument: Instrument, block_rows: int) -> ScanNoise:
    """Return the noise that the instrument's facts give, or else the scatter of the first block."""
    known = noise_of_instrument(instrument)
    if known is not None:  # the baseline is itself the mean of so many noisy currents
        return ScanNoise(known.floor * (1.0 + 1.0 / columns.size), known.rate) if columns.size else known
    for _, intensity in scans.blocks(block_rows):
        remove_baseline(intensity, columns)
        return noise_of_scatter(intensity)
    return ScanNoise(np.zeros(scans.mz.size), 0.0)


def clean_scans(
    scans: RawScans,
    columns: NDArray[np.intp],
    noise: ScanNoise,
    calibration: Calibration | None,
    block_rows: int,
) -> Iterator[Cleaned]:
    """Yield all scans, block by block, in the order of time.

    Parameters
    ----------
    scans
        Raw scans.
    columns
        Of the baseline.
    noise
        Of a single current.
    calibration
        Dead time and carry-over; ``None`` corrects neither.
    block_rows
        Scans at a time.
    """
    last: tuple[Floats, Floats] | None = None
    for block, intensity in scans.blocks(block_rows):
        saturated = saturated_currents(intensity, scans.full_scale_a)
        intensity[saturated] = np.nan
        baseline = remove_baseline(intensity, columns)
        variance = noise.variance(intensity)
        shared, carried = np.zeros((1, 1)), np.zeros((1, 1), dtype=np.bool_)
        current = intensity
        if calibration is not None and calibration.dead_time.loss_per_a > 0.0:
            seen = intensity
            current, shared = restore_lost(seen, calibration.dead_time)
            lost = np.clip(calibration.dead_time.loss_per_a * seen, 0.0, MOST_LOST)
            variance = variance / (1.0 - lost) ** 4  # of a restored current: its derivative, squared
            saturated |= np.isnan(current) & ~np.isnan(seen)
        if calibration is not None and calibration.carry_over.species:
            before, before_variance = _shifted(current, last), _shifted(variance, last, at=1)
            last = (current[-1], variance[-1])
            purge_s = np.diff(scans.time_s[block], prepend=scans.time_s[max(block.start - 1, 0)])
            shares = calibration.carry_over.shares(purge_s)
            if block.start == 0:
                shares[0][0] = 0.0  # nothing is known of what was there before
            matrices = calibration.carry_over.on_axis(scans.mz)
            freed = remove_carry_over(current, variance, before, before_variance, shares, matrices)
            current, variance, carried = freed.current, freed.variance, freed.flagged
            shared = shared + freed.shared
        yield Cleaned(
            block,
            current,
            variance,
            np.broadcast_to(shared, current.shape),
            saturated,
            np.broadcast_to(carried, current.shape),
            baseline,
        )


def _shifted(array: Floats, last: tuple[Floats, Floats] | None, *, at: int = 0) -> Floats:
    first = np.full((1, array.shape[1]), np.nan) if last is None else last[at][None, :]
    return np.concatenate([first, array[:-1]])
