"""Spectra to species: the cube of one stream to amounts with one-sigma, detection limit and flag at every depth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntFlag
from functools import partial
from typing import TypeVar

import numpy as np
import xarray as xr
from dask.base import compute
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from nightwell.wells.contract import check_mz
from nightwell.wells.instrument import Instrument
from nightwell.wells.monte_carlo import MonteCarlo, scatter_of
from nightwell.wells.nnls import Solution, solve
from nightwell.wells.species import MAX_CONDITION, SpeciesLibrary

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_Result = TypeVar("_Result")

#: Depths worked on at a time; a block of 200 m/z and 40 species holds some 25 MB while it is worked on.
BLOCK_DEPTHS = 512

#: What deconvolution and indicators of one well may take on two threads, besides their input and their result.
ANALYSIS_MEMORY_BYTES = 256 * 2**20

#: Species of air and moisture: they stand in every blank, so once it is subtracted their amounts may be negative.
BLANK_SPECIES = ("nitrogen", "oxygen", "argon", "water", "carbon_dioxide")

#: Currie's decision that something is there, one-sided 95 %, in sigmas.
DECISION_SIGMAS = 1.645

_MAIN_PEAK_SHARE = 0.2
_NEGATIVE_SIGMAS = 4.0
_LEAST_VARIANCE_SHARE = 0.1
_UNEXPLAINED_SIGMAS = 5.0


class SpeciesFlag(IntFlag):
    """What to know before using the amount of a species."""

    AT_BOUND = 1  # the best amount is zero, and a negative one would have fitted better
    BELOW_DETECTION = 2  # not above the detection limit, or not above 1.645 sigma
    SATURATED = 4  # a main peak was above full scale: the amount stands on minor peaks, if on any
    MISSING_INPUT = 8  # a main peak was not measured; without any peak the value is NaN
    NEGATIVE_INPUT = 16  # a main peak was far below zero: the blank was too high
    UNEXPLAINED = 32  # a main peak is far from its fit: another species stands there, or the pattern is wrong


@dataclass(frozen=True, slots=True)
class Deconvolution:
    """How spectra become species.

    Parameters
    ----------
    pattern_error
        One-sigma relative error of fragment patterns, ``eps_p`` of the variance model.
    signed
        Species that may be negative in a stream whose blank was subtracted.
    max_condition
        A library with a larger condition number on the m/z axis is refused.
    monte_carlo
        Draw patterns and counts anew and report how amounts scatter, instead of the covariance of the fit. Costs some
        hundred times the time; ``None`` leaves it.
    """

    pattern_error: float = 0.02
    signed: tuple[str, ...] = BLANK_SPECIES
    max_condition: float = MAX_CONDITION
    monte_carlo: MonteCarlo | None = None

    @property
    def version(self) -> str:
        """The settings as text; equal text gives equal results."""
        text = f"pattern_error={self.pattern_error!r} of each species signed={','.join(self.signed)}"
        drawn = self.monte_carlo
        return text if drawn is None else f"{text} draws={drawn.draws} seed={drawn.seed}"


@dataclass(frozen=True, slots=True)
class Deconvolver:
    """The settings bound to one stream's m/z axis, instrument and library; made by :func:`make_deconvolver`."""

    library: SpeciesLibrary
    mz: Floats
    design: Floats  # (mz, species): A per ppm, or relative
    main_peaks: Bools  # (mz, species)
    signed: Bools  # (species,)
    shot_a: float  # variance of a single scan per unit of current
    pattern_error: float
    units: str
    transmission: Floats  # (mz,): sensitivity of nitrogen times transmission, A per ppm, or relative
    monte_carlo: MonteCarlo | None = None
    pattern_errors: Floats | None = None  # (mz, species): of a calibration, in place of the one for all

    def solve(self, block: xr.Dataset, *, with_covariance: bool = False) -> Solution:
        """Solve all spectra of a dataset of the cube's contract (read into memory).

        Twice: the cube's variance was estimated from the currents themselves, so a current that came out low by
        chance has too much weight. The second time, the signal in the variance is that of the first fit.
        """
        intensity, variance, shot = self.weigh(block)
        found = solve(
            self.design,
            intensity,
            variance,
            signed=self.signed,
            own_shot=shot,
            own_relative=self.pattern_error if self.pattern_errors is None else 0.0,
            with_covariance=with_covariance,
        )
        return found if self.monte_carlo is None else self._draw(block, found, variance, self.monte_carlo)

    def _draw(self, block: xr.Dataset, found: Solution, variance: Floats, settings: MonteCarlo) -> Solution:
        """Put the scatter of draws in the place of sigma; covariances keep their correlations."""
        drawn = scatter_of(
            self.design,
            found.value,
            variance,
            variance - self.pattern_variance(found),
            self.pattern_error if self.pattern_errors is None else self.pattern_errors,
            settings,
            keys=block["depth"].to_numpy(),
            signed=self.signed,
        )
        # A species that no draw lets off the bound has no scatter: what the fit says of it stands.
        sigma = np.where(drawn.sigma > 0.0, drawn.sigma, found.sigma)
        ratio = np.nan_to_num(sigma / found.sigma, nan=1.0)
        covariance = found.covariance
        if covariance.size:
            covariance = covariance * ratio[:, :, None] * ratio[:, None, :]
        return found._replace(sigma=sigma, covariance=covariance, low=drawn.low, high=drawn.high)

    def weigh(self, block: xr.Dataset) -> tuple[Floats, Floats, Floats]:
        """Return what :meth:`solve` solves: intensity, its variance (pattern error included), and the shot factor.

        Returns
        -------
        intensity
            float64 (depth, mz), A.
        variance
            float64 (depth, mz), A2: measured, with the signal of a first fit in it, and ``(pattern_error * part)**2``
            of every species' part of that fit.
        shot
            float64 (depth, mz), A: variance that one unit of current brings.
        """
        intensity = block["intensity"].to_numpy().astype(np.float64)
        counts = np.maximum(block["scan_count"].to_numpy(), 1).astype(np.float64)
        shot = np.broadcast_to((self.shot_a / counts)[:, None], intensity.shape)
        measured = block["variance"].to_numpy().astype(np.float64)
        guess = measured + (self.pattern_error * intensity) ** 2
        first = solve(self.design, intensity, guess, signed=self.signed, with_errors=False)
        expected = np.maximum(measured + shot * (first.fit - intensity), _LEAST_VARIANCE_SHARE * measured)
        return intensity, expected + self.pattern_variance(first), shot

    def pattern_variance(self, first: Solution) -> Floats:
        """Variance that the errors of the patterns bring, float64 (depth, mz).

        Species err independently of one another, so where they share an m/z their squares add up, not their errors.
        """
        errors = self.pattern_error if self.pattern_errors is None else self.pattern_errors
        squares: Floats = np.nan_to_num(first.value) ** 2 @ ((errors * self.design) ** 2).T
        return squares

    def columns(self, library: SpeciesLibrary) -> Floats:
        """Return the columns that other species would have in the design matrix: float64 (mz, species)."""
        pattern = library.pattern_matrix(self.mz) * library.sensitivities
        columns: Floats = pattern * self.transmission[:, None]
        return columns

    def flags(self, block: xr.Dataset, found: Solution) -> NDArray[np.uint8]:
        """Return the :class:`SpeciesFlag` of every depth and species, uint8 (depth, species)."""
        intensity = block["intensity"].to_numpy().astype(np.float64)
        noise = np.sqrt(block["variance"].to_numpy().astype(np.float64))
        absent = ~np.isfinite(intensity)
        with np.errstate(invalid="ignore"):
            negative = intensity < -_NEGATIVE_SIGMAS * noise
            at_bound = (found.value == 0.0) & ~self.signed
            detected = (found.value > found.limit) & (found.value > DECISION_SIGMAS * found.sigma)
            spread = np.hypot(noise, self.pattern_error * np.maximum(intensity, found.fit))
            unexplained = np.abs(intensity - found.fit) > _UNEXPLAINED_SIGMAS * spread
        undetected = ~detected & np.isfinite(found.value)
        negative &= ~self.main_peaks[:, self.signed].any(axis=1)
        gone = (absent @ self.main_peaks) | np.isnan(found.value)
        saturated = _saturated_rows(block)[:, None]
        flag = np.zeros(found.value.shape, dtype=np.uint8)
        flag[at_bound] |= SpeciesFlag.AT_BOUND.value
        flag[undetected] |= SpeciesFlag.BELOW_DETECTION.value
        flag[gone & saturated] |= SpeciesFlag.SATURATED.value
        flag[gone] |= SpeciesFlag.MISSING_INPUT.value
        flag[negative @ self.main_peaks] |= SpeciesFlag.NEGATIVE_INPUT.value
        flag[unexplained @ self.main_peaks] |= SpeciesFlag.UNEXPLAINED.value
        return flag

    def dataset(self, block: xr.Dataset, found: Solution) -> xr.Dataset:
        """Return the result as :func:`deconvolve` documents it."""
        intensity = block["intensity"].to_numpy()
        measured = np.isfinite(intensity).any(axis=1)
        by_species = ("depth", "species")
        spectrum = {"units": "A", "long_name": "intensity less its fit"}
        chi2 = np.where(measured, found.chi2, np.nan)
        drawn = {
            name: (
                by_species,
                values.astype(np.float32),
                {"units": self.units, "long_name": f"percentile {percentile}"},
            )
            for name, values, percentile in (("low", found.low, 15.9), ("high", found.high, 84.1))
            if self.monte_carlo is not None
        }
        return xr.Dataset(
            {
                "value": (by_species, found.value.astype(np.float32), {"units": self.units, "long_name": "amount"}),
                "sigma": (by_species, found.sigma.astype(np.float32), {"units": self.units, "long_name": "one-sigma"}),
                "detection_limit": (
                    by_species,
                    found.limit.astype(np.float32),
                    {"units": self.units, "long_name": "amount detected with 95 % (Currie)"},
                ),
                **drawn,
                "flag": (by_species, self.flags(block, found), flag_attributes(SpeciesFlag)),
                "residual": (("depth", "mz"), (intensity - found.fit).astype(np.float32), spectrum),
                "chi2": ("depth", chi2.astype(np.float32), {"units": "1", "long_name": "weighted sum of squares"}),
                "freedom": ("depth", found.freedom.astype(np.int16), {"units": "1", "long_name": "degrees of freedom"}),
            },
            coords={
                "depth": ("depth", block["depth"].to_numpy(), {"units": "m"}),
                "mz": ("mz", self.mz, {"units": "1"}),
                "species": ("species", np.array(self.library.names, dtype=object)),
                "group": ("species", np.array([str(group) for group in self.library.groups], dtype=object)),
            },
        )


