"""How acquired scans lie in their arrays: what one commit appends, and groups made to be appended to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

from nightwell.wells.variables import TIME_DTYPE, Variable

_Axis = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

# A commit rewrites the last chunk of each array, so chunks are shorter than those of scans written at once.
_ROWS_PER_CHUNK = {1: 256, 2: 16}


@dataclass(frozen=True, slots=True)
class ScanRow:
    """One scan as it is stored; ``intensity_a`` on the archive's whole m/z axis."""

    time: np.datetime64
    stream: int
    kind: int
    valve: int
    pressure_pa: float
    sample_depth_m: float
    flag: int
    intensity_a: np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without scans, or a sample that was missed; the fields are the contract's ``GAPS``."""

    start: np.datetime64
    end: np.datetime64
    reason: int
    stream: int = -1
    sample_depth_m: float = float("nan")


def array_of(root: zarr.Group, path: str) -> zarr.Array[Any]:
    """Return an array of a group, by its path."""
    found = root[path]
    assert isinstance(found, zarr.Array), f"{path} is no array"
    return found


def make_group(
    root: zarr.Group,
    name: str,
    variables: tuple[Variable, ...],
    fixed: Mapping[str, _Axis],
    *,
    optional: frozenset[str] = frozenset(),
) -> zarr.Group:
    """Make a group of empty arrays to append to.

    Parameters
    ----------
    root
        Where.
    name
        Name of the group.
    variables
        The contract's lines for it; the required ones are made.
    fixed
        Dimensions that do not grow, with their values.
    optional
        Names of optional variables that are made too; another one is made when it is first appended to.
    """
    group = root.create_group(name)
    for variable in variables:
        if variable.required or variable.name in optional:
            _make_array(group, variable, variables, fixed)
    return group


def _make_array(
    group: zarr.Group, variable: Variable, variables: tuple[Variable, ...], fixed: Mapping[str, _Axis], rows: int = 0
) -> None:
    attributes: dict[str, Any] = variable.attributes()
    dtype = variable.dtype
    if dtype == TIME_DTYPE:
        dtype = "int64"
        attributes |= {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    if len(variable.dims) > 1:
        attributes["coordinates"] = " ".join(one.name for one in variables if one.dims == variable.dims[:1])
    values = fixed.get(variable.name)
    shape = tuple(len(fixed[dim]) if dim in fixed else rows for dim in variable.dims)
    chunk_rows = _ROWS_PER_CHUNK[len(shape)]
    array = group.create_array(
        variable.name,
        shape=shape,
        chunks=tuple(len(fixed[dim]) if dim in fixed else chunk_rows for dim in variable.dims),
        dtype=dtype,
        fill_value=np.nan if dtype.startswith("float") else 0,
        dimension_names=variable.dims,
        attributes=attributes,
    )
    if values is not None:
        array[:] = values


def append_rows(root: zarr.Group, name: str, values: Mapping[str, Any], variables: tuple[Variable, ...] = ()) -> None:
    """Append rows to arrays of a group, by variable name.

    A number that was not told before, or is told no more, is NaN in the rows without it: ``variables`` are the
    contract's lines, of which an optional one is made when it is first told.
    """
    group = root[name]
    assert isinstance(group, zarr.Group), f"{name} is no group"
    first = next(iter(values))
    before, added = array_of(root, f"{name}/{first}").shape[0], len(values[first])
    for variable in variables:
        if variable.name in values and variable.name not in group:
            _make_array(group, variable, variables, {}, before)
        elif variable.name not in values and variable.name in group:
            array_of(root, f"{name}/{variable.name}").append(np.full(added, np.nan, dtype=variable.dtype))
    for told, array in values.items():
        given = np.asarray(array)
        if given.dtype.kind == "M":
            given = given.astype(TIME_DTYPE).astype(np.int64)
        target = array_of(root, f"{name}/{told}")
        target.append(given.astype(target.dtype, copy=False))


def scan_values(scan: ScanRow) -> dict[str, Any]:
    """Return a scan as rows of the group ``/scans``."""
    return {
        "intensity": scan.intensity_a[None, :],
        "time": [scan.time],
        "stream": [scan.stream],
        "kind": [scan.kind],
        "valve": [scan.valve],
        "pressure": [scan.pressure_pa],
        "sample_depth": [scan.sample_depth_m],
        "flag": [scan.flag],
    }


def gap_values(gaps: Sequence[Gap]) -> dict[str, Any]:
    """Return gaps as rows of the group ``/gaps``."""
    return {
        "start": [gap.start for gap in gaps],
        "end": [gap.end for gap in gaps],
        "reason": [gap.reason for gap in gaps],
        "stream": [gap.stream for gap in gaps],
        "sample_depth": [gap.sample_depth_m for gap in gaps],
    }
