"""Readings of indicators: classes with their thresholds as data, and the intervals where a reading persists."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import combinations
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from nightwell.errors import InputError
from nightwell.wells.formula import Condition, parse_condition
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]

#: Fluids that classes stand for, each between its neighbours: what lies two steps apart contradicts.
FLUIDS = ("gas", "condensate", "oil", "residual_oil")

#: Code of a depth that no class of an exclusive classification holds.
UNCLASSIFIED = -1


@dataclass(frozen=True, slots=True)
class FluidClass:
    """One class: it holds where its condition on indicators holds.

    Parameters
    ----------
    name, condition, reading
        Name, condition on indicators, what it says.
    fluids
        Which of ``FLUIDS`` it stands for; none for a class that says something else. By them the methods are compared.
    """

    name: str
    condition: Condition
    reading: str
    fluids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Classification:
    """One version of one way to read indicators.

    Parameters
    ----------
    name, version, title, source
        As of a profile.
    exclusive
        True when a depth has the first class that holds, False when it has all that hold.
    only_where
        Condition without which no class holds; ``None`` for everywhere.
    streams
        Streams it is meant for.
    classes
        In order of precedence.
    across
        True when it reads indicators across streams, instead of those of each stream.
    """

    name: str
    version: int
    title: str
    source: str
    exclusive: bool
    only_where: Condition | None
    streams: tuple[Stream, ...]
    classes: tuple[FluidClass, ...]
    across: bool = False

    @property
    def identity(self) -> str:
        """Name and version as one word."""
        return f"{self.name}@{self.version}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the indicators it rests on."""
        conditions = [one.condition for one in self.classes]
        if self.only_where is not None:
            conditions.append(self.only_where)
        return tuple(dict.fromkeys(name for condition in conditions for name in condition.names))


@dataclass(frozen=True, slots=True)
class Interval:
    """Depths next to each other with one reading.

    Parameters
    ----------
    top_m, bottom_m
        First and last depth.
    readings
        The reading of each classification that says anything, by the classification's title.
    values
        Median over the interval of the total gas and of each indicator that the readings rest on; NaN when none was
        measured.
    dissent
        How the methods differ on the fluid, in words; empty where they do not.
    """

    top_m: float
    bottom_m: float
    readings: Mapping[str, str]
    values: Mapping[str, float]
    dissent: str = ""


def load_classifications(extra_dir: Path | str | None = None) -> tuple[Classification, ...]:
    """Load the classifications that ship and those of a directory, which replace those of the same name.

    Raises
    ------
    InputError
        A field is missing, or a condition is not one.
    """
    places: list[Traversable] = [files("nightwell.wells").joinpath("indicator_data")]
    if extra_dir is not None:
        places.append(Path(extra_dir))
    found: dict[str, Classification] = {}
    for place in places:
        for file in sorted((entry for entry in place.iterdir() if entry.name.endswith(".toml")), key=lambda e: e.name):
            for entry in tomllib.loads(file.read_text(encoding="utf-8")).get("classification", []):
                one = _classification(entry, f"classification {entry.get('name', '?')!r} in {file}")
                before = found.get(one.name)
                if before is not None and one.version <= before.version:
                    raise InputError(
                        f"classification {one.name!r} in {file}",
                        expected=f"field 'version' above {before.version}, or another name",
                        found=f"version {one.version}",
                        cause="results name classifications by name and version: one pair means one set of thresholds",
                        next_step="raise the version in the file",
                    )
                found[one.name] = one
    return tuple(found.values())


def classify(classification: Classification, indicators: xr.Dataset) -> NDArray[np.bool_]:
    """Tell which classes hold.

    Parameters
    ----------
    classification
        All of whose inputs are in ``indicators``.
    indicators
        As :func:`~nightwell.wells.indicators.indicator_dataset`.

    Returns
    -------
    ndarray
        bool (depth, class). Of an exclusive classification at most one class per depth. Where an indicator that a
        condition needs is missing or not detected, the condition does not hold.
    """
    names = indicators["indicator"].to_numpy().tolist()
    value = indicators["value"].to_numpy().astype(np.float64)
    inputs = {name: value[:, names.index(name)] for name in classification.inputs}
    holds = np.stack([one.condition.holds(inputs) for one in classification.classes], axis=1)
    if classification.only_where is not None:
        holds &= classification.only_where.holds(inputs)[:, None]
    if classification.exclusive:
        holds &= np.cumsum(holds, axis=1) == 1
    return holds


