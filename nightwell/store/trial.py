"""Try a live store: the whole life of a small volume under a prefix of its own, which is removed again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nightwell.errors import IntegrityError
from nightwell.store.location import StoreLocation
from nightwell.store.objects import Objects
from nightwell.store.pipeline import ingest
from nightwell.store.store import BackupStore
from nightwell.store.versions import Version, VersionDraft

_SIZE_BYTES = (5 << 20) + 4096  # not whole blocks: the tail is where stores and drivers err
_VOLUME = "nightwell-check"


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One check that passed."""

    check: str
    detail: str


def try_store(location: StoreLocation, on_result: Callable[[TrialResult], None] | None = None) -> list[TrialResult]:
    """Make a store under a prefix of its own, use it as backups do, and remove it.

    Parameters
    ----------
    location
        The store to try; its own prefix is not touched.
    on_result
        Called after each check.

    Raises
    ------
    NightwellError
        The first thing that does not hold.
    """
    trial = replace(location, prefix=f"{location.prefix}/nightwell-check-{secrets.token_hex(4)}".lstrip("/"))
    results: list[TrialResult] = []

    def passed(check: str, begun_s: float) -> None:
        results.append(TrialResult(check, f"{time.monotonic() - begun_s:.2f} s"))
        if on_result is not None:
            on_result(results[-1])

    with _removed(trial):
        begun_s = time.monotonic()
        with BackupStore.open(trial, create=True) as store:
            passed("answers, knows us, has the bucket, and keeps conditional writes", begun_s)
            data = np.frombuffer(np.random.default_rng().bytes(_SIZE_BYTES), dtype=np.uint8).copy()
            _back_up(store, data, "full", passed)
            data[: 2 << 20] = 0
            data[-100:] = 7
            version = _back_up(store, data, "changed", passed)
            begun_s = time.monotonic()
            if not store.verify(version).ok:
                raise _wrong("a version that verifies")
            passed("a version verifies", begun_s)
        begun_s = time.monotonic()
    passed("what was written is removed again", begun_s)
    return results


def _back_up(
    store: BackupStore, data: npt.NDArray[np.uint8], name: str, passed: Callable[[str, float], None]
) -> Version:
    begun_s = time.monotonic()
    draft = VersionDraft(
        volume=_VOLUME,
        size_bytes=len(data),
        run_id=f"trial-{name}",
        fencing_token=1,
        source="nightwell validate store",
        mode="direct",
    )
    writer = store.begin(draft)
    version = writer.commit(ingest(_Memory(data), writer))
    passed(f"a {name} version commits", begun_s)
    begun_s = time.monotonic()
    reader = store.open_version(version)
    try:
        if reader.read(0, len(data)) != data.tobytes():
            raise _wrong("the bytes that were written")
    finally:
        reader.close()
    passed(f"a {name} version reads back byte for byte", begun_s)
    return version


class _Memory:
    """A volume in memory, as the block pipeline reads one."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        self._data = data
        self.size_bytes = len(data)

    def open(self) -> _Memory:
        return self

    def read_into(self, offset_bytes: int, view: memoryview) -> None:
        view[:] = self._data.data[offset_bytes : offset_bytes + len(view)]

    def close(self) -> None:
        return


@contextmanager
def _removed(trial: StoreLocation) -> Iterator[None]:
    """Remove every object of the trial at the end, whatever came of it."""
    try:
        yield
    finally:
        objects = Objects(trial)
        objects.delete_all([info.key for info in objects.list("")])
        objects.close()


def _wrong(expected: str) -> IntegrityError:
    return IntegrityError(
        "the store under trial",
        expected=expected,
        found="something else",
        cause="the store changes or loses objects, or answers with stale ones",
        next_step="do not keep backups there before this is explained",
    )
