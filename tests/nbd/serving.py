"""What the tests of the NBD package share: running servers, tables of files, and waiting without sleeping blindly."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hypothesis import HealthCheck, settings

from nightwell.errors import NotFoundError
from nightwell.nbd.backend import Backend, ExportTable
from nightwell.nbd.file_backend import FileBackend
from nightwell.nbd.server import NbdServer
from nightwell.nbd.tls import TlsFiles

# A busy machine is no finding.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Served:
    server: NbdServer
    secure: bool = False

    def url(self, name: str) -> str:
        host, port = self.server.address
        return f"{'nbds' if self.secure else 'nbd'}://{host}:{port}/{name}"


class Serve(Protocol):
    def __call__(
        self,
        table: ExportTable,
        *,
        unix_path: Path | None = None,
        tls: TlsFiles | None = None,
        handshake_s: float = 10.0,
    ) -> Served: ...


class Files:
    """Serves the files of a directory by their names; those ending in ``.ro`` read-only."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self.directory.iterdir()))

    def open(self, name: str) -> Backend:
        if name not in self.names():
            raise NotFoundError(
                f"export {name!r}", expected="a file", found="no such file", cause="a test", next_step="look at it"
            )
        return FileBackend(self.directory / name, writable=not name.endswith(".ro"))


def eventually(condition: Callable[[], bool], *, within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)
