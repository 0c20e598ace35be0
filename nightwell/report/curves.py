"""Curves of a result as a log shows them: what is not detected is left out, and a pixel row is one median."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.wells.deconvolve import SpeciesFlag
from nightwell.wells.indicators import IndicatorFlag
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]

UNSEEN_SPECIES = (SpeciesFlag.BELOW_DETECTION | SpeciesFlag.MISSING_INPUT).value
UNSEEN_INDICATOR = (IndicatorFlag.NOT_DETECTED | IndicatorFlag.MISSING_INPUT | IndicatorFlag.BELOW_DETECTION).value


@dataclass(frozen=True, slots=True)
class LogCurve:
    """One curve against depth.

    Parameters
    ----------
    value
        float64 (depth,); NaN where it was not measured or not detected.
    sigma
        One-sigma; NaN where unknown.
    limit
        Detection limit; NaN where unknown.
    """

    value: Floats
    sigma: Floats
    limit: Floats


@dataclass(frozen=True, slots=True)
class StreamLog:
    """One stream of a result between two depths.

    Parameters
    ----------
    stream
        Which.
    depth
        float64 (depth,), m, increasing.
    group
        The stream's group, cut to these depths.
    """

    stream: Stream
    depth: Floats
    species: xr.Dataset
    indicators: xr.Dataset
    interpretation: xr.Dataset

    def curve(self, name: str) -> LogCurve | None:
        """Return a species or an indicator by name; ``None`` when the result has none of that name."""
        if name in self.species["species"].to_numpy().tolist():
            at = self.species["species"].to_numpy().tolist().index(name)
            flag = self.species["flag"].to_numpy()[:, at]
            return _curve(self.species, at, flag, UNSEEN_SPECIES)
        if name in self.indicators["indicator"].to_numpy().tolist():
            at = self.indicators["indicator"].to_numpy().tolist().index(name)
            flag = self.indicators["flag"].to_numpy()[:, at]
            return _curve(self.indicators, at, flag, UNSEEN_INDICATOR)
        return None


def stream_log(result: xr.DataTree, stream: Stream, top_m: float, bottom_m: float) -> StreamLog:
    """Cut one stream of a result to an interval of depths."""
    group = result[stream]
    depth = group["species"]["depth"].to_numpy()
    rows = np.flatnonzero((depth >= top_m) & (depth <= bottom_m))
    return StreamLog(
        stream,
        depth[rows],
        group["species"].to_dataset().isel(depth=rows).load(),
        group["indicators"].to_dataset().isel(depth=rows).load(),
        group["interpretation"].to_dataset().isel(depth=rows).load(),
    )


def across_of(result: xr.DataTree) -> xr.Dataset | None:
    """Return the indicators across streams; ``None`` where a result has none."""
    if "across" not in result.children or "indicators" not in result["across"].children:
        return None
    dataset = result["across/indicators"].to_dataset()
    return dataset if dataset.sizes.get("indicator", 0) and dataset.sizes.get("depth", 0) else None


def thin(depth: Floats, columns: Floats, rows: int) -> tuple[Floats, Floats]:
    """Take the median of neighbouring depths so that no more than ``rows`` are left.

    Parameters
    ----------
    depth
        float64 (depth,).
    columns
        float64 (depth, column).
    rows
        How many depths the paper can show.

    Returns
    -------
    depth, columns
        Medians; a group whose values are mostly missing is missing, so that single spikes of what is otherwise not
        detected do not draw a curve.
    """
    step = -(-depth.size // max(rows, 1))
    if step <= 1:
        return depth, columns
    padding = -depth.size % step
    padded = np.concatenate([columns, np.full((padding, columns.shape[1]), np.nan)]).reshape(-1, step, columns.shape[1])
    known = np.isfinite(padded)
    members = np.full(padded.shape[0], step)
    members[-1] -= padding
    middle = np.full((padded.shape[0], columns.shape[1]), np.nan)
    some = 2 * known.sum(axis=1) >= members[:, None]
    ordered = np.sort(padded, axis=1)  # NaN last
    count = known.sum(axis=1)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    pairs = np.stack([low, np.minimum(high, step - 1)], axis=1)
    middle[some] = np.take_along_axis(ordered, pairs, axis=1).mean(axis=1)[some]
    depths = np.concatenate([depth, np.full(padding, depth[-1])]).reshape(-1, step).mean(axis=1)
    return depths, middle


def _curve(dataset: xr.Dataset, at: int, flag: NDArray[np.uint8], unseen: int) -> LogCurve:
    value = dataset["value"].to_numpy()[:, at].astype(np.float64)
    sigma = dataset["sigma"].to_numpy()[:, at].astype(np.float64)
    limit = np.full(value.size, np.nan)
    if "detection_limit" in dataset:
        limit = dataset["detection_limit"].to_numpy()[:, at].astype(np.float64)
    return LogCurve(np.where((flag & unseen) != 0, np.nan, value), sigma, limit)
