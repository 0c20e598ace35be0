"""Read the species library that ships with nightwell, or one of the same layout.

Two CSV files in one directory, each row with its source:

``species.csv``
    ``species, formula, group, core, lump, peaks, source``. ``core`` is ``yes`` for the species that are looked for in
    every well; ``lump`` names the species that it is reported under; ``peaks`` are ``m/z:percent`` of the largest
    peak, at 70 eV.
``sensitivities.csv``
    ``species, relative_sensitivity, error_percent, source``: total ion current per amount, nitrogen = 1.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from nightwell.errors import InputError
from nightwell.wells.species import Species, SpeciesGroup, SpeciesLibrary, lump

SPECIES_COLUMNS = ("species", "formula", "group", "core", "lump", "peaks", "source")
SENSITIVITY_COLUMNS = ("species", "relative_sensitivity", "error_percent", "source")

Row = dict[str, str]


def load_library(directory: Path | None = None, *, core: bool = True, lumps: bool = True) -> SpeciesLibrary:
    """Load a species library.

    Parameters
    ----------
    directory
        Holds ``species.csv`` and ``sensitivities.csv``; ``None`` for the library that ships.
    core
        Only the species looked for in every well; ``False`` for all.
    lumps
        Whether species with a ``lump`` are reported as one; ``False`` keeps them apart (and the library may then be
        refused as unsolvable).

    Returns
    -------
    SpeciesLibrary
        In the order of the file.

    Raises
    ------
    InputError
        A column, a source, a sensitivity or a peak is missing or is not a number; the row is named.
    """
    place: Traversable = files("nightwell.wells").joinpath("data") if directory is None else directory
    sensitivities = {row["species"]: row for row in _rows(place / "sensitivities.csv", SENSITIVITY_COLUMNS)}
    gathered: dict[str, list[Species]] = {}
    names: dict[str, str | None] = {}
    for row in _rows(place / "species.csv", SPECIES_COLUMNS):
        if core and row["core"] != "yes":
            continue
        one = _species(row, sensitivities)
        key = (row["lump"] if lumps else "") or one.name
        gathered.setdefault(key, []).append(one)
        names[key] = row["lump"] if lumps and row["lump"] else None
    return SpeciesLibrary(tuple(lump(names[key], members) for key, members in gathered.items()))


def _rows(path: Traversable, columns: tuple[str, ...]) -> Iterator[Row]:
    reader = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    if tuple(reader.fieldnames or ()) != columns:
        raise _bad(path, f"columns {', '.join(columns)}", f"{', '.join(reader.fieldnames or ()) or 'none'}")
    for row in reader:
        if not row["source"]:
            raise _bad(path, "a source on every row", f"none for {row['species']}")
        yield row


def _species(row: Row, sensitivities: dict[str, Row]) -> Species:
    name = row["species"]
    if name not in sensitivities:
        raise _bad("sensitivities.csv", f"a row for {name}", "none")
    sensitivity = sensitivities[name]
    try:
        pairs = [pair.split(":") for pair in row["peaks"].split()]
        peaks = {int(peak_mz): float(percent) for peak_mz, percent in pairs}
        value, error_percent = float(sensitivity["relative_sensitivity"]), float(sensitivity["error_percent"])
        group = SpeciesGroup(row["group"])
    except ValueError as error:
        raise _bad("species library", f"numbers and a known group for {name}", str(error)) from error
    if not peaks or len(peaks) < len(pairs) or min(peaks.values()) <= 0 or min(peaks) < 1 or not value > 0:
        raise _bad("species library", f"positive, distinct peaks and a positive sensitivity for {name}", row["peaks"])
    total = math.fsum(peaks.values())
    return Species(
        name=name,
        formula=row["formula"],
        group=group,
        peaks=tuple((peak_mz, peaks[peak_mz] / total) for peak_mz in sorted(peaks)),
        sensitivity=value,
        sensitivity_error=error_percent / 100.0,
        members=(),
        source=row["source"],
        sensitivity_source=sensitivity["source"],
    )


def _bad(subject: object, expected: str, found: str) -> InputError:
    return InputError(
        f"{subject}",
        expected=expected,
        found=found,
        cause="the file was edited, or is of another layout",
        next_step="correct that row; the layout is described in nightwell/wells/species_file.py",
    )
