"""Real array processes, and arrays that die in this one."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from nightwell.arrays.embedded import ArrayClient
from nightwell.arrays.embedded.array import EmbeddedArray
from nightwell.arrays.port import Array, PairInfo, PairState
from nightwell.arrays.serving import ArraySettings

READY_S = 60.0


class RunningArray:
    """An array process of ours; ended with the block."""

    def __init__(self, name: str, directory: Path, *options: str, module: str = "nightwell.arrays.embedded") -> None:
        self.name = name
        self.module = module
        self.directory = directory
        self.options = options
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", self.module, "serve"]
        command += ["--name", self.name, "--directory", str(self.directory), *self.options]
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], READY_S)[0], "the array is not ready"
        self.ready = json.loads(self.process.stdout.readline())
        assert self.ready["ready"], self.ready
        self.client = ArrayClient(self.ready["control"], name=self.name)

    def kill(self) -> None:
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        self.process.terminate()
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.client.close()
        return code

    def volume_bytes(self, name: str) -> bytes:
        """Return a volume's bytes past the array, from its file."""
        return (self.directory / "volumes" / f"{name}.raw").read_bytes()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()


class Killed(BaseException):
    """The process ends here: nothing after this line is carried out."""


class FragileArray:
    """An array in this process that can be left as ``kill -9`` would leave it: nothing is flushed, saved or closed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.array = EmbeddedArray(ArraySettings("fragile", directory))

    def die(self) -> None:
        held = self.array._held
        for linked in held.pairs.values():
            linked.stop_copy()
        self.array._table.close()
        self.array.server.stop()
        held.close_files()
        os.close(self.array._lock_descriptor)

    def revive(self) -> EmbeddedArray:
        self.array = EmbeddedArray(ArraySettings("fragile", self.directory))
        return self.array

    def lose_power(self) -> None:
        """Make the record say that it was written under another run of the kernel."""
        path = self.directory / "state.json"
        record = json.loads(path.read_text())
        record["boot_id"] = "11111111-2222-3333-4444-555555555555"
        path.write_text(json.dumps(record))

    def volume_bytes(self, name: str) -> bytes:
        return (self.directory / "volumes" / f"{name}.raw").read_bytes()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.array._held.closed:
            self.array.close()


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} not within {timeout_s} s"
        time.sleep(0.002)


def wait_state(array: Array, volume: str, state: PairState) -> PairInfo:
    found: list[PairInfo] = []

    def reached() -> bool:
        info = array.pair_of(volume)
        assert info is not None
        assert state is PairState.PSUE or info.state is not PairState.PSUE, info.fault
        found[:] = [info]
        return info.state is state

    wait_until(reached, f"state {state}")
    return found[0]
