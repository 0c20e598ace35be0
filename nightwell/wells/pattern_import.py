"""Put a user's own patterns into a species library: the shipped one, with these species replaced or added."""

from __future__ import annotations

import csv
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from nightwell.errors import ConflictError, InputError
from nightwell.wells.pattern_file import Pattern
from nightwell.wells.species import SpeciesGroup
from nightwell.wells.species_file import SENSITIVITY_COLUMNS, SPECIES_COLUMNS, load_library

Row = dict[str, str]

_NUMBER = r"\d+(?:\.\d+)?"
_NEW = re.compile(rf"(?P<name>[^=]+)=(?P<group>\w+):(?P<sensitivity>{_NUMBER})(?::(?P<percent>{_NUMBER}))?")
_MIN_PERCENT = 0.1  # smaller peaks are noise of the library's own instrument


@dataclass(frozen=True, slots=True)
class NewSpecies:
    """What a pattern does not say of a species that the library does not have yet.

    Parameters
    ----------
    group
        Its group.
    sensitivity, error_percent
        Total ion current per amount, nitrogen = 1, and its error.
    """

    group: SpeciesGroup
    sensitivity: float
    error_percent: float = 30.0


def import_patterns(
    patterns: Iterable[Pattern],
    target: Path,
    *,
    base: Path | None = None,
    new: Mapping[str, NewSpecies] | None = None,
) -> tuple[str, ...]:
    """Write a species library in which these patterns stand; it appears whole or not at all.

    Parameters
    ----------
    patterns
        A pattern whose name is that of a species of ``base`` (small letters, ``_`` for blanks: ``n_butane``) replaces
        that species' pattern; group, sensitivity and lump stay.
    target
        Directory to write; it must not exist.
    base
        Directory of the library to begin from; by default the one that ships.
    new
        By name, what a species that ``base`` does not have needs besides its pattern.

    Returns
    -------
    tuple of str
        Names of the species replaced or added, in the order of ``patterns``.

    Raises
    ------
    ConflictError
        Something stands at ``target``.
    InputError
        A new species without a group and a sensitivity, a pattern twice, or one that the library refuses.
    """
    if target.exists():
        raise ConflictError(
            f"directory {target}", expected="nothing there", found="a file or directory",
            cause="an earlier import wrote to the same place", next_step="name another directory",
        )  # fmt: skip
    place: Traversable = files("nightwell.wells").joinpath("data") if base is None else base
    species = _rows(place / "species.csv")
    sensitivities = _rows(place / "sensitivities.csv")
    names = [_put(pattern, species, sensitivities, new or {}) for pattern in patterns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"patterns of {', '.join(twice)}", expected="one pattern per species", found="several",
            cause="a library holds replicate spectra", next_step="keep the best of each",
        )  # fmt: skip
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        draft.mkdir()
        _write(draft / "species.csv", SPECIES_COLUMNS, species.values())
        _write(draft / "sensitivities.csv", SENSITIVITY_COLUMNS, sensitivities.values())
        load_library(draft)  # what the analysis would refuse is refused now
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return tuple(names)


def new_species(text: str) -> tuple[str, NewSpecies]:
    """Return name and facts of a new species from ``name=group:sensitivity`` or ``name=group:sensitivity:percent``.

    Raises
    ------
    InputError
        Another form, or an unknown group.
    """
    match = _NEW.fullmatch(text.strip())
    if match is None or match["group"] not in tuple(SpeciesGroup):
        raise InputError(
            f"new species '{text}'",
            expected=f"name=group:sensitivity:percent, the group one of {', '.join(SpeciesGroup)}",
            found="another form" if match is None else f"group {match['group']}",
            cause="a part is missing or misspelt",
            next_step="give for example 1_hexene=liquid_petroleum:4.0:30",
        )
    facts = NewSpecies(SpeciesGroup(match["group"]), float(match["sensitivity"]))
    return species_name(match["name"]), replace(facts, error_percent=float(match["percent"] or facts.error_percent))


def species_name(name: str) -> str:
    """Return a compound's name as names of species are written: ``n-Butane`` is ``n_butane``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _put(
    pattern: Pattern, species: dict[str, Row], sensitivities: dict[str, Row], new: Mapping[str, NewSpecies]
) -> str:
    name = species_name(pattern.name)
    peaks = " ".join(f"{mz}:{percent:.4g}" for mz, percent in pattern.peaks if percent >= _MIN_PERCENT)
    if name in species and name not in new:
        species[name] |= {"peaks": peaks, "source": f"user pattern, {pattern.source}", "core": "yes"}
        return name
    facts = new.get(name)
    if facts is None or not pattern.formula:
        raise InputError(
            f"pattern '{pattern.name}'",
            expected=f"a species of the library, or for '{name}' a formula in the file, a group and a sensitivity",
            found="a species that the library does not have" + ("" if pattern.formula else ", without a formula"),
            cause="a pattern alone does not say how much current an amount gives",
            next_step=f"name its group and sensitivity (--new {name}=liquid_petroleum:3.5:30), or rename it",
        )
    species[name] = {
        "species": name, "formula": pattern.formula, "group": facts.group, "core": "yes", "lump": "", "peaks": peaks,
        "source": f"user pattern, {pattern.source}",
    }  # fmt: skip
    sensitivities[name] = {
        "species": name, "relative_sensitivity": f"{facts.sensitivity:g}",
        "error_percent": f"{facts.error_percent:g}", "source": "given with the pattern",
    }  # fmt: skip
    return name


def _rows(path: Traversable) -> dict[str, Row]:
    return {row["species"]: row for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())}


def _write(path: Path, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
