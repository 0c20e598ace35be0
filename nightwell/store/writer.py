"""A version in the making: packs go up first, then one commit makes them a version."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import uuid4

import numpy as np
import zarr
from icechunk import VirtualChunkSpec
from zarr.codecs import ZstdCodec

from nightwell.store.blocks import block_count
from nightwell.store.digest import Digester, Digests
from nightwell.store.engine import Engine
from nightwell.store.index import BlockIndex, BlockNumbers, Places
from nightwell.store.layout import pack_key
from nightwell.store.objects import Objects
from nightwell.store.pack import Pack, PackBuilder
from nightwell.store.publish import publish
from nightwell.store.versions import BlockStatistics, Version, VersionDraft

#: zstd's fastest ordinary level: compression binds the copy, and higher levels save little on well data.
COMPRESSION_LEVEL = 1

_DELETES_AT_ONCE = 1000


class VersionWriter:
    """Collects the blocks of one new version. Threads may share it; ``commit`` and ``abort`` end it.

    Get one from :meth:`nightwell.store.store.BackupStore.begin`. Until ``commit`` nothing that it does can be seen in
    the store, apart from packs that nobody refers to.

    Parameters
    ----------
    draft
        What the run knows, with its block size settled.
    parent
        The version that the new one starts from.
    index
        The parent's index, as long as the new version; it becomes the new version's.
    """

    def __init__(
        self,
        draft: VersionDraft,
        *,
        parent: Version | None,
        engine: Engine,
        objects: Objects,
        digester: Digester,
        index: BlockIndex,
    ) -> None:
        if draft.block_bytes is None:
            raise ValueError("the draft's block size must be settled")
        self.draft = draft
        self.parent = parent
        self.block_bytes = draft.block_bytes
        self.size_bytes = draft.size_bytes
        self.blocks_total = block_count(draft.size_bytes, draft.block_bytes)
        self.digester = digester
        self.index = index
        self._engine = engine
        self._objects = objects
        # A second attempt of the same run must not write over packs that the first may still commit.
        self._source = f"{draft.run_id}-{uuid4().hex[:8]}"
        self._source_number = index.add_source(self._source)
        self._packs = 0
        self._bytes_stored = 0
        self._erased: list[BlockNumbers] = []
        self._lock = threading.Lock()
        self._committed: Version | None = None
        self._commit_began = False
        self._session = engine.writable()
        self._group = zarr.open_group(self._session.store, mode="a")
        self._prepare_blocks()

    @property
    def hint_counts_from_parent(self) -> bool:
        """Whether a change list that counts from the draft's previous split counts from the parent version."""
        previous = self.draft.previous_split_id
        return self.parent is not None and previous is not None and previous == self.parent.split_id

    @property
    def packs(self) -> int:
        """How many packs have been stored."""
        return self._packs

    @property
    def bytes_stored(self) -> int:
        """The bytes of all packs stored."""
        return self._bytes_stored

    def builder(self) -> PackBuilder:
        """Return what gathers blocks into packs of this version."""
        return PackBuilder(self._store_pack)

    def differs(self, numbers: BlockNumbers, digests: Digests) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return for each block whether its digest is another than the parent's."""
        return np.asarray((self.index.digests[numbers] != digests).any(axis=1))

    def erase(self, numbers: BlockNumbers) -> BlockNumbers:
        """Note blocks that are zeros; return those of them that were not in the parent.

        Their chunks are deleted from the new version: a reference left behind would bring old data back.
        """
        with self._lock:
            gone = numbers[self.index.digests[numbers].any(axis=1)]
            if len(gone):
                self.index.clear(gone)
                self._erased.append(gone)
        return gone

    def commit(self, statistics: BlockStatistics, *, point_in_time: bool | None = None) -> Version:
        """Make the blocks a version, in one step, and return it; a run that has one already gets that one.

        Parameters
        ----------
        statistics
            What the pipeline counted.
        point_in_time
            Whether the volume stood still while it was read; ``None`` for what the draft says.

        Raises
        ------
        FencedError
            The newest version was made under a higher fencing token.
        ConflictError
            Another run committed meanwhile; this run's blocks were compared with an older version.
        UnknownOutcomeError
            Whether the version exists cannot be told now; ask ``version_of_run`` later.
        """
        if self._committed is not None:
            return self._committed
        draft = self.draft if point_in_time is None else replace(self.draft, point_in_time=point_in_time)
        with self._lock:
            self._delete_erased()
            self.index.save(self._group)
            self._commit_began = True
        self._committed = publish(
            self._engine,
            self._session,
            draft,
            parent=self.parent,
            statistics=statistics,
            fingerprint=self.digester.fingerprint(self.index.digests),
            pack_keys=self._keys(),
            objects=self._objects,
        )
        return self._committed

    def abort(self) -> None:
        """Delete the packs of this attempt; they stay once a commit was tried, because it may yet have happened."""
        if not self._commit_began:
            self._objects.delete_all(self._keys())

    def _keys(self) -> list[str]:
        return [pack_key(self.draft.volume, self._source, number) for number in range(self._packs)]

    def _prepare_blocks(self) -> None:
        group: Any = self._group
        if "blocks" not in group:
            group.create_array(
                "blocks",
                shape=(self.size_bytes,),
                chunks=(self.block_bytes,),
                dtype="uint8",
                compressors=ZstdCodec(level=COMPRESSION_LEVEL),
                fill_value=0,
            )
        elif group["blocks"].shape != (self.size_bytes,):
            group["blocks"].resize((self.size_bytes,))

    def _store_pack(self, pack: Pack) -> None:
        key = pack_key(self.draft.volume, self._source, pack.number)
        self._objects.put(key, pack.buffer[: pack.used_bytes])
        numbers = pack.block_numbers()
        location = f"{self._engine.packs_url}{self._source}-{pack.number}.pack"
        chunks = [
            VirtualChunkSpec([number], location, offset, length)
            for number, offset, length in zip(pack.numbers, pack.offsets, pack.lengths, strict=True)
        ]
        digests = np.frombuffer(b"".join(pack.digests), dtype=np.uint8).reshape(len(numbers), -1)
        with self._lock:
            self._session.store.set_virtual_refs("blocks", chunks, validate_containers=False)
            self.index.set(numbers, digests, self._places(pack))
            self._packs = max(self._packs, pack.number + 1)
            self._bytes_stored += pack.used_bytes

    def _places(self, pack: Pack) -> Places:
        places = np.empty((len(pack.numbers), 4), dtype=np.uint32)
        places[:, 0] = self._source_number
        places[:, 1] = pack.number
        places[:, 2] = pack.offsets
        places[:, 3] = pack.lengths
        return places

    def _delete_erased(self) -> None:
        if not self._erased:
            return
        store = self._session.store
        numbers = np.concatenate(self._erased)
        self._erased.clear()

        async def delete() -> None:
            for first in range(0, len(numbers), _DELETES_AT_ONCE):
                keys = (f"blocks/c/{number}" for number in numbers[first : first + _DELETES_AT_ONCE])
                await asyncio.gather(*map(store.delete, keys))

        # A thread of its own: the caller's may be running an event loop already.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, delete()).result()
