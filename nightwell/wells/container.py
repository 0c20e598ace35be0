"""Build, write and open raw scans and cubes: Zarr v3, in a directory or in any store."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from fsspec.mapping import FSMap  # type: ignore[import-untyped]  # fsspec ships no types
from zarr.abc.store import Store
from zarr.errors import ContainsArrayError, ContainsGroupError
from zarr.storage import FsspecStore

from nightwell.errors import ConflictError, NotFoundError
from nightwell.wells.contract import DRILLING, GEOMETRY, SCANS, Origin, validate_cube, validate_scans
from nightwell.wells.streams import Stream
from nightwell.wells.variables import Variable

#: A directory, a Zarr store (Icechunk's and obstore's too), a mapping, or an fsspec mapping.
StoreLike = str | os.PathLike[str] | Store | MutableMapping[str, Any]

_ROWS_PER_CHUNK = 512
_ROWS_PER_SHARD = 8192
# Fixed time encoding: xarray's default counts from the first value, so an append would need another one.
_TIME_ENCODING = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian", "dtype": "int64"}


def make_dataset(
    variables: tuple[Variable, ...],
    values: Mapping[str, Any],
    attributes: Mapping[str, object] | None = None,
) -> xr.Dataset:
    """Make the dataset of one group from arrays.

    Parameters
    ----------
    variables
        The contract's lines: ``SCANS``, ``DRILLING``, ``GEOMETRY``, ``TRUTH`` or ``CUBE``.
    values
        Arrays by variable name, NumPy or dask, converted to the contract's dtype.
    attributes
        Attributes of the group.

    Returns
    -------
    xarray.Dataset
        One-dimensional variables are coordinates in scans and cubes, data in time series.
    """
    known = {variable.name for variable in variables}
    if unknown := set(values) - known:
        raise ValueError(f"not in the contract: {sorted(unknown)}")
    wide = any(len(variable.dims) > 1 for variable in variables)
    arrays: dict[str, xr.Variable] = {}
    coordinates: dict[str, xr.Variable] = {}
    for variable in variables:
        if variable.name not in values:
            continue
        array = values[variable.name]
        array = (
            array.astype(variable.dtype, copy=False) if hasattr(array, "astype") else np.asarray(array, variable.dtype)
        )
        made = xr.Variable(variable.dims, array, attrs=variable.attributes())
        is_coordinate = variable.name in variable.dims or (wide and len(variable.dims) == 1)
        (coordinates if is_coordinate else arrays)[variable.name] = made
    return xr.Dataset(arrays, coords=coordinates, attrs=dict(attributes or {}))


def make_scans(
    origin: Origin,
    scans: Mapping[str, Any],
    *,
    drilling: Mapping[str, Any] | None = None,
    gas_line_delay_s: float = 0.0,
    geometry: Mapping[str, Any] | None = None,
    truth: xr.Dataset | None = None,
) -> xr.DataTree:
    """Make a well's raw scans from arrays, validated.

    Parameters
    ----------
    origin
        Well, instrument and provenance.
    scans, drilling, geometry
        Arrays by variable name as in ``SCANS``, ``DRILLING`` and ``GEOMETRY`` of the contract.
    gas_line_delay_s
        Time the gas needs from the trap to the instrument.
    truth
        Simulated wells only: the composition the scans were made from.

    Raises
    ------
    InputError
        As :func:`~nightwell.wells.contract.validate_scans`.
    """
    groups = {
        "/": xr.Dataset(attrs=origin.as_attributes("scans")),
        "/scans": make_dataset(SCANS, scans),
    }
    if drilling is not None:
        groups["/drilling"] = make_dataset(DRILLING, drilling, {"gas_line_delay_s": float(gas_line_delay_s)})
    if geometry is not None:
        groups["/geometry"] = make_dataset(GEOMETRY, geometry)
    if truth is not None:
        groups["/truth"] = truth
    tree = xr.DataTree.from_dict(groups)
    validate_scans(tree)
    return tree


def make_cube(
    origin: Origin, streams: Mapping[Stream, xr.Dataset], attributes: Mapping[str, object] | None = None
) -> xr.DataTree:
    """Make a cube from one dataset per stream (each by ``make_dataset(CUBE, ...)``), validated.

    Raises
    ------
    InputError
        As :func:`~nightwell.wells.contract.validate_cube`.
    """
    groups = {"/": xr.Dataset(attrs=origin.as_attributes("cube") | dict(attributes or {}))}
    groups |= {f"/{stream}": dataset for stream, dataset in streams.items()}
    tree = xr.DataTree.from_dict(groups)
    validate_cube(tree)
    return tree


def write_scans(tree: xr.DataTree, store: StoreLike, *, overwrite: bool = False) -> None:
    """Write raw scans as Zarr v3; a directory appears whole or not at all.

    Parameters
    ----------
    tree
        Raw scans.
    store
        Where to write.
    overwrite
        Whether what stands there may be replaced.

    Raises
    ------
    InputError
        The tree breaks the contract; nothing is written.
    ConflictError
        Something stands there and ``overwrite`` is False.
    """
    _write(tree, store, validate_scans, overwrite=overwrite)


def write_cube(tree: xr.DataTree, store: StoreLike, *, overwrite: bool = False) -> None:
    """Write a cube as Zarr v3; parameters and errors as :func:`write_scans`."""
    _write(tree, store, validate_cube, overwrite=overwrite)


def open_scans(store: StoreLike, *, chunks: Mapping[str, int] | None = None) -> xr.DataTree:
    """Open raw scans; arrays are read when they are used.

    Parameters
    ----------
    store
        Where they stand.
    chunks
        Dask chunks by dimension (``{}``: the store's own); ``None`` for NumPy arrays without dask.

    Raises
    ------
    NotFoundError
        Nothing stands there.
    InputError, FormatError
        As :func:`~nightwell.wells.contract.validate_scans`.
    """
    return _open(store, chunks, validate_scans)


def open_cube(store: StoreLike, *, chunks: Mapping[str, int] | None = None) -> xr.DataTree:
    """Open a cube; parameters and errors as :func:`open_scans`."""
    return _open(store, chunks, validate_cube)


def _write(tree: xr.DataTree, store: StoreLike, validate: Callable[[xr.DataTree], None], *, overwrite: bool) -> None:
    validate(tree)
    encoding = {node.path: _encoding(node.to_dataset(inherit=False)) for node in tree.subtree}
    if not isinstance(store, str | os.PathLike):
        try:
            _write_zarr(tree, _as_zarr(store), encoding, overwrite=overwrite)
        except (ContainsArrayError, ContainsGroupError, FileExistsError) as error:
            raise _occupied(f"store of type {type(store).__name__}") from error
        return
    path = Path(store)
    if path.exists() and not overwrite:
        raise _occupied(f"directory {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        _write_zarr(tree, draft, encoding, overwrite=False)
        if path.exists():
            shutil.rmtree(path)
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_zarr(tree: xr.DataTree, store: Any, encoding: dict[str, dict[str, Any]], *, overwrite: bool) -> None:
    # Consolidated metadata are no part of the Zarr v3 specification yet.
    tree.to_zarr(store, mode="w" if overwrite else "w-", zarr_format=3, consolidated=False, encoding=encoding)


def _occupied(subject: str) -> ConflictError:
    return ConflictError(
        subject,
        expected="nothing there",
        found="data",
        cause="an earlier run wrote to the same place",
        next_step="name another place, or remove what is there",
    )


def _open(store: StoreLike, chunks: Mapping[str, int] | None, validate: Callable[[xr.DataTree], None]) -> xr.DataTree:
    if isinstance(store, str | os.PathLike) and not Path(store).joinpath("zarr.json").is_file():
        raise NotFoundError(
            f"directory {store}",
            expected="a Zarr v3 group (zarr.json)",
            found="none",
            cause="the path names another directory, or the well was not imported yet",
            next_step="name the directory that `well import` wrote",
        )
    tree = xr.open_datatree(_as_zarr(store), engine="zarr", consolidated=False, chunks=chunks)
    validate(tree)
    return tree


def _as_zarr(store: StoreLike) -> Any:
    if isinstance(store, FSMap):
        return FsspecStore.from_mapper(store)  # handed over as a mapping, zarr refuses the paths of the groups
    return store


def _encoding(dataset: xr.Dataset) -> dict[str, dict[str, object]]:
    encoding: dict[str, dict[str, object]] = {}
    for name, array in dataset.variables.items():
        if array.dtype.kind == "M":
            encoding[str(name)] = dict(_TIME_ENCODING)
        elif array.ndim > 1:
            encoding[str(name)] = _sharding(array.shape)
    return encoding


def _sharding(shape: tuple[int, ...]) -> dict[str, object]:
    """Chunks of some hundred rows (one read serves one block of depths), gathered into few objects."""
    *leading, rows, columns = (max(size, 1) for size in shape)
    chunk = min(_ROWS_PER_CHUNK, rows)
    shard = chunk * min(_ROWS_PER_SHARD // chunk, -(-rows // chunk))
    return {"chunks": (*leading, chunk, columns), "shards": (*leading, shard, columns)}