def interpretation_dataset(
    classifications: Iterable[Classification], indicators: xr.Dataset, stream: Stream | None
) -> xr.Dataset:
    """Classify every depth of a stream.

    Parameters
    ----------
    classifications
        Those of other streams, and those whose indicators are not there, are left out.
    indicators
        Of this stream.
    stream
        The stream; ``None`` for indicators across streams.

    Returns
    -------
    xarray.Dataset
        One variable per classification, uint16 bits (CF ``flag_masks``): bit k for class k; 0 for none.
    """
    known = set(indicators["indicator"].to_numpy().tolist())
    variables = {}
    for one in classifications:
        meant = one.across if stream is None else stream in one.streams and not one.across
        if not meant or not known.issuperset(one.inputs):
            continue
        holds = classify(one, indicators)
        bits = (holds << np.arange(len(one.classes))).sum(axis=1).astype(np.uint16)
        attributes = {
            "long_name": one.title,
            "flag_masks": [1 << k for k in range(len(one.classes))],
            "flag_meanings": " ".join(c.name for c in one.classes),
            "readings": [c.reading for c in one.classes],
            "fluids": [" ".join(c.fluids) for c in one.classes],
            "conditions": [c.condition.text for c in one.classes],
            "only_where": "" if one.only_where is None else one.only_where.text,
            "rests_on": list(one.inputs),
            "source": one.source,
            "version": one.version,
        }
        variables[one.name] = ("depth", bits, attributes)
    return xr.Dataset(variables, coords={"depth": indicators["depth"]})


def find_intervals(
    interpretation: xr.Dataset, indicators: xr.Dataset, *, leading: str = "haworth", min_thickness_m: float = 3.0
) -> tuple[Interval, ...]:
    """Find intervals with one reading of the leading classification.

    Parameters
    ----------
    interpretation, indicators
        Of one stream.
    leading
        The classification that cuts the intervals; the others are read over each interval by majority.
    min_thickness_m
        Single depths do not cut an interval: the reading of a depth is that of most of its neighbours within this
        thickness, and what is thinner still is joined to the interval above.

    Returns
    -------
    tuple of Interval
        Downwards; depths without a reading are left out.
    """
    if leading not in interpretation or interpretation.sizes["depth"] == 0:
        return ()
    depth = interpretation["depth"].to_numpy()
    codes = _majority(interpretation[leading].to_numpy(), depth, min_thickness_m)
    runs = _joined(_runs(codes), depth, min_thickness_m)
    return tuple(_interval(interpretation, indicators, depth, start, stop) for start, stop, code in runs if code)


def read_interval(interpretation: xr.Dataset, indicators: xr.Dataset, top_m: float, bottom_m: float) -> Interval | None:
    """Read one interval: of each classification the classes that hold in most of its depths; ``None`` without any."""
    depth = interpretation["depth"].to_numpy()
    start, stop = int(np.searchsorted(depth, top_m)), int(np.searchsorted(depth, bottom_m, side="right"))
    return _interval(interpretation, indicators, depth, start, stop) if stop > start else None


def classes_held(variable: xr.DataArray, start: int, stop: int) -> list[int]:
    """Return which classes of one classification hold in more than half of the depths of some rows."""
    bits = variable.to_numpy()[start:stop]
    return [k for k, mask in enumerate(variable.attrs["flag_masks"]) if np.mean((bits & mask) != 0) > 0.5]  # noqa: PLR2004 - a majority


def dissent_of(interpretation: xr.Dataset, start: int, stop: int) -> str:
    """Say how the methods differ on the fluid of some rows; empty where one fluid suits them all.

    A method stands for the fluids of all of its classes that hold in most of the rows. Two methods without a fluid in
    common differ; they contradict each other where even the nearest of their fluids have another between them.
    """
    held: dict[str, set[int]] = {}
    for variable in interpretation.data_vars.values():
        named = [str(text).split() for text in np.atleast_1d(variable.attrs.get("fluids", []))]
        fluids = {FLUIDS.index(one) for k in classes_held(variable, start, stop) if k < len(named) for one in named[k]}
        if fluids:
            held[str(variable.attrs["long_name"])] = fluids
    steps = [min(abs(a - b) for a in one for b in other) for one, other in combinations(held.values(), 2)]
    apart = max(steps, default=0)
    if apart == 0:
        return ""
    words = [
        f"{' or '.join(FLUIDS[k].replace('_', ' ') for k in sorted(fluids))} by {title}"
        for title, fluids in held.items()
    ]
    verb = "contradict each other" if apart > 1 else "differ"
    return f"The methods {verb}: {', '.join(words)}"


