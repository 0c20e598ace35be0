"""A volume behind a real NBD server, a store, and movers in real processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from nightwell.arrays.port import PairState
from nightwell.mover import program
from nightwell.mover.conversation import MoverConversation
from nightwell.mover.job import (
    ACCESS_KEY_VARIABLE,
    MOVER_MEMORY_BYTES,
    SECRET_KEY_VARIABLE,
    BackupJob,
    CopyMode,
    RestoreJob,
    StoreAddress,
    mover_command,
)
from nightwell.mover.lifeline import Lifeline
from nightwell.mover.output import EventOutput
from nightwell.nbd.server import NbdServer
from nightwell.nbd.wire import CHANGED, PAIR, Extent
from nightwell.servers.port import ServerHandle, ServerInfo, ServerSpec
from nightwell.servers.process import ProcessHandle, ProcessServers
from nightwell.store import BackupStore, StoreLocation, Version
from nightwell.testing.nbd import MemoryBackend, MemoryExports

BLOCK_BYTES = 4096
SIZE_BYTES = 4 << 20
VOLUME = "well-7"
STATES = tuple(PairState)  # in the order of their codes


class PairedVolume(MemoryBackend):
    """A volume in memory that tells a pair's state, and a change list when it has one.

    ``on_read`` is called before every read with the number of reads so far.
    """

    def __init__(self, size_bytes: int = SIZE_BYTES, *, read_only: bool = True) -> None:
        super().__init__(size_bytes, read_only=read_only)
        self.state: PairState | None = PairState.PSUS
        self.generation = 1
        self.changed: tuple[Extent, ...] | None = None
        self.reads = 0
        self.on_read: Callable[[int], None] = lambda _: None

    def fill(self, seed: int = 7) -> None:
        """Random bytes in the first three quarters, but for a block of zeros; the rest stays a hole."""
        data = np.random.default_rng(seed).integers(0, 256, self.size_bytes, dtype=np.uint8)
        data[BLOCK_BYTES : 2 * BLOCK_BYTES] = 0
        data[self.size_bytes * 3 // 4 :] = 0
        self.data[:] = data.tobytes()

    def read(self, offset_bytes: int, length_bytes: int) -> bytes | memoryview:
        self.on_read(self.reads)
        self.reads += 1
        return super().read(offset_bytes, length_bytes)

    def contexts(self) -> tuple[str, ...]:
        pair = () if self.state is None else (PAIR,)
        return (*super().contexts(), *pair, *(() if self.changed is None else (CHANGED,)))

    def extents(self, context: str, offset_bytes: int, length_bytes: int) -> Iterable[Extent]:
        if context == PAIR:
            assert self.state is not None
            return [Extent(offset_bytes, length_bytes, STATES.index(self.state) | self.generation << 8)]
        if context == CHANGED:
            assert self.changed is not None
            return self.changed
        return super().extents(context, offset_bytes, length_bytes)


def changed_blocks(*numbers: int) -> tuple[Extent, ...]:
    """A change list over the whole volume that names these blocks."""
    mask = np.zeros(SIZE_BYTES // BLOCK_BYTES, dtype=bool)
    mask[list(numbers)] = True
    return tuple(Extent(at * BLOCK_BYTES, BLOCK_BYTES, int(flag)) for at, flag in enumerate(mask))


@dataclass
class Rig:
    """Everything that a mover meets, and ways to run one."""

    location: StoreLocation
    servers: ProcessServers
    exports: Any = field(default_factory=MemoryExports)
    conversations: list[MoverConversation] = field(default_factory=list)
    handles: list[ServerHandle] = field(default_factory=list)
    _runs: int = 0

    def __post_init__(self) -> None:
        self.server = NbdServer(self.exports)
        self.server.start()

    def url(self, name: str = VOLUME) -> str:
        host, port = self.server.address
        return f"nbd://{host}:{port}/{name}"

    def volume(self, name: str = VOLUME, size_bytes: int = SIZE_BYTES, *, read_only: bool = True) -> PairedVolume:
        backend = PairedVolume(size_bytes, read_only=read_only)
        self.exports.backends[name] = backend
        return backend

    def store(self) -> BackupStore:
        return BackupStore.open(self.location)

    def versions(self) -> tuple[Version, ...]:
        with self.store() as store:
            return store.versions(VOLUME) if VOLUME in store.volumes() else ()

    def contents(self, version: Version) -> bytes:
        with self.store() as store, store.open_version(version) as reader:
            return reader.read(0, version.size_bytes)

    def produce(self) -> MoverConversation:
        """A mover in a process of its own."""
        self._runs += 1
        environment = credentials(self.location)
        spec = ServerSpec(f"vs-{self._runs}", f"run-{self._runs}", mover_command(), environment, MOVER_MEMORY_BYTES)
        return self._converse(self.servers.produce(spec))

    def produce_here(self) -> MoverConversation:
        """The same program on a thread of this process: nothing to start, for where the process is not the point."""
        self._runs += 1
        return self._converse(ThreadHandle(ServerInfo(f"vs-{self._runs}", "", "thread", alive=True), self.location))

    def _converse(self, handle: ServerHandle) -> MoverConversation:
        self.handles.append(handle)
        self.conversations.append(MoverConversation(handle, stall_timeout_s=60.0))
        return self.conversations[-1]

    @property
    def process(self) -> ProcessHandle:
        handle = self.handles[-1]
        assert isinstance(handle, ProcessHandle)
        return handle

    def backup_job(self, **changes: Any) -> BackupJob:
        job = BackupJob(
            run_id=f"run-{self._runs}",
            fencing_token=self._runs,
            volume=VOLUME,
            source=f"array-a/{VOLUME}",
            url=self.url(),
            store=address_of(self.location),
            mode=CopyMode.SPLIT,
            block_bytes=BLOCK_BYTES,
        )
        return replace(job, **changes)

    def restore_job(self, version: Version, **changes: Any) -> RestoreJob:
        job = RestoreJob(
            run_id=f"run-{self._runs}",
            volume=VOLUME,
            version_id=version.version_id,
            url=self.url("third"),
            store=address_of(self.location),
        )
        return replace(job, **changes)

    def back_up(self, *, here: bool = False, **changes: Any) -> Version:
        mover = self.produce_here() if here else self.produce()
        mover.start(self.backup_job(**changes))
        mover.wait_copied()
        version = mover.commit()
        assert self.handles[-1].wait(20) == 0, self.handles[-1].read_errors()
        return version

    def close(self) -> None:
        for info in self.servers.servers():
            self.servers.delete(info.server_id)
        for conversation in self.conversations:
            conversation.close()
        self.server.stop()


class ThreadHandle:
    """A mover on a thread, between two pipes."""

    def __init__(self, info: ServerInfo, location: StoreLocation) -> None:
        self.info = info
        job_end, stdin = os.pipe()
        stdout, self._event_end = os.pipe()
        self.stdin: IO[bytes] = os.fdopen(stdin, "wb")
        self.stdout: IO[bytes] = os.fdopen(stdout, "rb")
        self._jobs = os.fdopen(job_end, "rb")
        self._status: int | None = None
        self._environment = credentials(location)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> int | None:
        self._thread.join(timeout_s)
        return self._status

    def read_errors(self) -> str:
        return ""

    def _run(self) -> None:
        lifeline = Lifeline(self._jobs, end=lambda _: self._jobs.close())
        self._status = program.run(lifeline, EventOutput(self._event_end), self._environment)
        os.close(self._event_end)


def credentials(location: StoreLocation) -> dict[str, str]:
    return {ACCESS_KEY_VARIABLE: location.access_key, SECRET_KEY_VARIABLE: location.secret_key}


def address_of(location: StoreLocation) -> StoreAddress:
    return StoreAddress(location.endpoint_url, location.bucket, location.prefix, location.region)


def as_array(data: bytes | bytearray) -> npt.NDArray[np.uint8]:
    return np.frombuffer(bytes(data), dtype=np.uint8)
