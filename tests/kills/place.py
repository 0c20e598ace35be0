"""Where the processes of a kill test meet: a folder that says who runs, what has been struck and what went wrong."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kills.cases import Case

from nightwell.protocol import Site
from nightwell.servers.process import MARKER
from nightwell.servers.procfs import identify, is_running, markers
from nightwell.servers.record import read_record
from nightwell.settings import Settings, load_settings

PREFECT_PART = "prefect"
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of a world."""

    folder: Path

    @property
    def settings(self) -> Settings:
        """The settings of both sites."""
        return load_settings(self.folder / "nightwell.toml")

    @property
    def _case(self) -> Path:
        return self.folder / "case"

    def begin_case(self, case: Case) -> None:
        """Forget what the last case noted."""
        self._case.mkdir(exist_ok=True)
        for file in self._case.iterdir():
            file.unlink()
        (self._case / "case").write_bytes(pickle.dumps(case))

    def case(self) -> Case | None:
        """Return the case that is tried now, if one has begun."""
        file = self._case / "case"
        if not file.exists():
            return None
        case: Case = pickle.loads(file.read_bytes())
        return case

    # -- who runs ------------------------------------------------------------------------------------------------

    def note_process(self, name: str, pid: int) -> None:
        """Say which process plays a part now."""
        draft = self.folder / f".{name}.pid"
        draft.write_text(str(pid))
        draft.replace(self.folder / f"{name}.pid")

    def process(self, name: str) -> int:
        """Return which process plays a part."""
        return int((self.folder / f"{name}.pid").read_text())

    def server(self, run_id: str) -> int | None:
        """Return what this host runs for the virtual server of a run: runc, or with the engine `process` the mover."""
        record = read_record(self._server_folder(run_id))
        if record is None or record.process is None or not is_running(record.process):
            return None
        return record.process.pid

    def mover(self, run_id: str) -> int | None:
        """Return the mover of a run, if it has one that runs; of a machine, the machine."""
        server = self.server(run_id)
        first = self._server_folder(run_id) / "pid"  # as runc knows a container's first process
        return server if server is None or not first.exists() else int(first.read_text())

    def _server_folder(self, run_id: str) -> Path:
        return self.settings.servers_directory() / f"vs-{run_id}"

    def server_processes(self, server_id: str = "") -> list[int]:
        """Return the processes of this place's virtual servers, or of one of them."""
        status = self.settings.servers_directory().stat()
        mine = f"{status.st_dev}:{status.st_ino}:{server_id}"
        return [
            pid
            for pid, marker in markers(MARKER).items()
            if marker == mine or (not server_id and marker.startswith(mine))
        ]

    # -- what happened -------------------------------------------------------------------------------------------

    def once(self, name: str) -> bool:
        """Return whether this is the first time in this case."""
        try:
            os.close(os.open(self._case / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True

    def happened(self, name: str) -> bool:
        """Return whether something has happened in this case."""
        return (self._case / name).exists()

    def count(self, name: str) -> int:
        """Count one more, over all processes, and return how many there are."""
        with (self._case / name).open("ab") as file:
            file.write(b"x")
            file.flush()
            return file.tell()

    def note_wrong(self, text: str) -> None:
        """Note what must not be."""
        with (self._case / "wrong").open("a") as file:
            file.write(text + "\n")

    def wrongs(self) -> list[str]:
        """Return what was noted."""
        file = self._case / "wrong"
        return file.read_text().splitlines() if file.exists() else []


def kill(pid: int) -> None:
    """Kill a process with its session, and wait until it runs no more."""
    identity = identify(pid)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if identity is not None:
        wait_until(f"the end of process {pid}", lambda: not is_running(identity))


def kill_alone(pid: int) -> None:
    """Kill one process; for ourselves this is the last statement."""
    identity = identify(pid)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    if identity is not None:
        wait_until(f"the end of process {pid}", lambda: not is_running(identity))


def wait_until(what: str, holds: Callable[[], bool]) -> None:
    """Wait for something that has to come."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what} did not come within {_PATIENCE_S:.0f} s")
        time.sleep(0.005)


def worker_part(site: Site) -> str:
    """Return how a site's worker is called among the processes."""
    return f"{site}-worker"


def array_part(site: Site) -> str:
    """Return how a site's array is called among the processes."""
    return f"{site}-array"
