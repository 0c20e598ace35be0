"""Everything that is learned from the raw scans before samples are added up: noise, gains, blanks, backgrounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.wells.baseline import OFF_MASS, off_mass_columns, remove_baseline
from nightwell.wells.blank import BlankSeries, blank_series
from nightwell.wells.contract import Origin
from nightwell.wells.depth_bins import DepthBins, bin_of
from nightwell.wells.instrument import Instrument
from nightwell.wells.lag import Registration
from nightwell.wells.normalise import Normalisation
from nightwell.wells.recycled import RecycledGas
from nightwell.wells.scan_noise import ScanNoise, noise_of_instrument, noise_of_scatter
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
    recycled: RecycledGas | None = field(default_factory=RecycledGas)
    normalisation: Normalisation = field(default_factory=Normalisation)


@dataclass(frozen=True, slots=True)
class RawScans:
    """Raw scans with what is known of each of them before its spectrum is read."""

    dataset: xr.Dataset
    mz: Floats
    time_s: Floats
    stream: NDArray[np.int8]
    kind: NDArray[np.int8]
    registration: Registration
    full_scale_a: float

    def blocks(self, rows: int) -> Iterator[tuple[slice, Floats]]:
        """Yield consecutive scans as float64 (scan, mz)."""
        for start in range(0, self.time_s.size, rows):
            block = slice(start, start + rows)
            intensity = self.dataset["intensity"].isel(scan=block).to_numpy().astype(np.float64)
            yield block, intensity


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
    blanks: dict[Stream, BlankSeries]
    backgrounds: Backgrounds | None


def raw_scans(tree: xr.DataTree, registration: Registration, origin: Origin) -> RawScans:
    """Read the coordinates of raw scans; spectra are read later, block by block."""
    dataset = tree["scans"].to_dataset()
    time = dataset["time"].to_numpy()
    return RawScans(
        dataset=dataset,
        mz=dataset["mz"].to_numpy(),
        time_s=(time - time[:1]).astype("timedelta64[ns]").astype(np.int64) / 1e9,
        stream=dataset["stream"].to_numpy(),
        kind=dataset["kind"].to_numpy(),
        registration=registration,
        full_scale_a=origin.instrument.full_scale_a or np.inf,
    )


def samples_of(scans: RawScans, stream: Stream) -> NDArray[np.bool_]:
    """Tell which scans are samples of a stream at a known depth, and carry news of it."""
    found = scans.registration
    wanted = (scans.stream == stream.code) & (scans.kind == ScanKind.SAMPLE.code) & ~np.isnan(found.depth_m)
    chosen: NDArray[np.bool_] = wanted & ~found.no_circulation & ~found.off_bottom
    return chosen


def learn(scans: RawScans, settings: CubeSettings, instrument: Instrument) -> Corrections:
    """Learn in one pass over the scans: blanks, each scan's internal standard, each crushed sample's background."""
    columns = off_mass_columns(scans.mz, settings.off_mass)
    size = scans.time_s.size
    standard = np.full(size, np.nan)
    argon = np.flatnonzero(scans.mz == settings.internal_standard_mz)
    blank_rows: list[NDArray[np.intp]] = []
    blank_spectra: list[Floats] = []
    scatter: list[Floats] = []
    known = noise_of_instrument(instrument)
    if known is not None and columns.size:  # the baseline is itself the mean of so many noisy currents
        known = ScanNoise(known.floor * (1.0 + 1.0 / columns.size), known.rate)
    backgrounds = _empty_backgrounds(scans) if settings.remove_blank else None
    for block, intensity in scans.blocks(settings.block_rows):
        remove_baseline(intensity, columns)
        if argon.size:
            standard[block] = intensity[:, argon[0]]
        is_blank = scans.kind[block] == ScanKind.BLANK.code
        blank_rows.append(np.flatnonzero(is_blank) + block.start)
        blank_spectra.append(intensity[is_blank])
        if known is None and not scatter:
            scatter.append(intensity)
        if backgrounds is not None:
            noise = known or noise_of_scatter(scatter[0])
            _add_background(scans, block, intensity, backgrounds, noise)
    noise = known or noise_of_scatter(scatter[0])
    gain, gain_variance, steadied = _gains(scans, standard, noise, settings)
    rows, spectra = np.concatenate(blank_rows), np.concatenate(blank_spectra)
    blanks = _blanks(scans, rows, spectra, noise, gain, gain_variance) if settings.remove_blank else {}
    found = None
    if backgrounds is not None:
        mean, variance, _ = backgrounds.means()
        found = Backgrounds(backgrounds.depth_m, mean, variance)
    return Corrections(columns, noise, gain, gain_variance, steadied, blanks, found)


def _empty_backgrounds(scans: RawScans) -> DepthBins | None:
    """Return bins for the uncrushed samples; ``None`` when there are none, or nothing was crushed."""
    before = samples_of(scans, Stream.CUTTINGS_BACKGROUND)
    if not before.any() or not samples_of(scans, Stream.CUTTINGS_CRUSH).any():
        return None
    return DepthBins.empty(np.unique(scans.registration.depth_m[before]), scans.mz.size)


def _add_background(scans: RawScans, block: slice, intensity: Floats, backgrounds: DepthBins, noise: ScanNoise) -> None:
    chosen = samples_of(scans, Stream.CUTTINGS_BACKGROUND)[block]
    if chosen.any():
        depth = scans.registration.depth_m[block][chosen]
        picked = intensity[chosen]
        variance = noise.variance(picked)
        nothing = np.zeros_like(picked)
        backgrounds.add(bin_of(depth, backgrounds.depth_m), picked, variance, nothing, np.zeros(depth.size))


def _gains(
    scans: RawScans, standard: Floats, noise: ScanNoise, settings: CubeSettings
) -> tuple[Floats, Floats, frozenset[Stream]]:
    """Factor that brings each scan's internal standard to that of the stream's blanks, and its relative variance."""
    gain, variance = np.ones(standard.size), np.zeros(standard.size)
    steadied: set[Stream] = set()
    argon = np.flatnonzero(scans.mz == settings.internal_standard_mz)
    floor = float(noise.floor) if noise.floor.ndim == 0 else float(noise.floor[argon].sum())
    for stream in settings.internal_standard_streams:
        mine = scans.stream == stream.code
        reference = standard[mine & (scans.kind == ScanKind.BLANK.code)]
        reference = reference[np.isfinite(reference)]
        if reference.size == 0 or np.median(reference) <= 0.0:
            continue  # without blanks it cannot be told whether argon is the standard or the sample
        level = float(np.median(reference))
        steadied.add(stream)
        usable = mine & (standard > 0.1 * level)
        gain[usable] = level / standard[usable]
        variance[usable] = (floor + noise.rate * standard[usable]) / standard[usable] ** 2
    return gain, variance, frozenset(steadied)


def _blanks(
    scans: RawScans,
    rows: NDArray[np.intp],
    spectra: Floats,
    noise: ScanNoise,
    gain: Floats,
    gain_variance: Floats,
) -> dict[Stream, BlankSeries]:
    series: dict[Stream, BlankSeries] = {}
    for stream in Stream:
        mine = scans.stream[rows] == stream.code
        if stream is Stream.CUTTINGS_CRUSH or not mine.any():
            continue
        at = rows[mine]
        spectrum, variance = scaled(spectra[mine], noise, gain[at], gain_variance[at])
        position = np.cumsum(scans.stream == stream.code)[at]
        series[stream] = blank_series(scans.time_s[at], position, spectrum, variance)
    return series


def scaled(current: Floats, noise: ScanNoise, gain: Floats, gain_variance: Floats) -> tuple[Floats, Floats]:
    """Return currents in the gain of the internal standard, and their variance with that of the gain."""
    steady = current * gain[:, None]
    variance = noise.variance(current) * gain[:, None] ** 2 + steady**2 * gain_variance[:, None]
    return steady, variance
