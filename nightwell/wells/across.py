"""Indicators across streams: curves of several streams brought to the same depths, with sigma and detection carried.

Trap gas stands at every half metre, mud and cuttings at the depths of their samples. A profile says onto whose depths
the others are brought, by which rule, and how far away a depth may be (``align``); nothing is read from farther away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.wells.formula import split_name
from nightwell.wells.indicators import (
    Curve,
    Curves,
    Indicator,
    IndicatorFlag,
    applicable,
    evaluate,
    indicators_as_dataset,
)
from nightwell.wells.profiles import Alignment, AlignRule, Profile
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

#: Variables by which the inputs of indicators across streams travel beside the species of a block.
_CARRIED = ("across_value", "across_sigma", "across_detected", "across_saturated", "across_covariance")


@dataclass(frozen=True, slots=True)
class StreamCurves:
    """Curves of one stream at its own depths: float64 (depth,), increasing, m."""

    depth: Floats
    curves: Curves


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Which rows of a stream stand for each wanted depth.

    Parameters
    ----------
    upper, lower
        Rows; the same one where a single row stands for the depth.
    weight
        float64; share of the lower row.
    distance_m
        float64; how far the farther of the two is away; NaN where there is no row within the tolerance.
    """

    upper: Rows
    lower: Rows
    weight: Floats
    distance_m: Floats

    @property
    def found(self) -> NDArray[np.bool_]:
        """Where there is a row."""
        return np.isfinite(self.distance_m)


def find_neighbours(depth: Floats, usable: NDArray[np.bool_], wanted: Floats, alignment: Alignment) -> Neighbours:
    """Find the rows of a stream that stand for depths of another.

    Parameters
    ----------
    depth
        float64 (row,), increasing, m.
    usable
        bool (row,); rows without a spectrum stand for nothing.
    wanted
        float64 (depth,), m.
    alignment
        Rule and tolerance.

    Returns
    -------
    Neighbours
        By the rule: the nearest usable row, or those above and below (one row where it is at the wanted depth itself).
    """
    rows = np.flatnonzero(usable)
    if rows.size == 0:
        nothing = np.zeros(wanted.size, dtype=np.intp)
        return Neighbours(nothing, nothing, np.zeros(wanted.size), np.full(wanted.size, np.nan))
    known = depth[rows]
    at = np.searchsorted(known, wanted)
    lower, upper = np.minimum(at, rows.size - 1), np.maximum(at - 1, 0)
    exact = known[lower] == wanted
    if alignment.rule is AlignRule.NEAREST:
        nearest = np.where(np.abs(known[lower] - wanted) < np.abs(known[upper] - wanted), lower, upper)
        upper = lower = np.where(exact, lower, nearest)
        outside = np.zeros(wanted.size, dtype=bool)
    else:
        upper = np.where(exact, lower, upper)
        outside = ~exact & ((at == 0) | (at == rows.size))  # nothing above, or nothing below
    gap = known[lower] - known[upper]
    weight = np.where(gap > 0.0, (wanted - known[upper]) / np.where(gap > 0.0, gap, 1.0), 0.0)
    distance = np.maximum(np.abs(known[lower] - wanted), np.abs(known[upper] - wanted))
    distance[outside | (distance > alignment.tolerance_m)] = np.nan
    return Neighbours(rows[upper], rows[lower], weight, distance)


def align_curves(
    stream: StreamCurves, names: Iterable[str], wanted: Floats, alignment: Alignment
) -> tuple[Curves, Floats]:
    """Bring curves of one stream to other depths.

    Returns
    -------
    Curves
        At ``wanted``. Interpolated sigma and covariance are those of the weighted mean of two independent spectra;
        a value is detected where both are, so that half a detection is none.
    ndarray
        float64 (depth,), m: how far the farther row is away; NaN where there is none within the tolerance.
    """
    chosen = tuple(names)
    given = stream.curves.curves
    usable = np.logical_or.reduce([np.isfinite(given[name].value) for name in chosen])
    near = find_neighbours(stream.depth, usable, wanted, alignment)
    curves = {name: _aligned(given[name], near) for name in chosen}
    covariance = None
    if stream.curves.covariance is not None:
        place = [stream.curves.correlated.index(name) for name in chosen]
        block = stream.curves.covariance[:, place][:, :, place]
        by_upper, by_lower = _variance_weights(near)
        covariance = block[near.upper] * by_upper[:, None, None] + block[near.lower] * by_lower[:, None, None]
    return Curves(curves, covariance, chosen), near.distance_m


