"""Results for other programs: CSV with a sidecar, and stock Zarr."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import StringIO
from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import ConflictError
from nightwell.report.exported import Source, take_curves
from nightwell.report.las import flag_words
from nightwell.wells.streams import Stream
from nightwell.whole_file import written_whole

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CsvColumn:
    """One column of the CSV file, as the sidecar describes it."""

    name: str
    units: str
    description: str


def write_csv(result: xr.DataTree, path: str | PathLike[str], stream: Source = Stream.TRAP_GAS) -> Path:
    """Write one stream, or the indicators across streams, as CSV; beside it ``<name>.json`` says what a column is.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`.
    path
        The CSV file. Lines that begin with ``#`` (well, provenance, whether simulated) come first, then the names,
        then one line per depth; a missing value is empty.
    stream
        Whose curves; ``across`` for the indicators across streams. Each is a value, ``_UNC`` one-sigma, ``_LIM``
        detection limit (species) and ``_FLAG`` bits.

    Returns
    -------
    Path
        The CSV file.

    Raises
    ------
    InputError
        The result has no such stream, or no depths.
    """
    taken = take_curves(result, stream, "CSV file")
    columns = [(CsvColumn("depth", "m", "measured depth"), taken.depth)]
    if taken.species is not None:
        columns += _columns(taken.species, "species")
    seen = {column.name for column, _ in columns}  # an indicator that is one species stands there already
    columns += [one for one in _columns(taken.indicators, "indicator") if one[0].name not in seen]
    table = np.stack([values for _, values in columns], axis=1)
    # Amounts are float32: seven digits are all there is.
    formats = ["%.4f" if at == 0 else "%d" if c.name.endswith("_FLAG") else "%.7g" for at, (c, _) in enumerate(columns)]
    body = StringIO()
    np.savetxt(body, table, fmt=formats, delimiter=",")
    head = [*_comments(result, stream), ",".join(column.name for column, _ in columns)]
    text = "\n".join(head) + "\n" + body.getvalue().replace("nan", "")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(target.with_name(f"{target.name}.json")) as draft:
        draft.write_text(json.dumps(_sidecar(result, stream, [column for column, _ in columns]), indent=1) + "\n")
    with written_whole(target) as draft:
        draft.write_text(text, encoding="utf-8")
    return target


def write_zarr(result: xr.DataTree, path: str | PathLike[str]) -> Path:
    """Write a whole result as Zarr v3 in a folder that any Zarr reader opens.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`.
    path
        A folder that does not exist; it appears whole or not at all.

    Raises
    ------
    ConflictError
        Something is there.
    """
    target = Path(path)
    if target.exists():
        raise ConflictError(
            f"Zarr folder {target}",
            expected="no file or folder of that name",
            found="one",
            cause="an earlier export, or something else of value",
            next_step="give another name, or remove it yourself",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    encoding = {node.path: {str(name): {"chunks": tuple(max(size, 1) for size in variable.shape)}
                            for name, variable in node.to_dataset(inherit=False).variables.items() if variable.ndim}
                for node in result.subtree}  # fmt: skip
    try:
        result.to_zarr(draft, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _columns(dataset: xr.Dataset, dim: str) -> list[tuple[CsvColumn, Floats]]:
    found: list[tuple[CsvColumn, Floats]] = []
    for at, name in enumerate(dataset[dim].to_numpy().tolist()):
        own = "units" in dataset.coords
        units = str(dataset["units"].to_numpy()[at]) if own else str(dataset["value"].attrs.get("units", "ppm"))
        for suffix, variable, words, unit in (
            ("", "value", "", units),
            ("_UNC", "sigma", "one-sigma of ", units),
            ("_LIM", "detection_limit", "detection limit of ", units),
            ("_FLAG", "flag", "flags of ", ""),
        ):
            if variable in dataset:
                column = CsvColumn(f"{name}{suffix}", unit, f"{words}{str(name).replace('_', ' ')}")
                found.append((column, dataset[variable].to_numpy()[:, at].astype(np.float64)))
    return found


def _comments(result: xr.DataTree, stream: Source) -> list[str]:
    attributes = result.attrs
    lines = [f"well: {attributes['well']}", f"stream: {stream}"]
    if attributes.get("simulated"):
        lines.append("SIMULATED in part: see provenance")
    lines += [f"provenance: {attributes['provenance']}", f"made by: nightwell {attributes['software_version']}"]
    return [f"# {' '.join(str(line).split())}" for line in [*lines, *flag_words()]]


def _sidecar(result: xr.DataTree, stream: Source, columns: list[CsvColumn]) -> dict[str, object]:
    attributes = result.attrs
    inputs = attributes["inputs"]
    return {
        "well": str(attributes["well"]),
        "stream": str(stream),
        "simulated": bool(attributes.get("simulated")),
        "provenance": str(attributes["provenance"]),
        "instrument": str(attributes["instrument"]),
        "inputs": dict(inputs) if isinstance(inputs, Mapping) else str(inputs),
        "library_version": str(attributes["library_version"]),
        "profiles_version": str(attributes["profiles_version"]),
        "software_version": str(attributes["software_version"]),
        "missing": "empty field",
        "flags": list(flag_words()),
        "columns": [asdict(column) for column in columns],
    }
