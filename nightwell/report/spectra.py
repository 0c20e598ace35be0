"""Spectra of a result: measured, fitted and left over, rebuilt from the analysis itself.

An analysis keeps amounts, residuals and the responses that the fit saw: its library's, or those that a calibration
learned. The fit is responses times amounts, and the measured spectrum is fit plus residual; so neither cube nor
library is needed. An analysis without responses is of an older release: then the library must be the one that it names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.report.curves import UNSEEN_SPECIES
from nightwell.wells.contract import Origin
from nightwell.wells.deconvolve import Deconvolution, make_deconvolver
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.species_file import load_library
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]

#: Least noise of an m/z, as a percentile of that of all: one that a single species explains leaves no residual.
_LEAST_NOISE_PERCENTILE = 25
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class Spectra:
    """Every spectrum of one stream.

    Parameters
    ----------
    depth, mz
        float64 (depth,) [m] and (mz,).
    measured, fit
        float64 (depth, mz) [A]; NaN where not measured.
    noise
        float64 (depth, mz): one-sigma of ``measured`` [A].
    sigma
        float64 (depth, mz): one-sigma of ``measured`` less ``fit`` [A], of the noise and of the error of the responses.
    noise_source
        In words, whence the noise is known: the cube, or the scatter of the residuals.
    design
        float64 (mz, species), A per ppm.
    amounts
        float64 (depth, species), of the air in the sample where it holds air; times ``design`` they are the fit. NaN
        where not measured.
    detected
        bool (depth, species).
    species
        Names of the columns.
    """

    depth: Floats
    mz: Floats
    measured: Floats
    fit: Floats
    noise: Floats
    sigma: Floats
    noise_source: str
    design: Floats
    amounts: Floats
    detected: NDArray[np.bool_]
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
        The cubes that it was made from, for the variance of the measurement; without them the noise is estimated from
        the residuals: of each m/z 1.4826 times their median, less where a depth has more scans.
    library
        The species library of an analysis that kept no responses; by default the one that ships.

    Raises
    ------
    InputError
        The analysis kept no responses and the library is not its own, or the cube's depths are not.
    """
    species = result[stream]["species"].to_dataset()
    design = _responses(result, stream, species, library)
    amounts = species["value"].to_numpy().astype(np.float64)
    # Amounts are of the whole sample; the currents are those of the air in it, put on the argon of the blanks.
    share = species["air_fraction"].to_numpy().astype(np.float64) if "air_fraction" in species else 1.0
    fitted = amounts / np.broadcast_to(share, amounts.shape[:1])[:, None]
    residual = species["residual"].to_numpy().astype(np.float64)
    fit = np.where(np.isfinite(residual), np.nan_to_num(fitted) @ design.T, np.nan)
    if cube is not None:
        noise, source = _noise_of_cube(cube, stream, species), "in sigma of the measurement and of the responses"
    else:
        noise, source = _noise_of_residuals(residual, species), "in sigma; the noise is that of the residuals"
    depth, mz = (species[name].to_numpy().astype(np.float64) for name in ("depth", "mz"))
    return Spectra(
        depth=depth,
        mz=mz,
        measured=fit + residual,
        fit=fit,
        noise=noise,
        sigma=np.hypot(noise, _response_error(result, species, design, fitted, fit)),
        noise_source=source,
        design=design,
        amounts=fitted,
        detected=(species["flag"].to_numpy() & UNSEEN_SPECIES) == 0,
        species=tuple(str(name) for name in species["species"].to_numpy().tolist()),
    )


def _responses(result: xr.DataTree, stream: Stream, species: xr.Dataset, library: SpeciesLibrary | None) -> Floats:
    if "response" in species:
        kept: Floats = species["response"].to_numpy().astype(np.float64)
        return kept
    library = library or load_library()
    used = result.attrs.get("library_learned", result.attrs["library_version"])
    if library.version != used:
        raise InputError(
            f"spectra of well {result.attrs['well']}",
            expected=f"the responses of the fit, or species library {used}, with which it was analysed",
            found=f"no responses, and library {library.version}",
            cause="an older release, which kept no responses, made the analysis with another library",
            next_step="analyse the well again",
        )
    bound = make_deconvolver(
        species[["mz"]].assign_attrs(result[stream].attrs), Origin.of(result).instrument, library, Deconvolution()
    )
    return bound.design


def _response_error(result: xr.DataTree, species: xr.Dataset, design: Floats, fitted: Floats, fit: Floats) -> Floats:
    """Return what the errors of the responses bring to a current [A], float64 (depth, mz)."""
    if "response_error" in species:
        relative = species["response_error"].to_numpy().astype(np.float64)
        squares: Floats = np.nan_to_num(fitted) ** 2 @ ((relative * design) ** 2).T
        return np.sqrt(squares)
    found = re.search(r"pattern_error=([0-9.eE+-]+)", str(result.attrs["deconvolution_settings"]))
    error = float(found.group(1)) if found else Deconvolution().pattern_error
    return error * np.abs(fit)


def _noise_of_residuals(residual: Floats, species: xr.Dataset) -> Floats:
    """Estimate the noise of each current [A]: as the residuals of its m/z scatter, averaged down by its scans."""
    count = np.ones(residual.shape[0])
    if "scan_count" in species:
        count = np.maximum(species["scan_count"].to_numpy().astype(np.float64), 1.0)
    relative = np.sqrt(np.median(count) / count) if count.size else count
    known = np.isfinite(residual).any(axis=0)
    single = np.zeros(residual.shape[1])
    if known.any():
        single[known] = _MAD_TO_SIGMA * np.nanmedian(np.abs(residual[:, known]) / relative[:, None], axis=0)
    some = single[single > 0.0]
    if some.size:
        single = np.maximum(single, np.percentile(some, _LEAST_NOISE_PERCENTILE))
    return relative[:, None] * single


def _noise_of_cube(cube: xr.DataTree, stream: Stream, species: xr.Dataset) -> Floats:
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
