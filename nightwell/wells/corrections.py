"""Everything that is learned from the raw scans before samples are added up: noise, gains, blanks, backgrounds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nightwell.wells.baseline import OFF_MASS, off_mass_columns
from nightwell.wells.blank import BlankSeries, blank_series
from nightwell.wells.calibrate.calibration import Calibration
from nightwell.wells.clean_scans import Cleaned, clean_scans, noise_of_scans
from nightwell.wells.depth_bins import DepthBins, bin_of
from nightwell.wells.instrument import Instrument
from nightwell.wells.normalise import Normalisation
from nightwell.wells.raw_scans import RawScans, samples_of
from nightwell.wells.recycled import RecycledGas
from nightwell.wells.scan_noise import ScanNoise
from nightwell.wells.streams import ScanKind, Stream

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CubeSettings:
    """How cubes are made.

    Parameters
    ----------
    step_m
        Depth step of the lagged stream. Discrete samples stand at their own depths.
    off_mass
        m/z of the baseline; empty to leave it.
    remove_blank
        Whether blanks are subtracted.
    internal_standard_mz
        m/z of the internal standard (argon of air, 40); every scan is scaled so that its current there is that of
        the stream's blanks. ``None`` to leave the drift.
    internal_standard_streams
        Streams that breathe air; in an evacuated chamber there is no standard.
    block_rows
        Scans handled at a time.
    calibration
        Dead time, carry-over and drift to correct; ``None`` corrects none of them.
    recycled
        How gas that came round again is removed from the trap gas; ``None`` to leave it.
    normalisation
        To what the amounts of the trap gas are normalised besides.
    """

    step_m: float = 0.5
    off_mass: tuple[int, ...] = OFF_MASS
    remove_blank: bool = True
    internal_standard_mz: int | None = 40
    internal_standard_streams: tuple[Stream, ...] = (Stream.TRAP_GAS, Stream.MUD_FLUID)
    block_rows: int = 8192
    calibration: Calibration | None = None
    recycled: RecycledGas | None = field(default_factory=RecycledGas)
    normalisation: Normalisation = field(default_factory=Normalisation)


@dataclass(frozen=True, slots=True)
class Backgrounds:
    """Mean spectrum of each cuttings sample before crushing, by depth, and the variance of that mean."""

    depth_m: Floats
    intensity: Floats
    variance: Floats


@dataclass(frozen=True, slots=True)
class Corrections:
    """What the first pass learned: noise, gain of each scan, blanks of each stream, background of each sample."""

    columns: NDArray[np.intp]
    noise: ScanNoise
    gain: Floats
    gain_variance: Floats
    steadied: frozenset[Stream]  # streams whose scans were scaled by the internal standard
    calibration: Calibration | None
    blanks: dict[Stream, BlankSeries]
    backgrounds: Backgrounds | None


def learn(scans: RawScans, settings: CubeSettings, instrument: Instrument) -> Corrections:
    """Learn in one pass over the scans: blanks, each scan's internal standard, each crushed sample's background."""
    columns = off_mass_columns(scans.mz, settings.off_mass)
    size = scans.time_s.size
    standard, standard_variance = np.full(size, np.nan), np.zeros(size)
    argon = np.flatnonzero(scans.mz == settings.internal_standard_mz)
    blank_rows: list[NDArray[np.intp]] = []
    blank_spectra: list[Floats] = []
    blank_variances: list[Floats] = []
    uncrushed: list[Cleaned] = []
    noise = noise_of_scans(scans, columns, instrument, settings.block_rows)
    backgrounds = _empty_backgrounds(scans) if settings.remove_blank else None
    for cleaned in clean_scans(scans, columns, noise, settings.calibration, settings.block_rows):
        block = cleaned.block
        if argon.size:
            standard[block] = cleaned.current[:, argon[0]]
            standard_variance[block] = cleaned.variance[:, argon[0]]
        is_blank = scans.kind[block] == ScanKind.BLANK.code
        blank_rows.append(np.flatnonzero(is_blank) + block.start)
        blank_spectra.append(cleaned.current[is_blank])
        blank_variances.append((cleaned.variance + cleaned.shared)[is_blank])
        if backgrounds is not None:  # kept until the gains are known
            uncrushed.append(cleaned.rows(samples_of(scans, Stream.CUTTINGS_BACKGROUND)[block]))
    gain, gain_variance, steadied = _gains(scans, standard, standard_variance, settings)
    found = Corrections(columns, noise, gain, gain_variance, steadied, settings.calibration, {}, None)
    if settings.remove_blank:
        rows = np.concatenate(blank_rows)
        found.blanks.update(_blanks(scans, rows, np.concatenate(blank_spectra), np.concatenate(blank_variances), found))
    if backgrounds is not None:
        for cleaned in uncrushed:
            _add_background(scans, cleaned, backgrounds, found)
        mean, variance, _ = backgrounds.means()
        found = replace(found, backgrounds=Backgrounds(backgrounds.depth_m, mean, variance))
    return found


def _empty_backgrounds(scans: RawScans) -> DepthBins | None:
    """Return bins for the uncrushed samples; ``None`` when there are none, or nothing was crushed."""
    before = samples_of(scans, Stream.CUTTINGS_BACKGROUND)
    if not before.any() or not samples_of(scans, Stream.CUTTINGS_CRUSH).any():
        return None
    return DepthBins.empty(np.unique(scans.registration.depth_m[before]), scans.mz.size)


def _add_background(scans: RawScans, cleaned: Cleaned, backgrounds: DepthBins, found: Corrections) -> None:
    rows = np.flatnonzero(samples_of(scans, Stream.CUTTINGS_BACKGROUND)[cleaned.block]) + cleaned.block.start
    if rows.size == 0:
        return
    drift = drift_of(scans, rows, found.calibration, steadied=False)
    current, variance, shared = scaled(cleaned, found.gain[rows], found.gain_variance[rows], drift)
    at = bin_of(scans.registration.depth_m[rows], backgrounds.depth_m)
    backgrounds.add(at, current, variance, shared, np.zeros(rows.size))


def _gains(
    scans: RawScans, standard: Floats, standard_variance: Floats, settings: CubeSettings
) -> tuple[Floats, Floats, frozenset[Stream]]:
    """Factor that brings each scan's internal standard to that of the stream's blanks, and its relative variance."""
    gain, variance = np.ones(standard.size), np.zeros(standard.size)
    steadied: set[Stream] = set()
    common: float | None = None
    for stream in settings.internal_standard_streams:
        mine = scans.stream == stream.code
        reference = standard[mine & (scans.kind == ScanKind.BLANK.code)]
        reference = reference[np.isfinite(reference)]
        if reference.size == 0 or np.median(reference) <= 0.0:
            continue  # without blanks it cannot be told whether argon is the standard or the sample
        level = float(np.median(reference))
        steadied.add(stream)
        usable = mine & (standard > 0.1 * level)
        if settings.calibration is not None:  # air holds the same argon everywhere: all streams on one sensitivity
            common = level = common or level
        gain[usable] = level / standard[usable]
        variance[usable] = standard_variance[usable] / standard[usable] ** 2
    if common is not None:
        _steady_others(scans, standard, frozenset(steadied), common, gain, variance)
    return gain, variance, frozenset(steadied)


def _steady_others(
    scans: RawScans, standard: Floats, steadied: frozenset[Stream], level: float, gain: Floats, variance: Floats
) -> None:
    """Give scans of an evacuated chamber the gain that blanks in air showed before and after them, linear in time."""
    airy = np.isin(scans.stream, [stream.code for stream in steadied])
    known = airy & (scans.kind == ScanKind.BLANK.code) & (standard > 0.1 * level)
    if not known.any():
        return
    seen = level / standard[known]
    others = ~airy
    gain[others] = np.interp(scans.time_s[others], scans.time_s[known], seen)
    # Half of the mean square from one blank to the next is what one of them is uncertain by.
    variance[others] = float(np.mean(np.diff(seen) ** 2)) / 2.0 if seen.size > 1 else 0.0


def _blanks(
    scans: RawScans, rows: NDArray[np.intp], spectra: Floats, variances: Floats, found: Corrections
) -> dict[Stream, BlankSeries]:
    series: dict[Stream, BlankSeries] = {}
    for stream in Stream:
        mine = scans.stream[rows] == stream.code
        if stream is Stream.CUTTINGS_CRUSH or not mine.any():
            continue
        at = rows[mine]
        cleaned = Cleaned.plain(spectra[mine], variances[mine])
        drift = drift_of(scans, at, found.calibration, steadied=stream in found.steadied)
        spectrum, variance, shared = scaled(cleaned, found.gain[at], found.gain_variance[at], drift)
        position = np.cumsum(scans.stream == stream.code)[at]
        series[stream] = blank_series(scans.time_s[at], position, spectrum, variance + shared)
    return series


def drift_of(
    scans: RawScans, rows: NDArray[np.intp], calibration: Calibration | None, *, steadied: bool
) -> tuple[Floats, Floats] | None:
    """Return the drift of scans and its relative variance, float64 (scan, mz); ``None`` when there is none."""
    if calibration is None:
        return None
    # With a calibration the others are steadied too, by the air before and after them.
    own = calibration.raw_drift if not steadied and calibration.raw_drift.time_s else None
    drift = own or calibration.steadied_drift
    return drift.at(scans.start_s + scans.time_s[rows], scans.mz) if drift.time_s else None


def scaled(
    cleaned: Cleaned, gain: Floats, gain_variance: Floats, drift: tuple[Floats, Floats] | None = None
) -> tuple[Floats, Floats, Floats]:
    """Return currents in the gain of the internal standard and without drift.

    Parameters
    ----------
    cleaned
        Scans.
    gain, gain_variance
        float64 (scan): factor of the internal standard, and its relative variance.
    drift
        As :func:`drift_of`.

    Returns
    -------
    current, variance, shared
        float64 (scan, mz): A, A2; ``shared`` are errors that neighbouring scans have in common.
    """
    factor = gain[:, None] if drift is None else gain[:, None] / drift[0]
    steady = cleaned.current * factor
    variance = cleaned.variance * factor**2 + steady**2 * gain_variance[:, None]
    shared = cleaned.shared * factor**2
    return steady, variance, shared if drift is None else shared + steady**2 * drift[1]
