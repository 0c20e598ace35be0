"""Rules for findings: every threshold of an interpretation, as data with a version and a source.

The rules that ship stand in ``indicator_data/rules.toml``; a file of the user's replaces one by a higher version. What
each rule is for, and its formula, stands in docs/interpretation.md.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import get_type_hints

from nightwell.errors import InputError
from nightwell.wells.streams import Stream


@dataclass(frozen=True, slots=True)
class Rule:
    """One version of one rule: ``version``, ``title`` and ``source`` as of a profile."""

    name: str
    version: int
    title: str
    source: str

    @property
    def identity(self) -> str:
        """Name and version as one word."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class BackgroundRule(Rule):
    """What is usual around a depth.

    Parameters
    ----------
    window_m
        Thickness of the interval, half of it above the depth, whose median is the background.
    least_values
        Values in the window without which there is no background.
    least_scatter
        Least one-sigma scatter of a background [log10 units]: below it, scatter is that of the measurement.
    """

    window_m: float
    least_values: int
    least_scatter: float


@dataclass(frozen=True, slots=True)
class ZoneRule(Rule):
    """Where gas stands out: a show.

    Parameters
    ----------
    streams, curve
        What is read.
    least_z, least_times
        How far above its background: in robust standard deviations, and as a multiple of it.
    least_amount
        Least value, in the curve's units.
    least_thickness_m, join_m
        Thinner is left out; shows nearer to each other are one.
    """

    streams: tuple[str, ...]
    curve: str
    least_z: float
    least_times: float
    least_amount: float
    least_thickness_m: float
    join_m: float


@dataclass(frozen=True, slots=True)
class RiseRule(Rule):
    """Where gas goes up and stays up.

    Parameters
    ----------
    stream, curve
        What is read.
    window_m, least_values
        What a segment is compared with: the median of this thickness above it, of at least so many values.
    least_times, least_amount
        As of zones, against what is above.
    least_thickness_m
        Thinner is left out.
    known_share
        Share of a rise that shows cover, from which it is not told again.
    """

    stream: str
    curve: str
    window_m: float
    least_values: int
    least_times: float
    least_amount: float
    least_thickness_m: float
    known_share: float


@dataclass(frozen=True, slots=True)
class ContactRule(Rule):
    """Where several log-ratios change together.

    Parameters
    ----------
    stream, curves
        What is read.
    agree, tolerance_m
        How many curves have to change, within which thickness.
    least_placed
        How many of these have to have values on both sides of it, so that they say where it is.
    step_m
        Curves are read as medians over steps of this thickness.
    least_segment_m
        Thinner segments are not sought.
    penalty
        Of a change point: ``penalty * scatter^2 * ln(steps)``.
    wander_penalty
        The same of a curve that wanders, times ``(1 + rho) / (1 - rho)^2`` with rho the correlation of neighbouring
        steps; the larger of the two counts.
    least_change
        Least change of the segment's median [log10 units].
    """

    stream: str
    curves: tuple[str, ...]
    agree: int
    tolerance_m: float
    least_placed: int
    step_m: float
    least_segment_m: float
    penalty: float
    wander_penalty: float
    least_change: float


@dataclass(frozen=True, slots=True)
class ProximityRule(Rule):
    """Where what water carries away from petroleum stands out.

    Parameters
    ----------
    streams, curves
        What is read.
    agree, least_z
        How many curves have to stand how many robust standard deviations above their background.
    least_thickness_m, join_m
        As of zones.
    reach_m
        How far below a show may be that the anomaly is said to announce.
    """

    streams: tuple[str, ...]
    curves: tuple[str, ...]
    agree: int
    least_z: float
    least_thickness_m: float
    join_m: float
    reach_m: float


@dataclass(frozen=True, slots=True)
class MetamorphismRule(Rule):
    """Where the bit made gas: the curve (an ethene share) is detected and at least ``least_share``.

    Parameters
    ----------
    streams, curve
        What is read.
    least_share
        Of ethene in ethene and ethane.
    least_detected
        Share of the depths of an interval in which it has to be so: noise gives single depths, which may lie near
        each other.
    least_thickness_m, join_m
        Thinner is left out; what is nearer to each other is one.
    """

    streams: tuple[str, ...]
    curve: str
    least_share: float
    least_detected: float
    least_thickness_m: float
    join_m: float