def across_dataset(profiles: Iterable[Profile], streams: Mapping[Stream, StreamCurves]) -> xr.Dataset:
    """Evaluate every profile across streams whose streams and inputs are there.

    Parameters
    ----------
    profiles
        Candidates; those of one stream only are passed over.
    streams
        What there is.

    Returns
    -------
    xarray.Dataset
        As :func:`~nightwell.wells.indicators.indicator_dataset`, on all depths onto which any of the profiles brings
        its streams, with ``distance`` (depth, indicator), m: how far away the farthest row was that it rests on.
        Flag 16: another stream has nothing within the tolerance; flag 32: not a depth of this indicator's own.
    """
    candidates = [profile for profile in profiles if profile.align is not None]
    chosen = [profile for profile in candidates if _computable(profile, streams)]
    grids = [streams[profile.align.onto].depth for profile in chosen if profile.align is not None]
    depth = np.unique(np.concatenate(grids)) if grids else np.empty(0)
    results, distances = [], []
    for profile in chosen:
        one, distance = _evaluated(profile, streams, depth)
        results.append(one)
        distances.append(distance)
    left_out = [profile.identity for profile in candidates if profile not in chosen]
    dataset = indicators_as_dataset(chosen, results, depth, left_out)
    table = np.stack(distances, axis=1).astype(np.float32) if distances else np.empty((0, 0), np.float32)
    attributes = {"units": "m", "long_name": "distance of the farthest depth that a value rests on"}
    dataset["distance"] = (("depth", "indicator"), table, attributes)
    alignments = [profile.align for profile in chosen if profile.align is not None]
    words = {"onto": [str(one.onto) for one in alignments], "rule": [str(one.rule) for one in alignments]}
    tolerance = np.array([one.tolerance_m for one in alignments])
    return dataset.assign_coords(
        {name: ("indicator", np.array(texts, dtype=object)) for name, texts in words.items()}
        | {"tolerance": ("indicator", tolerance, {"units": "m"})}
    )


def names_across(profiles: Iterable[Profile], stream: Stream) -> tuple[str, ...]:
    """Return the names (species, or ``mz57``) that profiles across streams ask of one stream."""
    asked = (split_name(name) for profile in profiles if profile.align is not None for name in profile.formula.names)
    return tuple(dict.fromkeys(name for of_stream, name in asked if of_stream is stream))


def carry(species: xr.Dataset, names: Iterable[str], of_species: Curves, of_currents: Curves) -> xr.Dataset:
    """Add to the species of one block what indicators across streams need of it; :func:`take` takes it off again."""
    pool = {**of_species.curves, **of_currents.curves}
    chosen = [name for name in names if name in pool]
    if not chosen:
        return species
    curves = [pool[name] for name in chosen]
    place = {name: of_species.correlated.index(name) for name in chosen if name in of_species.correlated}
    size = curves[0].value.size
    covariance = np.zeros((size, len(chosen), len(chosen)))
    within = [chosen.index(name) for name in place]
    if of_species.covariance is not None and place:
        at = list(place.values())
        covariance[:, np.array(within)[:, None], within] = of_species.covariance[:, np.array(at)[:, None], at]
    nowhere, unknown = np.zeros(size, dtype=bool), np.full(size, np.nan)
    dims = ("depth", "across")
    sigmas = [unknown if one.sigma is None else one.sigma for one in curves]
    saturated = [nowhere if one.saturated is None else one.saturated for one in curves]
    return species.assign(
        across_value=(dims, np.stack([one.value for one in curves], axis=1)),
        across_sigma=(dims, np.stack(sigmas, axis=1)),
        across_detected=(dims, np.stack([one.detected for one in curves], axis=1)),
        across_saturated=(dims, np.stack(saturated, axis=1)),
        across_covariance=(("depth", "across", "across_other"), covariance),
    ).assign_coords(across=np.array(chosen, dtype=object))


