"""What a fit leaves over: the spectrum of one depth beside its fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.deconvolve import Deconvolver

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SpectrumFit:
    """One spectrum and its fit.

    Parameters
    ----------
    depth_m
        Depth of the spectrum: the one nearest to what was asked for.
    mz
        float64 (mz).
    measured, fitted, sigma
        float64 (mz), A: current, fit, and one-sigma of the current with pattern error. ``measured`` and ``sigma`` are
        NaN where the m/z was not measured.
    species
        Names, in the order of ``parts``.
    parts
        float64 (species, mz), A: what each species brings to the fit; they sum to ``fitted``.
    chi2, freedom
        Weighted sum of squared residuals, and degrees of freedom.
    """

    depth_m: float
    mz: Floats
    measured: Floats
    fitted: Floats
    sigma: Floats
    species: tuple[str, ...]
    parts: Floats
    chi2: float
    freedom: int

    @property
    def residual(self) -> Floats:
        """Measured less fitted, A: float64 (mz)."""
        return self.measured - self.fitted

    @property
    def standardised(self) -> Floats:
        """The residual in sigmas: float64 (mz)."""
        return self.residual / self.sigma


def fit_at(stream: xr.Dataset, deconvolver: Deconvolver, depth_m: float) -> SpectrumFit:
    """Fit the spectrum nearest to a depth.

    Parameters
    ----------
    stream
        A stream of a cube.
    deconvolver
        Made for that stream by :func:`~nightwell.wells.deconvolve.make_deconvolver`.
    depth_m
        Depth along the hole.

    Raises
    ------
    InputError
        The stream has no spectrum, or the nearest is outside the depths of the stream by more than their step.
    """
    depths = stream["depth"].to_numpy().astype(np.float64)
    step = float(np.median(np.diff(depths))) if depths.size > 1 else 1.0
    if not depths.size or not depths[0] - step <= depth_m <= depths[-1] + step:
        raise InputError(
            f"depth {depth_m:g} m",
            expected=f"a depth from {depths[0]:g} to {depths[-1]:g} m" if depths.size else "a stream with spectra",
            found=f"{depths.size} spectra, none there",
            cause="the stream was not recorded at this depth, or the depth is in feet",
            next_step="choose a depth inside the stream",
        )
    row = int(np.abs(depths - depth_m).argmin())
    block = stream[["intensity", "variance", "scan_count", "flag"]].isel(depth=slice(row, row + 1)).load()
    intensity, variance, _ = deconvolver.weigh(block)
    found = deconvolver.solve(block)
    parts = deconvolver.design.T * np.nan_to_num(found.value[0])[:, None]
    return SpectrumFit(
        depth_m=float(depths[row]),
        mz=deconvolver.mz,
        measured=intensity[0],
        fitted=found.fit[0],
        sigma=np.sqrt(np.where(variance[0] > 0.0, variance[0], np.nan)),
        species=deconvolver.library.names,
        parts=parts,
        chi2=float(found.chi2[0]),
        freedom=int(found.freedom[0]),
    )
