"""Spectra averaged over windows of depth: counting noise falls with their number, errors of patterns do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Depths averaged into one window; blocks of depths hold whole windows.
WINDOW_DEPTHS = 32


@dataclass(frozen=True, slots=True)
class Windows:
    """Averaged spectra.

    Parameters
    ----------
    top_m, bottom_m
        float64 (window).
    spectra
        float64 (window, mz), A; NaN where a depth of the window that has a spectrum lacks the m/z.
    counting
        float64 (window, mz), A2: variance of the average that is not of the patterns. What neighbours share, the noise
        of their blank, does not average out.
    """

    top_m: Floats
    bottom_m: Floats
    spectra: Floats
    counting: Floats


def average_windows(stream: xr.Dataset, depths: int = WINDOW_DEPTHS) -> Windows:
    """Average the spectra of each window; windows without a spectrum are left out.

    Parameters
    ----------
    stream
        A stream of a cube, or a block of its depths; read window by window.
    depths
        Depths averaged together.
    """
    top, bottom, spectra, counting = [], [], [], []
    names = [name for name in ("intensity", "variance", "shared_share") if name in stream]
    for start in range(0, stream.sizes["depth"], depths):
        rows = stream[names].isel(depth=slice(start, start + depths)).load()
        intensity = rows["intensity"].to_numpy().astype(np.float64)
        there = np.isfinite(intensity).any(axis=1)
        if not there.any():
            continue
        spectra.append(intensity[there].mean(axis=0))
        variance = rows["variance"].to_numpy()[there].astype(np.float64)
        shared = np.zeros((variance.shape[0], 1))
        if "shared_share" in rows:
            shared = rows["shared_share"].to_numpy()[there, None]
        alone = (variance * (1.0 - shared)).sum(axis=0) / np.count_nonzero(there) ** 2
        counting.append(alone + (variance * shared).mean(axis=0))
        depth = rows["depth"].to_numpy()
        top.append(float(depth[0]))
        bottom.append(float(depth[-1]))
    shape = (len(spectra), stream.sizes["mz"])
    return Windows(np.array(top), np.array(bottom), np.reshape(spectra, shape), np.reshape(counting, shape))


def join_windows(parts: Sequence[Windows]) -> Windows:
    """Lay the windows of blocks end to end."""
    return Windows(
        np.concatenate([part.top_m for part in parts]),
        np.concatenate([part.bottom_m for part in parts]),
        np.concatenate([part.spectra for part in parts]),
        np.concatenate([part.counting for part in parts]),
    )
