"""Indicator profiles: versioned formulas in TOML files, each with its source and a control example that must pass.

A user adds an indicator by a file in a directory of their own; nothing in the library changes. The files that ship
are in ``indicator_data``; docs/indicators.md describes every field.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np

from nightwell.errors import InputError
from nightwell.wells.formula import Formula, Quantity, parse_formula, split_name
from nightwell.wells.streams import Stream

_FIELDS = {
    "name": str, "version": int, "title": str, "formula": str, "units": str, "group": str, "inputs": str,
    "source": str, "control": dict,
}  # fmt: skip
_OPTIONAL = {"streams": list, "curve": str, "meaning": str, "align": dict}
_CONTROL_TOLERANCE = 1e-6

#: Tables that a file of profiles may hold: indicators, how classes read them, and rules for findings.
TABLES = frozenset({"indicator", "classification", "rule"})


class IndicatorGroup(StrEnum):
    """What an indicator speaks of."""

    GASEOUS_PETROLEUM = "gaseous_petroleum"
    LIQUID_PETROLEUM = "liquid_petroleum"
    WATER_SOLUBLE_ORGANIC = "water_soluble_organic"
    INORGANIC = "inorganic"


class Inputs(StrEnum):
    """What the names in a formula stand for."""

    SPECIES = "species"  # names of the species library: amounts
    INTENSITY = "intensity"  # mz57, mz55, ...: ion currents, blank removed


class AlignRule(StrEnum):
    """How a curve of one stream is read at a depth of another."""

    NEAREST = "nearest"  # the nearest measured depth within the tolerance
    INTERPOLATED = "interpolated"  # linear between the measured depths above and below, each within the tolerance


@dataclass(frozen=True, slots=True)
class Alignment:
    """How the streams of one indicator are brought to the same depths.

    Parameters
    ----------
    onto
        The stream whose depths the indicator has.
    rule
        How the other streams are read there.
    tolerance_m
        Farthest that a depth of another stream may be away.
    """

    onto: Stream
    rule: AlignRule
    tolerance_m: float


@dataclass(frozen=True, slots=True)
class Profile:
    """One version of one indicator.

    Parameters
    ----------
    name, version
        Identity. A changed formula is a new version.
    title, units, meaning
        For people.
    formula
        Over names of species, or over ``mz<number>``; across streams, over ``stream.name``.
    group
        What it speaks of.
    inputs
        What the names in the formula stand for.
    source
        Who proposed it, where.
    streams
        Streams it is meant for, or made of when it is an indicator across streams.
    curve
        Mnemonic in LAS files.
    align
        For indicators across streams, how these meet; ``None`` for all others.
    """

    name: str
    version: int
    title: str
    formula: Formula
    units: str
    group: IndicatorGroup
    inputs: Inputs
    source: str
    streams: tuple[Stream, ...]
    curve: str
    meaning: str
    align: Alignment | None = None

    @property
    def identity(self) -> str:
        """Name and version as one word: ``haworth_wetness@1``."""
        return f"{self.name}@{self.version}"


def load_profiles(extra_dir: Path | str | None = None) -> tuple[Profile, ...]:
    """Load the profiles that ship and, after them, those of a directory.

    Parameters
    ----------
    extra_dir
        Directory of ``*.toml`` files. A profile there with the name of one that ships replaces it, if its version is
        higher.

    Returns
    -------
    tuple of Profile
        In the order of the files' names; each name once.

    Raises
    ------
    InputError
        A field is missing or wrong, the formula is not one, the control example does not give its value, or a version
        is not new.
    """
    places: list[Traversable] = [files("nightwell.wells").joinpath("indicator_data")]
    if extra_dir is not None:
        extra = Path(extra_dir)
        if not extra.is_dir():
            raise _refuse(f"directory {extra}", "a directory of profiles (*.toml)", "none", "the path is misspelt")
        places.append(extra)
    found: dict[str, Profile] = {}
    for place in places:
        for file in sorted((entry for entry in place.iterdir() if entry.name.endswith(".toml")), key=lambda e: e.name):
            for profile in read_profiles(file):
                _register(found, profile, str(file))
    return tuple(found.values())


def read_profiles(file: Traversable) -> tuple[Profile, ...]:
    """Read the profiles of one file, each checked against its control example (InputError)."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _refuse(f"file {file}", "TOML", str(error), "a typing error in the file") from error
    entries = document.get("indicator", [])
    unknown = set(document) - TABLES
    if unknown or not isinstance(entries, list):
        found = ", ".join(sorted(unknown)) or "one table"
        expected = "tables " + ", ".join(f"[[{name}]]" for name in sorted(TABLES))
        raise _refuse(f"file {file}", expected, found, "a typing error")
    return tuple(_profile(entry, f"indicator {entry.get('name', '?')!r} in {file}") for entry in entries)


def newest(profiles: Iterable[Profile]) -> Mapping[str, Profile]:
    """Return profiles by name."""
    return {profile.name: profile for profile in profiles}


def _register(found: dict[str, Profile], profile: Profile, place: str) -> None:
    before = found.get(profile.name)
    if before is not None and profile.version <= before.version:
        raise _refuse(
            f"indicator '{profile.name}' in {place}",
            f"a version above {before.version}, or another name",
            f"version {profile.version}",
            "the name is taken; results name profiles by name and version, so one pair must mean one formula",
        )
    found[profile.name] = profile


