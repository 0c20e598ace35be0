"""The baseline: current without ions, read at m/z where no ion of any species falls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: No species of the library, and no doubly charged ion of air, has a peak here.
OFF_MASS = (5, 9)


def off_mass_columns(mz: Floats, off_mass: tuple[int, ...] = OFF_MASS) -> NDArray[np.intp]:
    """Return the columns of an m/z axis that hold only baseline; empty when it has none."""
    return np.flatnonzero(np.isin(mz, off_mass))


def remove_baseline(intensity: Floats, columns: NDArray[np.intp]) -> Floats:
    """Subtract from each scan the mean of its off-mass columns, in place.

    Parameters
    ----------
    intensity
        float64 (scan, mz), A.
    columns
        As :func:`off_mass_columns`; empty leaves the scans as they are.

    Returns
    -------
    ndarray
        float64 (scan): what was subtracted. A scan without a value there keeps its baseline, and gets 0.
    """
    if columns.size == 0:
        return np.zeros(intensity.shape[0])
    off = intensity[:, columns]
    known = ~np.isnan(off)
    level: Floats = np.where(known, off, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    intensity -= level[:, None]
    return level