def _majority(codes: NDArray[np.uint16], depth: Floats, thickness_m: float) -> NDArray[np.uint16]:
    """Return the most frequent code among the neighbours of each depth, within ``thickness_m``."""
    spacing = float(np.median(np.diff(depth))) if depth.size > 1 else thickness_m
    window = 2 * (round(thickness_m / spacing) // 2) + 1  # odd: an even one would shift boundaries
    seen = np.unique(codes)
    votes = np.stack([uniform_filter1d((codes == code).astype(np.float64), window) for code in seen])
    majority: NDArray[np.uint16] = seen[np.argmax(votes, axis=0)]
    return majority


def _runs(codes: NDArray[np.uint16]) -> list[tuple[int, int, int]]:
    cuts = np.flatnonzero(np.diff(codes)) + 1
    starts = [0, *cuts.tolist()]
    stops = [*cuts.tolist(), codes.size]
    return [(start, stop, int(codes[start])) for start, stop in zip(starts, stops, strict=True)]


def _joined(runs: list[tuple[int, int, int]], depth: Floats, thickness_m: float) -> list[tuple[int, int, int]]:
    """Join thin runs to the run above, and runs that have become neighbours of their like."""
    joined: list[tuple[int, int, int]] = []
    for start, stop, code in runs:
        thin = depth[stop - 1] - depth[start] < thickness_m
        if joined and (thin or joined[-1][2] == code):
            joined[-1] = (joined[-1][0], stop, joined[-1][2])
        else:
            joined.append((start, stop, code))
    return joined


def _interval(interpretation: xr.Dataset, indicators: xr.Dataset, depth: Floats, start: int, stop: int) -> Interval:
    readings: dict[str, str] = {}
    rests_on: dict[str, None] = {}
    for variable in interpretation.data_vars.values():
        said = [variable.attrs["readings"][held] for held in classes_held(variable, start, stop)]
        if said:
            readings[str(variable.attrs["long_name"])] = " or ".join(said)
            rests_on |= dict.fromkeys(variable.attrs["rests_on"])
    names = indicators["indicator"].to_numpy().tolist()
    value = indicators["value"].to_numpy()[start:stop]
    if "total_gas" in names:
        rests_on["total_gas"] = None
    columns = {name: value[:, names.index(name)] for name in rests_on}
    values = {
        name: float(np.nanmedian(column)) if np.isfinite(column).any() else float("nan")
        for name, column in columns.items()
    }
    dissent = dissent_of(interpretation, start, stop)
    return Interval(float(depth[start]), float(depth[stop - 1]), readings, values, dissent)


def _classification(entry: Mapping[str, object], subject: str) -> Classification:
    try:
        classes = [dict(one) for one in entry["class"]]  # type: ignore[attr-defined]  # anything else is a TypeError
        streams = entry.get("streams", list(Stream))
        only_where = entry.get("only_where")
        return Classification(
            name=str(entry["name"]),
            version=int(str(entry["version"])),
            title=str(entry["title"]),
            source=str(entry["source"]),
            exclusive=bool(entry["exclusive"]),
            across=bool(entry.get("across", False)),
            only_where=None if only_where is None else parse_condition(str(only_where), subject=subject),
            streams=tuple(Stream(str(stream)) for stream in (streams if isinstance(streams, list) else [])),
            classes=tuple(
                FluidClass(
                    one["name"],
                    parse_condition(one["condition"], subject=subject),
                    one["reading"],
                    tuple(FLUIDS[FLUIDS.index(fluid)] for fluid in one.get("fluids", [])),
                )
                for one in classes
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            subject,
            expected="name, version, title, source, exclusive, and classes with name, condition, reading and, where"
            f" they stand for a fluid, fluids out of {', '.join(FLUIDS)}",
            found=f"{type(error).__name__}: {error}",
            cause="a field was left out or misspelt",
            next_step="correct the file; docs/indicators.md describes every field",
        ) from error
