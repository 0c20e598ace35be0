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


def make_group(root: zarr.Group, name: str, variables: tuple[Variable, ...], fixed: Mapping[str, _Axis]) -> zarr.Group:
    """Make a group of empty arrays to append to; ``fixed`` gives the dimensions that do not grow."""
    group = root.create_group(name)
    for variable in variables:
        attributes: dict[str, Any] = variable.attributes()
        dtype = variable.dtype
        if dtype == TIME_DTYPE:
            dtype = "int64"
            attributes |= {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"}
        if len(variable.dims) > 1:
            attributes["coordinates"] = " ".join(one.name for one in variables if one.dims == variable.dims[:1])
        values = fixed.get(variable.name)
        shape = tuple(len(fixed[dim]) if dim in fixed else 0 for dim in variable.dims)
        rows = _ROWS_PER_CHUNK[len(shape)]
        array = group.create_array(
            variable.name,
            shape=shape,
            chunks=tuple(len(fixed[dim]) if dim in fixed else rows for dim in variable.dims),
            dtype=dtype,
            fill_value=np.nan if dtype.startswith("float") else 0,
            dimension_names=variable.dims,
            attributes=attributes,
        )
        if values is not None:
            array[:] = values
    return group


def append_rows(root: zarr.Group, name: str, values: Mapping[str, Any]) -> None:
    """Append rows to arrays of a group, by variable name."""
    for variable, array in values.items():
        given = np.asarray(array)
        if given.dtype.kind == "M":
            given = given.astype(TIME_DTYPE).astype(np.int64)
        target = array_of(root, f"{name}/{variable}")
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