def make_deconvolver(
    stream: xr.Dataset, instrument: Instrument, library: SpeciesLibrary, settings: Deconvolution | None = None
) -> Deconvolver:
    """Bind settings to a stream.

    Parameters
    ----------
    stream
        A stream of a cube.
    instrument
        Its facts; without ``nitrogen_sensitivity_a_per_ppm`` amounts are relative.
    library
        Species to look for.
    settings
        How.

    Raises
    ------
    InputError
        The m/z axis has half masses or is out of order, lacks the peaks of a species, or the library cannot be solved
        on it.
    """
    settings = settings or Deconvolution()
    mz = stream["mz"].to_numpy().astype(np.float64)
    check_mz(mz, where="the stream")
    exponent = instrument.transmission_exponent or 0.0
    design = library.design_matrix(mz, transmission_exponent=exponent, max_condition=settings.max_condition)
    sensitivity = instrument.nitrogen_sensitivity_a_per_ppm
    subtracted = stream.attrs.get("blank", "none") != "none"
    charge, dwell = instrument.ion_charge_c, instrument.dwell_s
    return Deconvolver(
        library=library,
        mz=mz,
        design=design * (sensitivity or 1.0),
        main_peaks=design >= _MAIN_PEAK_SHARE * design.max(axis=0),
        signed=np.array([subtracted and name in settings.signed for name in library.names]),
        shot_a=(instrument.excess_noise or 1.0) * charge / dwell if charge and dwell else 0.0,
        pattern_error=settings.pattern_error,
        units="ppm" if sensitivity else "relative",
        transmission=(28.0 / mz) ** exponent * (sensitivity or 1.0),
        monte_carlo=settings.monte_carlo,
    )


