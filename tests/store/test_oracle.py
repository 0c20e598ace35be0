"""Whatever is written between backups, each version equals the volume as it stood: held against plain copies."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from backups import BLOCK_BYTES, VOLUME, Data, back_up, contents, draft
from hypothesis import HealthCheck, given, settings
from s3 import fresh_prefix

from nightwell.store import BackupStore, StoreLocation

_BLOCKS = 12
_TAIL_BYTES = 1234

# What happens to one block: filled with a value, made zero, or one byte of it changed.
_changes = st.lists(
    st.tuples(st.integers(0, _BLOCKS), st.sampled_from(["fill", "zero", "touch"]), st.integers(1, 255)), max_size=8
)
_growth = st.integers(0, 2 * BLOCK_BYTES)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(history=st.lists(st.tuples(_changes, _growth), min_size=2, max_size=4))
def test_every_version_is_the_volume_as_it_stood(
    moto_server: StoreLocation, history: list[tuple[list[tuple[int, str, int]], int]]
) -> None:
    with BackupStore.open(fresh_prefix(moto_server), create=True) as store:
        volume = np.zeros(_BLOCKS * BLOCK_BYTES + _TAIL_BYTES, dtype=np.uint8)
        states: list[Data] = []
        for number, (changes, growth_bytes) in enumerate(history):
            volume = np.concatenate([volume, np.zeros(growth_bytes, dtype=np.uint8)])
            for change in changes:
                _apply(volume, *change)
            states.append(volume.copy())
            back_up(store, volume, draft(len(volume), f"run-{number}", block_bytes=None if number else BLOCK_BYTES))
        versions = store.versions(VOLUME)
        assert len(versions) == len(states)
        for version, state in zip(versions, states, strict=True):
            np.testing.assert_array_equal(contents(store, version), state)


def _apply(volume: Data, block: int, change: str, value: int) -> None:
    piece = volume[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
    if change == "touch":
        piece[value] = value
    else:
        piece[:] = value if change == "fill" else 0
