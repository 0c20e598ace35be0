"""What is known of the hole besides the drilling series: its sections, carbide checks, how cuttings travel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.annulus import annulus_of, annulus_of_sections
from nightwell.wells.carbide import scale_of_checks
from nightwell.wells.channels import Header, parse_header
from nightwell.wells.container import make_dataset
from nightwell.wells.contract import CARBIDE, GEOMETRY
from nightwell.wells.delimited import numbers_of, read_text, split_table, times_of
from nightwell.wells.units import convert

_SECTION_COLUMNS = {
    "top": ("top", "from"),
    "bottom": ("bottom", "to", "base"),
    "hole_diameter": ("holediameter", "hole", "holesize", "innerdiameter", "id"),
    "pipe_diameter": ("pipediameter", "pipe", "pipeod", "outerdiameter", "od"),
}
_CHECK_COLUMNS = {"dropped": ("dropped", "start", "in"), "seen": ("seen", "peak", "out")}


@dataclass(frozen=True, slots=True)
class HoleFiles:
    """Files and facts of the hole; all optional.

    Parameters
    ----------
    sections
        CSV, from the surface down: top, bottom, hole diameter, pipe diameter, units in parentheses.
    carbide
        CSV of carbide checks: dropped, seen (UTC).
    transport_ratio
        Velocity of the cuttings over that of the mud.
    """

    sections: Path | None = None
    carbide: Path | None = None
    transport_ratio: float | None = None

    @property
    def any(self) -> bool:
        """Whether anything is known."""
        return any(one is not None for one in (self.sections, self.carbide, self.transport_ratio))


def add_hole(tree: xr.DataTree, files: HoleFiles) -> None:
    """Add what is known of the hole to raw scans, in place.

    Parameters
    ----------
    tree
        Raw scans.
    files
        What is known.

    Raises
    ------
    NotFoundError
        There is no such file.
    InputError
        A column is missing, a section or a check is impossible, or there is no drilling series to go with them.
    """
    if not files.any:
        return
    if "drilling" not in tree.children:
        raise InputError(
            "sections of the hole, carbide checks", expected="the rig's record in time to go with them", found="none",
            cause="without flow and bit depth nothing moves through the hole", next_step="give --drilling",
        )  # fmt: skip
    if files.sections is not None:
        tree["geometry"] = xr.DataTree(read_sections(files.sections))
    if files.transport_ratio is not None:
        tree["drilling"].attrs["cuttings_transport_ratio"] = float(files.transport_ratio)
    if files.carbide is not None:
        checks = read_checks(files.carbide)
        scale_of_checks(tree["drilling"].to_dataset(), annulus_of(tree), checks)  # refuses an impossible one now
        tree["carbide"] = xr.DataTree(checks)


def read_sections(path: Path) -> xr.Dataset:
    """Read the sections of a hole as group ``/geometry``; errors as :func:`add_hole`."""
    headers, cells = _table(path)
    at = _positions(path, headers, _SECTION_COLUMNS)
    values: dict[str, NDArray[np.float64]] = {}
    for name, position in at.items():
        subject = f"column '{headers[position].text}' of {path.name}"
        unit = headers[position].unit or ("m" if name in {"top", "bottom"} else "in")
        values[name] = convert(numbers_of(cells.iloc[:, position], subject=subject), unit, "m", subject=subject)
    annulus_of_sections(values["top"], values["bottom"], values["hole_diameter"], values["pipe_diameter"])
    return make_dataset(GEOMETRY, values)


def read_checks(path: Path) -> xr.Dataset:
    """Read carbide checks as group ``/carbide``; errors as :func:`add_hole`."""
    headers, cells = _table(path)
    at = _positions(path, headers, _CHECK_COLUMNS)
    values = {
        name: times_of(cells.iloc[:, position], subject=f"column '{headers[position].text}' of {path.name}")
        for name, position in at.items()
    }
    return make_dataset(CARBIDE, values)


def _table(path: Path) -> tuple[list[Header], pd.DataFrame]:
    text, _ = read_text(path)
    table = split_table(text, subject=f"file {path.name}")
    cells = table.iloc[1:].reset_index(drop=True)
    if cells.empty:
        raise InputError(
            f"file {path.name}", expected="at least one row", found="zero rows",
            cause="it holds the header only", next_step="add the rows",
        )  # fmt: skip
    return [parse_header(str(cell)) for cell in table.iloc[0]], cells


def _positions(path: Path, headers: list[Header], wanted: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    keys = [re.sub(r"[^a-z]", "", header.name.lower()) for header in headers]
    found = {name: next((at for at, key in enumerate(keys) if key in names), None) for name, names in wanted.items()}
    missing = [name for name, at in found.items() if at is None]
    if missing:
        listed = ", ".join(f"{name} (known as {', '.join(wanted[name])})" for name in missing)
        raise InputError(
            f"file {path.name}",
            expected=f"columns for {listed}",
            found=", ".join(repr(header.text) for header in headers),
            cause="the columns have other names",
            next_step="rename them, with the unit in parentheses",
        )
    return {name: at for name, at in found.items() if at is not None}
