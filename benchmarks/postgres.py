"""A throw-away PostgreSQL server of this machine, reached by a Unix socket alone: for tests and benchmarks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from nightwell.local.process import LocalProcess
from nightwell.programs import program

USER = "nightwell"


class Postgres:
    """A running server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def url(self, driver: str, database: str) -> str:
        """Return the SQLAlchemy URL of a database, which is made when it does not exist."""
        made = [_program("createdb"), "-h", str(self.folder), "-U", USER, database]
        done = subprocess.run(made, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "already exists" in done.stderr, done.stderr
        return f"postgresql+{driver}://{USER}@/{database}?host={self.folder}"


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server in a folder of its own; as root, under a user of its own, since it refuses root."""
    # Not below a test's folder: a socket's path has at most 107 bytes, and the other user must be let through.
    with TemporaryDirectory(prefix="nightwell-pg-", dir="/tmp") as name:
        folder = Path(name)
        if os.getuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        initdb = [_program("initdb"), "-D", str(folder / "data"), "-U", USER, "--auth=trust", "--no-sync"]
        subprocess.run(_as_its_user(initdb), check=True, capture_output=True, cwd=folder)
        options = {"listen_addresses": "", "unix_socket_directories": name, "fsync": "on", "max_connections": "200"}
        server = [_program("postgres"), "-D", str(folder / "data")]
        server += [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        is_ready = [_program("pg_isready"), "-h", name, "-U", USER, "-d", "postgres"]
        with LocalProcess(_as_its_user(server), log=folder / "server.log", name="PostgreSQL") as process:
            process.wait_ready(lambda: subprocess.run(is_ready, capture_output=True, check=False).returncode == 0)
            yield Postgres(folder)


def _as_its_user(command: list[str]) -> list[str]:
    # The shell reads what follows as one command of that user's, with nothing of ours but the arguments.
    return ["runuser", "-u", "postgres", "--", *command] if os.getuid() == 0 else command


def _program(name: str) -> str:
    return str(program(name))
