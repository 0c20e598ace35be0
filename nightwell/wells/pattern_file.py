"""Read fragment patterns of a user's own: ``.msp`` libraries, and mass spectra as JCAMP-DX.

Both give the peaks of one or more compounds. They become rows of a species library of the layout that
:mod:`nightwell.wells.species_file` reads, by :mod:`nightwell.wells.pattern_import`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import jcamp  # type: ignore[import-untyped]  # ships no types

from nightwell.errors import InputError
from nightwell.wells.delimited import read_text

_HALF_MASS = 0.3  # labels farther from a whole m/z are a profile, an exact mass defect, or a doubly charged ion
_PAIR = re.compile(r"(\d+(?:\.\d*)?)[\s,:]+([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)")
_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d*)+")


@dataclass(frozen=True, slots=True)
class Pattern:
    """The pattern of one compound.

    Parameters
    ----------
    name, formula
        As the file gives them; the formula is empty when it gives none.
    peaks
        (m/z, percent of the largest peak), by increasing m/z, all above zero.
    source
        File, and what it says of the measurement.
    """

    name: str
    formula: str
    peaks: tuple[tuple[int, float], ...]
    source: str


def read_patterns(path: Path | str) -> tuple[Pattern, ...]:
    """Read patterns; the format is told by the content.

    Raises
    ------
    NotFoundError
        There is no such file.
    InputError
        Neither ``.msp`` nor JCAMP-DX, no compound, peaks at half masses, or none above zero; the compound is named.
    """
    path = Path(path)
    text, _ = read_text(path)
    if is_jcamp(text):
        return read_jcamp(text, source=path.name)
    if is_msp(text):
        return read_msp(text, source=path.name)
    raise _refuse(
        f"patterns {path.name}", "a library in .msp (Name:, Num Peaks:) or JCAMP-DX (##TITLE=)", repr(text[:30]),
        "the file is of another format", "export the spectra as .msp or JCAMP-DX",
    )  # fmt: skip


def is_jcamp(text: str) -> bool:
    """Tell whether a text is JCAMP-DX."""
    return re.match(r"\s*##\s*\w", text) is not None


def is_msp(text: str) -> bool:
    """Tell whether a text is an ``.msp`` library."""
    return re.search(r"^name\s*:", text, re.IGNORECASE | re.MULTILINE) is not None


def read_msp(text: str, *, source: str) -> tuple[Pattern, ...]:
    """Read an ``.msp`` library: ``Key: value`` lines, then ``Num Peaks: n`` and n pairs of m/z and height.

    Parameters
    ----------
    text
        The library; compounds begin with ``Name:``.
    source
        Name of the file.

    Raises
    ------
    InputError
        As :func:`read_patterns`; also when a compound has more or fewer pairs than it says.
    """
    found = []
    for block in re.split(r"^(?=name\s*:)", text, flags=re.IGNORECASE | re.MULTILINE):
        if not is_msp(block):
            continue
        fields: dict[str, str] = {}
        lines = iter(block.splitlines())
        for line in lines:
            key, _, value = line.partition(":")
            fields.setdefault(key.strip().lower(), value.strip())
            if key.strip().lower() == "num peaks":
                break
        pairs = [(float(mz), float(height)) for line in lines for mz, height in _PAIR.findall(_bare(line))]
        name = fields.get("name", "")
        said = fields.get("num peaks", "")
        if not said.isdigit() or int(said) != len(pairs):
            raise _refuse(
                f"compound '{name}' of {source}", f"{said or 'a number of'} peaks (Num Peaks:)", f"{len(pairs)}",
                "the compound was cut short, or its peaks are in another form", "export it again",
            )  # fmt: skip
        found.append(_pattern(name, fields.get("formula", ""), pairs, source))
    return tuple(found)


def read_jcamp(text: str, *, source: str) -> tuple[Pattern, ...]:
    """Read mass spectra from JCAMP-DX, blocks of a compound file each [McDonald1988, Lampen1994].

    Parameters
    ----------
    text
        The file.
    source
        Name of the file.

    Raises
    ------
    InputError
        As :func:`read_patterns`; also spectra of another kind (infrared), or damaged ones.
    """
    try:
        read = jcamp.read(BytesIO(text.encode()))
    except Exception as error:  # the package raises whatever its parsing meets
        raise _refuse(
            f"spectrum {source}", "JCAMP-DX that the package jcamp can read", f"{type(error).__name__}: {error}",
            "the file is damaged or cut short", "export it again",
        ) from error  # fmt: skip
    return tuple(_of_block(block, source) for block in read.get("children") or [read])


def _of_block(block: dict[str, object], source: str) -> Pattern:
    name = str(block.get("title", "")).strip()
    kind = str(block.get("data type", block.get("datatype", ""))).lower()
    if "mass" not in kind:
        raise _refuse(
            f"spectrum '{name}' of {source}", "##DATA TYPE=MASS SPECTRUM", kind or "no data type",
            "a spectrum of another kind", "give mass spectra at 70 eV",
        )  # fmt: skip
    x, y = (list(map(float, block.get(axis, ()))) for axis in ("x", "y"))  # type: ignore[call-overload]  # untyped package
    said = block.get("npoints", len(x))
    if said != len(x):  # the package reads on without a word
        raise _refuse(
            f"spectrum '{name}' of {source}", f"{said} peaks (##NPOINTS)", f"{len(x)}",
            "the file was cut short", "export it again",
        )  # fmt: skip
    formula = re.sub(r"[\s_^]", "", str(block.get("molform", "")))
    return _pattern(name, formula, list(zip(x, y, strict=True)), source)


def _pattern(name: str, formula: str, pairs: list[tuple[float, float]], source: str) -> Pattern:
    subject = f"compound '{name}' of {source}"
    heights: dict[int, float] = {}
    for mz, height in pairs:
        if abs(mz - round(mz)) > _HALF_MASS or mz < 1 or not math.isfinite(height) or height < 0:
            raise _refuse(
                subject, "heights of zero or more at whole m/z", f"{height:g} at m/z {mz:g}",
                "a profile, or doubly charged ions at half masses", "give a spectrum at unit resolution",
            )  # fmt: skip
        heights[round(mz)] = max(heights.get(round(mz), 0.0), height)
    largest = max(heights.values(), default=0.0)
    if not name or not largest > 0:
        raise _refuse(
            subject, "a name and at least one peak above zero", f"{len(heights)} peaks",
            "the entry holds no spectrum", "remove the entry",
        )  # fmt: skip
    peaks = tuple((mz, 100.0 * heights[mz] / largest) for mz in sorted(heights) if heights[mz] > 0)
    known = formula if _FORMULA.fullmatch(formula) else ""
    return Pattern(name, known, peaks, source)


def _bare(line: str) -> str:
    """Remove the annotations in quotes that some libraries put behind each peak."""
    return re.sub(r'"[^"]*"', " ", line)


def _refuse(subject: str, expected: str, found: str, cause: str, next_step: str) -> InputError:
    return InputError(subject, expected=expected, found=found, cause=cause, next_step=next_step)