def deconvolve(
    stream: xr.Dataset, instrument: Instrument, library: SpeciesLibrary, settings: Deconvolution | None = None
) -> xr.Dataset:
    """Deconvolve every spectrum of a stream, by blocks over depth on dask.

    Parameters
    ----------
    stream, instrument, library, settings
        As :func:`make_deconvolver`. Arrays may be NumPy's, dask's, or not yet read.

    Returns
    -------
    xarray.Dataset
        Dims (depth, species): ``value``, ``sigma``, ``detection_limit`` float32 [ppm by volume, on the internal
        sensitivities of the library], ``flag`` uint8 :class:`SpeciesFlag`; dims (depth, mz): ``residual`` float32
        [A]; dims (depth,): ``chi2`` float32 and ``freedom`` int16. A depth without a spectrum is NaN. With Monte Carlo
        also ``low`` and ``high`` float32 (depth, species), the percentiles 15.9 and 84.1 of the draws.

    Raises
    ------
    InputError
        As :func:`make_deconvolver`.
    """
    bound = make_deconvolver(stream, instrument, library, settings)
    return end_to_end(by_blocks(lambda block: bound.dataset(block, bound.solve(block)), stream))


def end_to_end(blocks: Iterable[xr.Dataset]) -> xr.Dataset:
    """Lay blocks end to end along depth; what does not run along depth is taken from the first."""
    parts = list(blocks)
    if len(parts) == 1:
        return parts[0]  # most wells have one, and xarray takes as long for one as for many
    joined: xr.Dataset = xr.concat(
        parts,
        dim="depth",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
    return joined


def by_blocks(function: Callable[[xr.Dataset], _Result], stream: xr.Dataset) -> list[_Result]:
    """Apply a function to blocks of depths, on dask's current scheduler (threads, or a distributed client).

    Parameters
    ----------
    function
        Gets a dataset of up to ``BLOCK_DEPTHS`` depths, read into memory.
    stream
        A stream of a cube.

    Returns
    -------
    list
        In the order of depth.
    """
    results: list[_Result] = list(compute(*tasks_by_blocks(function, stream)))  # type: ignore[no-untyped-call]  # dask has no types
    return results


def tasks_by_blocks(function: Callable[[xr.Dataset], _Result], stream: xr.Dataset) -> list[Delayed]:
    """Return the tasks of :func:`by_blocks` without running them, so that streams and wells can share one run."""
    names = ["intensity", "variance", "scan_count", "flag"]
    variables = stream[[*names, "shared_share"] if "shared_share" in stream else names]
    starts = range(0, max(stream.sizes["depth"], 1), BLOCK_DEPTHS)
    blocks = (variables.isel(depth=slice(start, start + BLOCK_DEPTHS)) for start in starts)
    # The function as it is: dask would look for collections in it, profile by profile, for as long as the work takes.
    work = delayed(partial(_on_block, function), pure=False, traverse=False)
    return [work(block) for block in blocks]


def _on_block(function: Callable[[xr.Dataset], _Result], block: xr.Dataset) -> _Result:
    return function(block.load(scheduler="synchronous") if block.chunks else block.load())


def _saturated_rows(block: xr.Dataset) -> Bools:
    meanings = str(block["flag"].attrs.get("flag_meanings", "")).split()
    if "saturated" not in meanings:
        return np.zeros(block.sizes["depth"], dtype=bool)
    bit = int(np.asarray(block["flag"].attrs["flag_masks"])[meanings.index("saturated")])
    rows: Bools = (block["flag"].to_numpy() & bit) != 0
    return rows


def flag_attributes(flags: type[IntFlag]) -> dict[str, object]:
    """Return the CF attributes of a variable of bits."""
    named = [(str(bit.name).lower(), int(bit)) for bit in flags]
    return {"flag_masks": [bit for _, bit in named], "flag_meanings": " ".join(name for name, _ in named)}