@dataclass(frozen=True, slots=True)
class RecycledRule(Rule):
    """Where gas may have gone round with the mud.

    Parameters
    ----------
    stream, curve
        What is read.
    least_recycled
        Of the share of recycled gas, where the analysis knows it.
    least_lag_m, greatest_lag_m
        Depth drilled during one circulation: how far below a show its echo is sought.
    least_likeness
        Correlation of the echo with the show.
    least_share, greatest_share
        Height of the echo over that of the show.
    """

    stream: str
    curve: str
    least_recycled: float
    least_lag_m: float
    greatest_lag_m: float
    least_likeness: float
    least_share: float
    greatest_share: float


@dataclass(frozen=True, slots=True)
class QualityRule(Rule):
    """What no reading may rest on.

    Parameters
    ----------
    greatest_ppm
        Above it a gas is absurd, and nothing is read at that depth.
    least_gap_m
        Thinner intervals without a value are not told.
    greatest_chi2
        Median chi2 per degree of freedom above which the library does not explain the spectra.
    """

    greatest_ppm: float
    least_gap_m: float
    greatest_chi2: float


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules."""

    background: BackgroundRule
    zone: ZoneRule
    rise: RiseRule
    contact: ContactRule
    proximity: ProximityRule
    metamorphism: MetamorphismRule
    recycled: RecycledRule
    quality: QualityRule

    def __iter__(self) -> Iterator[Rule]:
        """Iterate over the rules."""
        return (getattr(self, field.name) for field in fields(self))


_KINDS: Mapping[str, type[Rule]] = get_type_hints(Rules)


def load_rules(extra_dir: Path | str | None = None) -> Rules:
    """Load the rules that ship, and those of a directory, which replace those of the same name by a higher version.

    Raises
    ------
    InputError
        A field is missing, unknown or of the wrong type, the rule is not one, or its version is not new.
    """
    places: list[Traversable] = [files("nightwell.wells").joinpath("indicator_data")]
    if extra_dir is not None:
        places.append(Path(extra_dir))
    found: dict[str, Rule] = {}
    for place in places:
        for file in sorted((entry for entry in place.iterdir() if entry.name.endswith(".toml")), key=lambda e: e.name):
            for entry in _entries(file):
                rule = _rule(entry, f"rule {entry.get('name', '?')!r} in {file}")
                before = found.get(rule.name)
                if before is not None and rule.version <= before.version:
                    raise _refuse(
                        f"rule {rule.name!r} in {file}",
                        f"field 'version' above {before.version}",
                        f"version {rule.version}",
                        "results name rules by name and version, so one pair must mean one set of thresholds",
                    )
                found[rule.name] = rule
    return Rules(**found)  # type: ignore[arg-type]  # made by the very types of the fields


def _entries(file: Traversable) -> list[dict[str, object]]:
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8")).get("rule", [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _refuse(f"file {file}", "TOML", str(error), "a typing error in the file") from error
    if not isinstance(entries, list):
        raise _refuse(f"file {file}", "tables [[rule]]", "one table", "a typing error")
    return entries


def _rule(entry: Mapping[str, object], subject: str) -> Rule:
    kind = _KINDS.get(str(entry.get("name")))
    if kind is None:
        raise _refuse(subject, f"field 'name' among {', '.join(_KINDS)}", repr(entry.get("name")), "a misspelt name")
    wanted = get_type_hints(kind)
    for name in entry:
        if name not in wanted:
            raise _refuse(subject, f"fields {', '.join(wanted)}", f"field {name!r}", "a misspelt field")
    values = {name: _value(name, hint, entry, subject) for name, hint in wanted.items()}
    return kind(**values)  # type: ignore[arg-type]  # each was checked against the type of its field


def _value(name: str, hint: object, entry: Mapping[str, object], subject: str) -> object:
    value = entry.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and is_number and 0.0 < float(str(value)) < math.inf:
        return float(str(value))
    if hint is int and is_number and isinstance(value, int) and value > 0:
        return value
    words_given = value if isinstance(value, list) else [value]
    if name in {"stream", "streams"} and not all(one in tuple(Stream) for one in words_given):
        raise _refuse(subject, f"field '{name}': among {', '.join(Stream)}", repr(value), "a misspelt stream")
    if hint is str and isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value) and hint not in {str, int}:
        return tuple(value)
    words = {float: "a number above zero", int: "a whole number above zero", str: "a text"}
    expected = words[hint] if isinstance(hint, type) and hint in words else "a list of names"
    found = "nothing" if name not in entry else repr(value)
    raise _refuse(subject, f"field '{name}': {expected}", found, "the field was left out, or is of another kind")


def _refuse(subject: str, expected: str, found: str, cause: str) -> InputError:
    return InputError(
        subject,
        expected=expected,
        found=found,
        cause=cause,
        next_step="correct the file; docs/interpretation.md describes every rule and its fields",
    )
