"""Write a tree of small arrays into a Zarr store in one go: what xarray leaves there, in a tenth of the time.

A result has some two hundred arrays of one chunk. xarray makes one after the other, with three or four round trips to
zarr's thread for each; here all documents and chunks are made first and handed over together. What is read back is the
same, which a test compares.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import xarray as xr
import zstandard
from xarray.conventions import encode_cf_variable, encode_dataset_coordinates
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype

#: To hand some fifty names or depths to a compressor takes longer than to write them.
_TOO_SMALL_TO_COMPRESS = 1024

#: Of zstd; documents name it 0, which means the same.
_LEVEL = 3

_ROOT = "zarr.json"


def write_tree(tree: xr.DataTree, store: Store) -> None:
    """Write a tree in place of everything that a store holds.

    Parameters
    ----------
    tree
        Datasets of numbers, times and text; each array becomes one chunk.
    store
        Any Zarr store; within an Icechunk session nothing is seen before its commit.
    """
    objects = dict(_objects(tree))
    # A thread of its own, because the caller's may be running an event loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _put(store, objects)).result()


async def _put(store: Store, objects: Mapping[str, bytes]) -> None:
    await store.clear()
    buffer = default_buffer_prototype().buffer
    documents = {key for key in objects if key.endswith(_ROOT)}
    for keys in (documents, objects.keys() - documents):  # Icechunk takes a chunk of an array that it knows
        await asyncio.gather(*(store.set(key, buffer.from_bytes(objects[key])) for key in keys))


def _objects(tree: xr.DataTree) -> Iterator[tuple[str, bytes]]:
    for node in tree.subtree:
        path = node.path.strip("/")
        below = f"{path}/" if path else ""
        variables, attributes = encode_dataset_coordinates(node.to_dataset(inherit=False))
        yield below + _ROOT, _document({"attributes": _plain(attributes), "node_type": "group"})
        for name, variable in variables.items():
            # Zarr has a type for true and false, which the conventions of CF lack.
            encoded = variable if variable.dtype.kind == "b" else encode_cf_variable(variable, name=name)
            yield from _array(f"{below}{name}", encoded)


def _array(path: str, variable: xr.Variable) -> Iterator[tuple[str, bytes]]:
    data = np.asarray(variable.data)
    attributes = dict(variable.attrs)
    text = data.dtype.kind in "OTU"
    fill: object = "" if text else (False if data.dtype.kind == "b" else 0)
    if "_FillValue" in attributes:
        fill = _plain_number(attributes.pop("_FillValue"))
        attributes["_FillValue"] = _encoded_fill(fill)
    compressed = data.size > _TOO_SMALL_TO_COMPRESS
    chunk = _lengths_and_texts(data.ravel().tolist()) if text else _little_endian(data)
    yield (
        f"{path}/{_ROOT}",
        _document(
            {
                "shape": list(data.shape),
                "data_type": "string" if text else str(data.dtype),
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(n, 1) for n in data.shape]}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "fill_value": _plain(fill),
                "codecs": _codecs(data, text=text, compressed=compressed),
                "attributes": _plain(attributes),
                "node_type": "array",
                "storage_transformers": [],
            }
            | ({"dimension_names": list(variable.dims)} if variable.dims else {})
        ),
    )
    if not _is_only(fill, data):  # a chunk that is not there reads as the fill value
        key = "/".join([path, "c", *("0" for _ in data.shape)])
        yield key, zstandard.compress(chunk, _LEVEL) if compressed else chunk


def _is_only(fill: object, data: np.ndarray[Any, Any]) -> bool:
    if isinstance(fill, float) and np.isnan(fill):
        return bool(np.isnan(data).all())
    return bool((data == fill).all())


def _codecs(data: np.ndarray[Any, Any], *, text: bool, compressed: bool) -> list[dict[str, object]]:
    codecs: list[dict[str, object]] = [{"name": "vlen-utf8", "configuration": {}}]
    if not text:
        codecs = [{"name": "bytes"} if data.itemsize == 1 else {"name": "bytes", "configuration": {"endian": "little"}}]
    if compressed:
        codecs.append({"name": "zstd", "configuration": {"level": 0, "checksum": False}})
    return codecs


def _lengths_and_texts(texts: list[str]) -> bytes:
    """Return what Zarr's codec ``vlen-utf8`` makes of texts."""
    encoded = [text.encode() for text in texts]
    return b"".join([struct.pack("<I", len(texts)), *(struct.pack("<I", len(one)) + one for one in encoded)])


def _little_endian(data: np.ndarray[Any, Any]) -> bytes:
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("<")).tobytes()


def _plain_number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _encoded_fill(value: object) -> object:
    """Return an attribute ``_FillValue`` as xarray writes it into Zarr: floats as base64 of their bytes."""
    return base64.standard_b64encode(struct.pack("<d", value)).decode() if isinstance(value, float) else value


def _document(node: dict[str, object]) -> bytes:
    return json.dumps({"zarr_format": 3, **node}, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    """Return attributes as JSON has them; Zarr writes numbers that JSON lacks as text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if np.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value
