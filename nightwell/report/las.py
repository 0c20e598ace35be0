"""LAS 2.0: a result as every log viewer reads it, with ``_UNC`` and ``_FLAG`` curves beside each curve."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr
from lasio.las import LASFile
from lasio.las_items import HeaderItem
from numpy.typing import NDArray

from nightwell.report.exported import Exported, Source, take_curves
from nightwell.wells.deconvolve import SpeciesFlag
from nightwell.wells.indicators import IndicatorFlag
from nightwell.wells.streams import Stream
from nightwell.whole_file import written_whole

Floats = NDArray[np.float64]

#: Null value of the files.
NULL = -999.25

#: Mnemonics of real mud logs; a species not named here is written under its own name.
MNEMONICS: Mapping[str, str] = {
    "methane": "MTHA",
    "ethane": "ETHA",
    "ethylene": "ETYA",
    "propane": "PRPA",
    "propylene": "PRYA",
    "isobutane": "IBTA",
    "n_butane": "NBTA",
    "isopentane": "IPNA",
    "n_pentane": "NPNA",
    "n_hexane": "NHXA",
    "n_heptane": "NHPA",
    "n_octane": "NOCA",
    "benzene": "BENA",
    "toluene": "TOLA",
    "carbon_dioxide": "CO2A",
    "hydrogen_sulfide": "H2SA",
    "helium": "HELA",
    "hydrogen": "HYDA",
    "nitrogen": "NITA",
    "oxygen": "OXYA",
    "argon": "ARGA",
    "water": "H2OA",
}

_PROVENANCE_WIDTH = 160


@dataclass(frozen=True, slots=True)
class _Column:
    mnemonic: str
    unit: str
    description: str
    values: Floats


def write_las(result: xr.DataTree, path: str | PathLike[str], stream: Source = Stream.TRAP_GAS) -> Path:
    """Write one stream of a result, or its indicators across streams, as LAS 2.0.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`.
    path
        Where to; written whole or not at all.
    stream
        Whose curves; ``across`` for the indicators across streams.

    Returns
    -------
    Path
        The file. Missing values are ``NULL``; an indicator whose denominator is not detected is missing, and its
        ``_FLAG`` says so. The header names the versions of everything and says whether anything is simulated.

    Raises
    ------
    InputError
        The result has no such stream, no streams compared, or no depths.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(target) as draft:
        draft.write_text(las_text(result, stream), encoding="utf-8")
    return target


def las_text(result: xr.DataTree, stream: Source = Stream.TRAP_GAS) -> str:
    """Return the LAS file of one stream as text; parameters and errors as :func:`write_las`."""
    taken = take_curves(result, stream, "LAS file")
    columns = list(_unique(_columns(result, taken)))
    las = LASFile()  # type: ignore[no-untyped-call]  # lasio has no types
    _write_header(las, result, stream, taken.depth)
    for column in (_Column("DEPT", "M", "Measured depth", taken.depth), *columns):
        las.append_curve(column.mnemonic, taken.depth[:1], unit=column.unit, descr=column.description)  # type: ignore[no-untyped-call]  # as above
    return _with_data(las, taken.depth, columns)


def flag_words() -> Iterator[str]:
    """Yield the lines that explain the bits of ``_FLAG`` curves."""
    for kind, flags in (("species", SpeciesFlag), ("indicators", IndicatorFlag)):
        bits = ", ".join(f"{int(bit)} {str(bit.name).lower()}" for bit in flags)
        yield f"_FLAG of {kind}: sum of {bits}"


def _columns(result: xr.DataTree, taken: Exported) -> Iterator[_Column]:
    if "drilling" in result.children:
        drilling = result["drilling"].to_dataset()
        rate = np.interp(taken.depth, drilling["depth"].to_numpy(), drilling["rop"].to_numpy().astype(float))
        yield _Column("ROPA", "M/HR", "Rate of penetration", rate)
    species = taken.species
    if species is not None:
        unit = str(species["value"].attrs.get("units", "ppm")).upper()
        for at, name in enumerate(species["species"].to_numpy().tolist()):
            mnemonic = MNEMONICS.get(name, _mnemonic(name))
            yield from _three(species, at, mnemonic, unit, name.replace("_", " "))
    indicators = taken.indicators
    for at in range(indicators.sizes["indicator"]):
        words = {name: str(indicators[name].to_numpy()[at]) for name in ("curve", "units", "title", "version")}
        unit = "" if words["units"] == "1" else words["units"].upper()
        yield from _three(indicators, at, words["curve"], unit, f"{words['title']}, profile version {words['version']}")


def _three(dataset: xr.Dataset, at: int, mnemonic: str, unit: str, description: str) -> Iterator[_Column]:
    value, sigma, flag = (dataset[name].to_numpy()[:, at].astype(np.float64) for name in ("value", "sigma", "flag"))
    yield _Column(mnemonic, unit, description, value)
    yield _Column(f"{mnemonic}_UNC", unit, f"One-sigma of {mnemonic}", sigma)
    yield _Column(f"{mnemonic}_FLAG", "", f"Flags of {mnemonic}", flag)


def _unique(columns: Iterator[_Column]) -> Iterator[_Column]:
    """Leave out what stands already under the same name, as an indicator that is one species."""
    seen: set[str] = set()
    for column in columns:
        if column.mnemonic not in seen:
            seen.add(column.mnemonic)
            yield column


def _write_header(las: LASFile, result: xr.DataTree, stream: Source, depth: Floats) -> None:
    attributes = result.attrs
    steps = np.diff(depth)
    regular = steps.size > 0 and np.allclose(steps, steps[0], rtol=0, atol=1e-6)
    well = las.well
    well["STRT"] = _item("STRT", "M", float(depth[0]), "First depth")
    well["STOP"] = _item("STOP", "M", float(depth[-1]), "Last depth")
    well["STEP"] = _item("STEP", "M", float(steps[0]) if regular else 0.0, "Step, 0 when irregular")
    well["NULL"] = _item("NULL", "", NULL, "Null value")
    well["WELL"] = _item("WELL", "", _one_line(attributes["well"]), "Well")
    well["SRVC"] = _item("SRVC", "", f"nightwell {attributes['software_version']}", "Analysed by")
    inputs = attributes["inputs"]
    named = " ".join(f"{name}={value}" for name, value in inputs.items()) if isinstance(inputs, Mapping) else inputs
    for mnemonic, value, description in (
        ("STRM", stream, "Stream of the instrument, or streams compared"),
        ("SIMU", "YES" if attributes["simulated"] else "NO", "Whether any part is simulated, see Other"),
        ("INST", attributes["instrument"], "Instrument"),
        ("INPT", named, "Version ids of the inputs"),
        ("LIBV", attributes["library_version"], "Species library"),
        ("PROF", attributes["profiles_version"], "Indicator profiles"),
    ):
        las.params[mnemonic] = _item(mnemonic, "", _one_line(value), description)
    provenance = _one_line(attributes["provenance"])
    lines = [provenance[at : at + _PROVENANCE_WIDTH] for at in range(0, len(provenance), _PROVENANCE_WIDTH)]
    las.other = "\n".join(["Provenance", *lines, *flag_words()])


def _with_data(las: LASFile, depth: Floats, columns: list[_Column]) -> str:
    """Let lasio write the header, and write the numbers ourselves: lasio formats cell by cell, minutes for a well."""
    buffer = StringIO()
    las.write(buffer, version=2.0, STRT=float(depth[0]), STOP=float(depth[-1]), STEP=las.well["STEP"].value)  # type: ignore[no-untyped-call]  # as above
    header = buffer.getvalue().split("~ASCII")[0]
    table = np.stack([depth, *(column.values for column in columns)], axis=1)
    table = np.where(np.isfinite(table), table, NULL)
    flags = {at for at, column in enumerate(columns, start=1) if column.mnemonic.endswith("_FLAG")}
    pattern = " ".join("%d" if at in flags else "%.4f" if at == 0 else "%.6g" for at in range(table.shape[1]))
    body = StringIO()
    np.savetxt(body, table, fmt=pattern)
    names = " ".join(["DEPT", *(column.mnemonic for column in columns)])
    return f"{header}~ASCII {names}\n{body.getvalue()}"


def _item(mnemonic: str, unit: str, value: object, description: str) -> HeaderItem:
    return HeaderItem(mnemonic, unit, value, description)  # type: ignore[no-untyped-call]  # lasio has no types


def _mnemonic(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", name.upper())


def _one_line(value: object) -> str:
    return " ".join(str(value).split())