def take(species: xr.Dataset) -> tuple[xr.Dataset, StreamCurves]:
    """Take off what :func:`carry` added to blocks, now end to end."""
    depth = species["depth"].to_numpy()
    if "across" not in species.dims:
        return species, StreamCurves(depth, Curves({}))
    names = tuple(species["across"].to_numpy().tolist())
    value, sigma, detected, saturated, covariance = (species[name].to_numpy() for name in _CARRIED)
    curves = {
        name: Curve(value[:, k], sigma[:, k], detected[:, k], saturated[:, k]) for k, name in enumerate(names)
    }  # fmt: skip
    rest = species.drop_vars([*_CARRIED, "across"])
    return rest, StreamCurves(depth, Curves(curves, covariance, names))


def _computable(profile: Profile, streams: Mapping[Stream, StreamCurves]) -> bool:
    known = {f"{stream}.{name}" for stream, given in streams.items() for name in given.curves.curves}
    # A total may be short of inputs, but each stream that the formula names has to give something.
    each = all(any(name.startswith(f"{stream}.") for name in known) for stream in profile.streams)
    return each and applicable(profile, known)


def _evaluated(
    profile: Profile, streams: Mapping[Stream, StreamCurves], depth: Floats
) -> tuple[Indicator, Floats]:  # fmt: skip
    """Evaluate one profile at its own depths, and lay it on the common ones."""
    assert profile.align is not None, "chosen so"
    own = streams[profile.align.onto].depth
    merged: dict[str, Curve] = {}
    blocks: list[Floats] = []
    far = np.zeros(own.size)
    for stream in profile.streams:
        names = [name for of, name in map(split_name, profile.formula.names) if of is stream]
        names = [name for name in names if name in streams[stream].curves.curves]
        curves, distance = align_curves(streams[stream], names, own, profile.align)
        far = np.where(np.isnan(far) | np.isnan(distance), np.nan, np.maximum(far, distance))
        merged |= {f"{stream}.{name}": curve for name, curve in curves.curves.items()}
        blocks.append(np.zeros((own.size, len(names), len(names))) if curves.covariance is None else curves.covariance)
    one = evaluate(profile, Curves(merged, _block_diagonal(blocks), tuple(merged)))
    # A stream without a partner within the tolerance says nothing, whatever a total could make of the others.
    alone = np.isnan(far)
    value, sigma = np.where(alone, np.nan, one.value), np.where(alone, np.nan, one.sigma)
    flag = np.where(alone, IndicatorFlag.NO_PARTNER.value | IndicatorFlag.MISSING_INPUT.value, one.flag)
    at = np.searchsorted(depth, own)
    laid = Indicator(
        np.full(depth.size, np.nan),
        np.full(depth.size, np.nan),
        np.full(depth.size, IndicatorFlag.OTHER_DEPTH.value | IndicatorFlag.MISSING_INPUT.value, dtype=np.uint8),
    )
    laid.value[at], laid.sigma[at], laid.flag[at] = value, sigma, flag
    distances = np.full(depth.size, np.nan)
    distances[at] = far
    return laid, distances


def _aligned(curve: Curve, near: Neighbours) -> Curve:
    value = (1.0 - near.weight) * curve.value[near.upper] + near.weight * curve.value[near.lower]
    value = np.where(near.found, value, np.nan)
    sigma = None
    if curve.sigma is not None:
        by_upper, by_lower = _variance_weights(near)
        sigma = np.sqrt(by_upper * curve.sigma[near.upper] ** 2 + by_lower * curve.sigma[near.lower] ** 2)
    detected = curve.detected[near.upper] & curve.detected[near.lower] & near.found
    saturated = None
    if curve.saturated is not None:
        saturated = (curve.saturated[near.upper] | curve.saturated[near.lower]) & near.found
    return Curve(value, sigma, detected, saturated)


def _variance_weights(near: Neighbours) -> tuple[Floats, Floats]:
    return (1.0 - near.weight) ** 2, near.weight**2


def _block_diagonal(blocks: list[Floats]) -> Floats:
    size = sum(block.shape[1] for block in blocks)
    whole = np.zeros((blocks[0].shape[0], size, size))
    start = 0
    for block in blocks:
        stop = start + block.shape[1]
        whole[:, start:stop, start:stop] = block
        start = stop
    return whole
