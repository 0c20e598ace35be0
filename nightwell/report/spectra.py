"""Spectra of a result: measured, fitted and left over, from the cube or rebuilt from the analysis itself.

An analysis keeps amounts and residuals. The fit is the library's design matrix times the amounts, and the measured
spectrum is fit plus residual; so no cube is needed when the library is the one that the analysis names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.contract import Origin
from nightwell.wells.deconvolve import Deconvolution, make_deconvolver
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.species_file import load_library
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spectra:
    """Every spectrum of one stream.

    Parameters
    ----------
    depth, mz
        float64 (depth,) [m] and (mz,).
    measured, fit
        float64 (depth, mz) [A]; NaN where not measured.
    sigma
        One-sigma of ``measured`` less ``fit`` [A]: of the cube's variance and of the pattern error; ``None`` without a
        cube.
    design
        float64 (mz, species), A per ppm.
    amounts
        float64 (depth, species), of the air in the sample where it holds air; times ``design`` they are the fit. NaN
        where not measured.
    species
        Names of the columns.
    """

    depth: Floats
    mz: Floats
    measured: Floats
    fit: Floats
    sigma: Floats | None
    design: Floats
    amounts: Floats
    species: tuple[str, ...]

    @property
    def residual(self) -> Floats:
        """Measured less fit [A], float64 (depth, mz)."""
        return self.measured - self.fit

    def nearest(self, depth_m: float) -> int:
        """Return the row nearest to a depth."""
        return int(np.argmin(np.abs(self.depth - depth_m)))


def spectra_of(
    result: xr.DataTree, stream: Stream, *, cube: xr.DataTree | None = None, library: SpeciesLibrary | None = None
) -> Spectra:
    """Return the spectra of one stream of a result.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`.
    stream
        Which; it must be in the result.
    cube
        The cubes that it was made from, for the variance of the measurement.
    library
        The species library; by default the one that ships.

    Raises
    ------
    InputError
        The library is not that of the analysis, or the cube's depths are not.
    """
    library = library or load_library()
    used = result.attrs.get("library_learned", result.attrs["library_version"])
    if library.version != used:
        raise InputError(
            f"spectra of well {result.attrs['well']}",
            expected=f"species library {used}, with which it was analysed",
            found=f"library {library.version}",
            cause="the library was changed since the analysis, or a calibration made it the instrument's own",
            next_step="draw it with that library, or analyse the well again without a calibration",
        )
    species = result[stream]["species"].to_dataset()
    bound = make_deconvolver(
        species[["mz"]].assign_attrs(result[stream].attrs), Origin.of(result).instrument, library, Deconvolution()
    )
    amounts = species["value"].to_numpy().astype(np.float64)
    # Amounts are of the whole sample; the currents are those of the air in it, put on the argon of the blanks.
    share = species["air_fraction"].to_numpy().astype(np.float64) if "air_fraction" in species else 1.0
    fitted = amounts / np.broadcast_to(share, amounts.shape[:1])[:, None]
    residual = species["residual"].to_numpy().astype(np.float64)
    fit = np.where(np.isfinite(residual), np.nan_to_num(fitted) @ bound.design.T, np.nan)
    sigma = None
    if cube is not None:
        sigma = np.hypot(_sigma_of(cube, stream, species), _pattern_error(result) * fit)
    depth, mz = (species[name].to_numpy().astype(np.float64) for name in ("depth", "mz"))
    return Spectra(depth, mz, fit + residual, fit, sigma, bound.design, fitted, library.names)


def _pattern_error(result: xr.DataTree) -> float:
    """Return the relative error of patterns that the analysis was made with."""
    found = re.search(r"pattern_error=([0-9.eE+-]+)", str(result.attrs["deconvolution_settings"]))
    return float(found.group(1)) if found else Deconvolution().pattern_error


def _sigma_of(cube: xr.DataTree, stream: Stream, species: xr.Dataset) -> Floats:
    group = cube[stream].to_dataset() if stream in cube.children else xr.Dataset()
    same = "variance" in group and all(
        group[name].size == species[name].size and np.allclose(group[name].to_numpy(), species[name].to_numpy())
        for name in ("depth", "mz")
    )
    if not same:
        raise InputError(
            f"cube of stream {stream}",
            expected="the depths and m/z of the analysis",
            found="others, or no such stream",
            cause="the cube is of another well, or was built with other settings",
            next_step="give the cube that the analysis was made from, or none",
        )
    with np.errstate(invalid="ignore"):
        sigma: Floats = np.sqrt(group["variance"].to_numpy().astype(np.float64))
    return sigma
