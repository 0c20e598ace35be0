"""Standards: gases of known composition, named in a TOML document or in the group ``/standards`` of raw scans.

.. code-block:: toml

    [[standard]]
    name = "cylinder 12"        # as on its certificate
    stream = "trap_gas"         # scans of kind "standard" of this stream (and valve, when it is given) are of it
    valve = 5
    balance = "blank"           # the rest is what the blank of the stream breathes (air); "none": gases are all of it

    [[standard.gas]]
    species = "methane"
    ppm = 10000
    sigma_ppm = 100             # as on the certificate, one-sigma

A gas without ``ppm`` is there in an unknown amount: its sensitivity cannot be learned, its pattern can.
"""

from __future__ import annotations

import json
import tomllib
from enum import StrEnum
from pathlib import Path

import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nightwell.errors import InputError
from nightwell.wells.streams import ScanKind, Stream


class Balance(StrEnum):
    """What a standard holds besides its gases."""

    BLANK = "blank"
    NONE = "none"


class StandardGas(BaseModel):
    """One gas of a standard; ``ppm`` by volume, ``None`` for an unknown amount."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    species: str
    ppm: float | None = Field(default=None, gt=0, le=1e6)
    sigma_ppm: float = Field(default=0.0, ge=0)


class Standard(BaseModel):
    """One standard, and which scans are of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    stream: Stream = Stream.TRAP_GAS
    kind: ScanKind = ScanKind.STANDARD
    valve: int | None = None
    balance: Balance = Balance.BLANK
    gas: tuple[StandardGas, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Standard:
        names = [one.species for one in self.gas]
        if len(set(names)) < len(names):
            raise ValueError(f"a gas stands twice in standard '{self.name}'")
        if sum(one.ppm or 0.0 for one in self.gas) > 1.05e6:  # noqa: PLR2004 - humid air on dry amounts is above 1e6
            raise ValueError(f"the gases of standard '{self.name}' are more than the whole")
        return self

    @property
    def share(self) -> float:
        """Share of the sample that its gases are, from 0 to 1."""
        return min(sum(one.ppm or 0.0 for one in self.gas) / 1e6, 1.0)


class StandardsDocument(BaseModel):
    """All standards of a well."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    standard: tuple[Standard, ...] = ()


#: Dry air (NOAA), and moisture: the blank of a stream that breathes air is itself a standard. CO2 is left out: it is
#: that of the room, and too little to matter under the peaks of the others.
_AIR_PPM = {"nitrogen": 780_840.0, "oxygen": 209_460.0, "argon": 9_340.0, "water": None}


def air_standard(stream: Stream) -> Standard:
    """Return the blank of a stream as a standard: air, with 0.5 % for what moisture takes of it."""
    gases = tuple(StandardGas(species=name, ppm=ppm, sigma_ppm=0.005 * (ppm or 0.0)) for name, ppm in _AIR_PPM.items())
    return Standard(name="air of the blanks", stream=stream, kind=ScanKind.BLANK, balance=Balance.NONE, gas=gases)


def load_standards(path: Path | str) -> StandardsDocument:
    """Read a document of standards.

    Raises
    ------
    InputError
        The file is no TOML, or a field is missing, misspelt or out of range; the field is named.
    """
    try:
        return StandardsDocument.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad(f"standards {path}", "a TOML document", str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise _bad(f"standards {path}", f"a valid {place}", first["msg"]) from error


def standards_group(document: StandardsDocument) -> xr.Dataset:
    """Return the document as the group ``/standards`` of raw scans, so that it travels with them."""
    return xr.Dataset(attrs={"standards": json.dumps(document.model_dump(mode="json", exclude_none=True))})


def standards_of(tree: xr.DataTree) -> StandardsDocument:
    """Return the standards that raw scans carry; an empty document when they carry none (InputError when broken)."""
    if "standards" not in tree.children:
        return StandardsDocument()
    try:
        return StandardsDocument.model_validate_json(str(tree["standards"].attrs.get("standards", "")))
    except ValidationError as error:
        raise _bad("group '/standards'", "a document of standards", error.errors()[0]["msg"]) from error


def _bad(subject: str, expected: str, found: str) -> InputError:
    return InputError(
        subject,
        expected=expected,
        found=found,
        cause="the document was edited, or is of another layout",
        next_step="correct that field; docs/calibration.md shows a document",
    )