def _profile(entry: Mapping[str, object], subject: str) -> Profile:
    _check_fields(entry, subject)
    formula = parse_formula(str(entry["formula"]), subject=subject)
    try:
        group, inputs = IndicatorGroup(str(entry["group"])), Inputs(str(entry["inputs"]))
        streams = tuple(Stream(str(stream)) for stream in _list(entry.get("streams", list(Stream))))
    except ValueError as error:
        words = [*IndicatorGroup, *Inputs, *Stream]
        raise _refuse(subject, f"words among {', '.join(words)}", str(error), "a misspelt word") from error
    if inputs is Inputs.INTENSITY and not all(mz_of(split_name(name)[1]) for name in formula.names):
        raise _refuse(subject, "names like mz57", ", ".join(formula.names), "a species name in an m/z ratio")
    align = _alignment(entry, formula, subject)
    if not formula.names:
        raise _refuse(subject, "a formula with at least one input", repr(formula.text), "a constant is no indicator")
    profile = Profile(
        name=str(entry["name"]),
        version=int(str(entry["version"])),
        title=str(entry["title"]),
        formula=formula,
        units=str(entry["units"]),
        group=group,
        inputs=inputs,
        source=str(entry["source"]),
        streams=formula.streams or streams,
        curve=str(entry.get("curve", entry["name"])).upper(),
        meaning=str(entry.get("meaning", "")),
        align=align,
    )
    _check_control(profile, entry["control"], subject)
    return profile


def _alignment(entry: Mapping[str, object], formula: Formula, subject: str) -> Alignment | None:
    """Read the table ``align``: there exactly when the formula names streams."""
    names, streams = formula.names, formula.streams
    given = entry.get("align")
    if not streams:
        if given is not None:
            raise _refuse(subject, "no field 'align'", repr(given), "no name in the formula says its stream")
        return None
    bare = [name for name in names if split_name(name)[0] is None]
    if bare or len(streams) < 2:  # noqa: PLR2004 - across means two
        found = ", ".join(bare or names)
        raise _refuse(subject, "every name with its stream, and two streams or more", found, "a stream was left out")
    if "streams" in entry:
        raise _refuse(subject, "no field 'streams'", repr(entry["streams"]), "the formula says which streams it needs")
    table = given if isinstance(given, dict) else {}
    tolerance = table.get("tolerance_m")
    fits = isinstance(tolerance, int | float) and not isinstance(tolerance, bool) and 0.0 < tolerance < math.inf
    if set(table) != {"onto", "rule", "tolerance_m"} or not fits:
        expected = "field 'align' with onto, rule and tolerance_m (metres, above zero)"
        raise _refuse(subject, expected, repr(given), "streams have depths of their own: say how they meet")
    if table["onto"] not in streams or table["rule"] not in tuple(AlignRule):
        words = f"onto among {', '.join(streams)} and rule among {', '.join(AlignRule)}"
        raise _refuse(subject, f"field 'align' with {words}", repr(given), "a misspelt word")
    assert isinstance(tolerance, int | float), "checked above"
    return Alignment(Stream(str(table["onto"])), AlignRule(str(table["rule"])), float(tolerance))


def mz_of(name: str) -> int | None:
    """Return the m/z that a name like ``mz57`` stands for; ``None`` for any other name."""
    digits = name.removeprefix("mz")
    return int(digits) if name.startswith("mz") and digits.isascii() and digits.isdigit() else None


def _check_fields(entry: Mapping[str, object], subject: str) -> None:
    for name, kind in _FIELDS.items():
        value = entry.get(name)
        if not isinstance(value, kind) or value == "" or isinstance(value, bool):
            found = "nothing" if name not in entry else repr(value)
            raise _refuse(subject, f"field '{name}' of type {kind.__name__}", found, "the field was left out")
    for name, value in entry.items():
        if name not in _FIELDS and not isinstance(value, _OPTIONAL.get(name, ())):
            known = ", ".join([*_FIELDS, *_OPTIONAL])
            raise _refuse(subject, f"fields {known}", f"{name} = {value!r}", "a misspelt field")
    if not str(entry["name"]).isidentifier() or int(str(entry["version"])) < 1:
        found = f"{entry['name']} {entry['version']}"
        raise _refuse(subject, "a name of letters, digits and _, and a version from 1", found, "a typing error")


def _check_control(profile: Profile, control: object, subject: str) -> None:
    inputs = _flat(control.get("inputs")) if isinstance(control, dict) else None
    expected = control.get("value") if isinstance(control, dict) else None
    names = set(profile.formula.names)
    numbers = inputs is not None and all(isinstance(v, int | float) for v in inputs.values())
    if inputs is None or not numbers or not isinstance(expected, int | float) or set(inputs) != names:
        raise _refuse(
            subject,
            f"a control example with inputs {', '.join(profile.formula.names)} and a value",
            repr(control),
            "the control example was not kept in step with the formula",
        )
    quantities = {name: Quantity(np.array([float(str(value))]), {name: np.ones(1)}) for name, value in inputs.items()}
    got = float(profile.formula.evaluate(quantities).value[0])
    if not math.isclose(got, expected, rel_tol=_CONTROL_TOLERANCE):
        raise _refuse(
            subject, f"control example {expected:g}", f"{got:.9g}", "the formula or the control example has a mistake"
        )


def _flat(inputs: object) -> dict[str, object] | None:
    """Return the inputs of a control example by name: TOML reads ``trap_gas.methane = 1`` as a table in a table."""
    if not isinstance(inputs, dict):
        return None
    flat: dict[str, object] = {}
    for name, value in inputs.items():
        within = value.items() if isinstance(value, dict) else ()
        flat |= {f"{name}.{below}": number for below, number in within} or {name: value}
    return flat


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _refuse(subject: str, expected: str, found: str, cause: str) -> InputError:
    return InputError(
        subject,
        expected=expected,
        found=found,
        cause=cause,
        next_step="correct the file; docs/indicators.md describes every field",
    )
