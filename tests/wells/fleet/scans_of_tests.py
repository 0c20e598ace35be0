"""Scans that misbehave in a worker, and scans whose reads are counted; importable there, so that they can travel."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from nightwell.wells.container import open_scans
from nightwell.wells.fleet.find_stale import NEVER_ANALYSED, Need, WellNeed


class CountingStore(WrapperStore[LocalStore]):
    """Notes every read of a chunk: the key and the bytes asked for."""

    def __init__(self, folder: Path, notes: Path) -> None:
        super().__init__(LocalStore(folder, read_only=True))
        self.notes = notes

    def with_read_only(self, read_only: bool = False) -> CountingStore:  # noqa: FBT001, FBT002  zarr's signature
        return self

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        if not key.endswith("zarr.json"):
            with self.notes.open("a") as notes:
                notes.write(json.dumps([key, repr(byte_range)]) + "\n")
        return await super().get(key, prototype, byte_range)

    async def get_partial_values(self, prototype: BufferPrototype, key_ranges: Any) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]


@dataclass(frozen=True)
class ScansOfTest:
    """Raw scans in a folder, opened as the test says."""

    folder: Path
    well: str
    how: str = "well"
    notes: Path | None = None

    @property
    def name(self) -> str:
        return f"scans in {self.folder}"

    @property
    def inputs(self) -> Mapping[str, str]:
        return {"scans": f"of a test, {self.how}"}

    @property
    def identity(self) -> tuple[str, ...]:
        return ("scans",)

    @contextmanager
    def opened(self) -> Iterator[xr.DataTree]:
        if self.how == "kills its worker":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "kills its worker once":
            assert self.notes is not None
            with self.notes.open("a") as notes:
                notes.write(f"{os.getpid()}\n")
            if len(self.notes.read_text().splitlines()) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "is broken":
            raise ZeroDivisionError("no such number")
        if self.how == "counts":
            assert self.notes is not None
            yield open_scans(CountingStore(self.folder, self.notes))
            return
        yield open_scans(self.folder)

    def needed(self) -> WellNeed:
        return WellNeed(self, Need.COMPUTE, (NEVER_ANALYSED,), None, None)
