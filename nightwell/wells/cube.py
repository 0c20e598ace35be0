"""Raw scans to cubes: depth x m/z for each stream, baseline and blank removed, with the variance of every mean.

What cannot be known is NaN and flagged, never zero: a bin without scans, an m/z that was not measured or was
saturated. Two passes over the scans, in blocks: the first gathers blanks and the internal standard, the second adds up
the samples; memory is that of the cubes and of one block, however many scans there are.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.clean_scans import Cleaned, clean_scans
from nightwell.wells.container import make_cube, make_dataset
from nightwell.wells.contract import CUBE, FLAGS, Origin
from nightwell.wells.corrections import Corrections, CubeSettings, drift_of, learn, scaled
from nightwell.wells.depth_bins import DepthBins, bin_of, regular_bins
from nightwell.wells.lag import Registration, register_scans
from nightwell.wells.quality_of_cube import AIR_MZ, QualityCounter
from nightwell.wells.raw_scans import RawScans, raw_scans, samples_of
from nightwell.wells.recycled import without_recycled
from nightwell.wells.streams import ScanKind, Stream

__all__ = ["CubeSettings", "build_cube"]

Floats = NDArray[np.float64]

#: A row whose current is so many sigmas below zero, away from air's own peaks, had a blank above its sample.
_HOT_SIGMAS = 5.0


def build_cube(
    tree: xr.DataTree, settings: CubeSettings | None = None, *, registration: Registration | None = None
) -> xr.DataTree:
    """Make the cubes of a well.

    Parameters
    ----------
    tree
        Raw scans; arrays may be dask's or not yet read.
    settings
        How.
    registration
        Depth of each scan; by default :func:`~nightwell.wells.lag.register_scans`.

    Returns
    -------
    xarray.DataTree
        One group per stream that has samples with a depth, as in the contract, and the quality numbers in ``/qc``.

    Raises
    ------
    InputError
        No scan has a depth, or depth registration is refused.
    """
    settings = settings or CubeSettings()
    origin = Origin.of(tree)
    scans = raw_scans(tree, registration or register_scans(tree), origin)
    bins = _bins(scans, settings)
    if not bins:
        raise InputError(
            "raw scans",
            expected="samples with a depth in at least one stream",
            found=f"{scans.time_s.size} scans, none of them a sample that can be placed",
            cause="only blanks and standards, or the drilling series ends before the first gas arrives",
            next_step="import the drilling parameters of the same interval, or scans with sample_depth",
        )
    correction = learn(scans, settings, origin.instrument)
    quality = QualityCounter.start(scans, correction)
    _add_up(scans, bins, correction, settings, quality)
    streams = {stream: _dataset(stream, bins[stream], scans, correction, settings) for stream in bins}
    if settings.recycled is not None and Stream.TRAP_GAS in streams and "drilling" in tree.children:
        gas = streams[Stream.TRAP_GAS]
        out, entered = _passage(scans, bins[Stream.TRAP_GAS])
        streams[Stream.TRAP_GAS] = without_recycled(gas, settings.recycled, tree["drilling"].to_dataset(), out, entered)
    version = "none" if settings.calibration is None else settings.calibration.version
    cube = make_cube(origin, streams, {"step_m": settings.step_m, "calibration_version": version})
    cube["qc"] = xr.DataTree(quality.dataset(scans, correction))
    return cube


def _passage(scans: RawScans, bins: DepthBins) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64]]:
    """Return when the gas of each bin was seen and when its mud had gone in: means over its scans, NaT without any."""
    rows = np.flatnonzero(samples_of(scans, Stream.TRAP_GAS))
    at = bin_of(scans.registration.depth_m[rows], bins.depth_m)
    time = scans.dataset["time"].to_numpy()[rows]
    entered = scans.registration.entered
    went_in = np.full(rows.size, np.datetime64("NaT", "ns")) if entered is None else entered[rows]
    return _mean_times(time, at, bins.depth_m.size), _mean_times(went_in, at, bins.depth_m.size)


def _mean_times(time: NDArray[np.datetime64], at: NDArray[np.intp], size: int) -> NDArray[np.datetime64]:
    known = ~np.isnat(time)
    means = np.full(size, np.datetime64("NaT", "ns"))
    if not known.any():
        return means
    start = time[known][0]
    seconds = (time[known] - start).astype("timedelta64[ns]").astype(np.int64) / 1e9
    count = np.bincount(at[known], minlength=size)
    filled = count > 0
    mean_s = np.bincount(at[known], weights=seconds, minlength=size)[filled] / count[filled]
    means[filled] = start + (mean_s * 1e9).round().astype(np.int64).astype("timedelta64[ns]")
    return means


def _bins(scans: RawScans, settings: CubeSettings) -> dict[Stream, DepthBins]:
    bins: dict[Stream, DepthBins] = {}
    depth = scans.registration.depth_m
    for stream in Stream:
        samples = samples_of(scans, stream)
        if not samples.any():
            continue
        # Gas: all depths that its scans reach, also where only blanks were measured, so that gaps are seen.
        middles = np.unique(depth[samples])
        if not stream.discrete:
            middles = regular_bins(depth[scans.stream == stream.code], settings.step_m)
        bins[stream] = DepthBins.empty(middles, scans.mz.size)
    return bins


def _add_up(
    scans: RawScans,
    bins: dict[Stream, DepthBins],
    correction: Corrections,
    settings: CubeSettings,
    quality: QualityCounter,
) -> None:
    """Add every sample, corrected, to its bin: the second pass."""
    cleaned_blocks = clean_scans(scans, correction.columns, correction.noise, settings.calibration, settings.block_rows)
    for cleaned in cleaned_blocks:
        quality.add(scans, cleaned, correction)
        for stream, stream_bins in bins.items():
            chosen = np.flatnonzero(samples_of(scans, stream)[cleaned.block])
            if chosen.size:
                _add_samples(stream, stream_bins, scans, cleaned, chosen, correction, quality)
    for stream, stream_bins in bins.items():
        _mark_circulation(scans, stream, stream_bins)


def _add_samples(
    stream: Stream,
    stream_bins: DepthBins,
    scans: RawScans,
    cleaned: Cleaned,
    chosen: NDArray[np.intp],
    correction: Corrections,
    quality: QualityCounter,
) -> None:
    rows, mine = chosen + cleaned.block.start, cleaned.rows(chosen)
    at = bin_of(scans.registration.depth_m[rows], stream_bins.depth_m)
    drift = drift_of(scans, rows, correction.calibration, steadied=stream in correction.steadied)
    current, variance, common = scaled(mine, correction.gain[rows], correction.gain_variance[rows], drift)
    blank, shared, missing = _blank_for(stream, scans, rows, correction)
    quality.add_samples(stream, scans.time_s[rows], current - blank, variance, shared)
    stream_bins.add(at, current - blank, variance, shared + common, scans.registration.depth_error_m[rows])
    stream_bins.lose(at, mine.saturated)
    stream_bins.mark(at[missing], FLAGS.index("no_blank"))
    stream_bins.mark(at[mine.saturated.any(axis=1)], FLAGS.index("saturated"))
    stream_bins.mark(at[mine.carried.any(axis=1)], FLAGS.index("carry_over"))


def _blank_for(
    stream: Stream, scans: RawScans, rows: NDArray[np.intp], correction: Corrections
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return the blank of each sample scan, its variance, and where there is none (then nothing is subtracted)."""
    shape = (rows.size, scans.mz.size)
    missing = np.ones(rows.size, dtype=bool)
    if stream is Stream.CUTTINGS_CRUSH:
        if correction.backgrounds is None:
            return np.zeros(shape), np.zeros(shape), missing
        depth = scans.registration.depth_m[rows]
        at = bin_of(depth, correction.backgrounds.depth_m)
        missing = ~np.isclose(correction.backgrounds.depth_m[at], depth, atol=1e-6)
        blank = np.where(missing[:, None], 0.0, correction.backgrounds.intensity[at])
        return blank, np.where(missing[:, None], 0.0, correction.backgrounds.variance[at]), missing
    if stream not in correction.blanks:
        return np.zeros(shape), np.zeros(shape), missing
    blank, variance = correction.blanks[stream].at(scans.time_s[rows])
    return blank, variance, ~missing


