"""Any order of writes, splits, resyncs, deaths and losses of power, against a model that is a few bytes strings."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from arrays.running import FragileArray, wait_state
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nightwell.arrays.embedded.change_map import CHUNK_BYTES
from nightwell.arrays.port import PairInfo, PairState

SIZE_BYTES = 5 * CHUNK_BYTES + 777
OFFSETS = st.integers(0, SIZE_BYTES - 1) | st.sampled_from([0, CHUNK_BYTES - 1, CHUNK_BYTES, SIZE_BYTES - 1])
LENGTHS = st.integers(1, 2 * CHUNK_BYTES) | st.sampled_from([1, CHUNK_BYTES, SIZE_BYTES])


class PairModel(RuleBasedStateMachine):
    """P and S as bytes strings beside a real array with one pair."""

    @initialize()
    def make(self) -> None:
        memory = Path("/dev/shm")
        self.directory = Path(tempfile.mkdtemp(prefix="nightwell-", dir=memory if memory.is_dir() else None))
        self.fragile = FragileArray(self.directory)
        for name in ("p", "s"):
            self.fragile.array.create_volume(name, SIZE_BYTES)
        self.p = bytearray(SIZE_BYTES)
        self.frozen: bytes | None = None
        self.points: dict[str, bytes] = {}
        self.fragile.array.create_pair("p", "s")
        wait_state(self.fragile.array, "p", PairState.PAIR)

    def info(self) -> PairInfo:
        info = self.fragile.array.pair_of("p")
        assert info is not None
        return info

    @rule(offset=OFFSETS, length=LENGTHS, value=st.integers(0, 255))
    def write(self, offset: int, length: int, value: int) -> None:
        data = bytes([value]) * min(length, SIZE_BYTES - offset)
        self.fragile.array._held.volume("p").write(offset, memoryview(data), fua=False)
        self.p[offset : offset + len(data)] = data

    @rule(offset=OFFSETS, length=LENGTHS, may_punch=st.booleans())
    def zero(self, offset: int, length: int, may_punch: bool) -> None:  # noqa: FBT001 - drawn by name
        length = min(length, SIZE_BYTES - offset)
        self.fragile.array._held.volume("p").zero(offset, length, may_punch=may_punch, fua=False)
        self.p[offset : offset + length] = bytes(length)

    @precondition(lambda self: self.frozen is None)
    @rule()
    def split(self) -> None:
        wait_state(self.fragile.array, "p", PairState.PAIR)
        (info,) = self.fragile.array.split(["p"])
        self.frozen = bytes(self.p)
        assert info.split_id is not None
        assert info.split_id not in self.points
        if info.previous_split_id is not None:
            self.check_list(self.points[info.previous_split_id])
        self.points[info.split_id] = self.frozen

    def check_list(self, before: bytes) -> None:
        assert self.frozen is not None
        changes = self.fragile.array._held.pairs["p"].pair.change_list
        assert changes is not None
        listed = {chunk for first, past in changes.runs() for chunk in range(first, past)}
        for chunk in range(changes.chunks):
            piece = slice(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES)
            assert chunk in listed or before[piece] == self.frozen[piece]

    @precondition(lambda self: self.frozen is not None)
    @rule()
    def resync(self) -> None:
        self.fragile.array.resync("p")
        self.frozen = None

    @rule()
    def die(self) -> None:
        self.fragile.die()
        self.fragile.revive()

    @rule()
    def lose_power(self) -> None:
        self.fragile.die()
        self.fragile.lose_power()
        self.fragile.revive()
        assert self.info().previous_split_id is None

    @rule()
    def stop_cleanly(self) -> None:
        self.fragile.array.close()
        self.fragile.revive()

    @invariant()
    def the_bytes_are_right(self) -> None:
        if not hasattr(self, "fragile"):
            return
        assert self.fragile.volume_bytes("p") == self.p
        if self.frozen is not None:
            assert self.info().state is PairState.PSUS
            assert self.fragile.volume_bytes("s") == self.frozen
        elif self.info().state is PairState.PAIR:
            assert self.fragile.volume_bytes("s") == self.p

    def teardown(self) -> None:
        if hasattr(self, "fragile"):
            self.fragile.array.close()
            shutil.rmtree(self.directory)


TestPairModel = PairModel.TestCase
TestPairModel.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