def _mark_circulation(scans: RawScans, stream: Stream, bins: DepthBins) -> None:
    found = scans.registration
    mine = (scans.stream == stream.code) & (scans.kind == ScanKind.SAMPLE.code) & ~np.isnan(found.depth_m)
    for state, name in ((found.no_circulation, "no_circulation"), (found.off_bottom, "off_bottom")):
        rows = mine & state
        if rows.any():
            bins.mark(bin_of(found.depth_m[rows], bins.depth_m), FLAGS.index(name))
    bins.mark(np.flatnonzero(bins.scans == 0), FLAGS.index("no_scans"))


def _dataset(
    stream: Stream, bins: DepthBins, scans: RawScans, correction: Corrections, settings: CubeSettings
) -> xr.Dataset:
    mean, variance, error = bins.means()
    if settings.remove_blank:
        with np.errstate(invalid="ignore"):
            hot = (mean < -_HOT_SIGMAS * np.sqrt(variance)) & ~np.isin(scans.mz, AIR_MZ)
        bins.mark(np.flatnonzero(hot.any(axis=1)), FLAGS.index("hot_blank"))
    values = {
        "intensity": mean,
        "variance": variance,
        "depth": bins.depth_m,
        "mz": scans.mz,
        "scan_count": bins.scans,
        "depth_error": error,
        "shared_share": bins.shared_share(),
        "flag": bins.flag,
    }
    used = [str(int(scans.mz[column])) for column in correction.columns]
    if stream is Stream.CUTTINGS_CRUSH:
        blank = "cuttings_background of the same sample" if correction.backgrounds is not None else "none"
    else:
        blank = "bracketing blanks, linear in time" if stream in correction.blanks else "none"
    attributes = {
        "baseline": f"mean of m/z {', '.join(used)}" if used else "none",
        "blank": blank,
        "internal_standard": f"m/z {settings.internal_standard_mz}" if stream in correction.steadied else "none",
    }
    return make_dataset(CUBE, values, attributes)
