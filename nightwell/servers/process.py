"""The ``process`` driver: a virtual server is a process of this host, in a session and a directory of its own.

What is enforced, and what is not:

- memory: ``RLIMIT_DATA``, which counts the private memory that the program may write. An allocation beyond it fails
  inside the program. Unlike ``RLIMIT_AS`` it does not count mapped files or reserved addresses, of which threads take
  much and use little. The program's read-only code and the page cache are not limited.
- processors: best effort, by affinity to ``cpus`` of the processors that the producer may use.
- the environment: only what programs need to start (see ``INHERITED``) and what the spec gives. Home and temporary
  directories are the server's own, so no credentials file of the host's user is met by accident.
- not enforced: the number of processes, files and network. A program can read what its user can read, and reach what
  its host can reach; the drivers ``runc`` and ``qemu`` close that.

No state is held in memory but the children to reap. A server is found again by its record and by a marker in its
environment that its descendants inherit, so there is no moment at which a dead producer leaves something unfindable.
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO
from zlib import crc32

from nightwell.errors import ConflictError, InputError, NotFoundError
from nightwell.servers import procfs
from nightwell.servers.port import Isolation, Limit, ServerHandle, ServerInfo, ServerSpec
from nightwell.servers.record import RECORD_NAME, ServerRecord, read_record, write_record

INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
MARKER = "NIGHTWELL_SERVER"

Leader = procfs.ProcessIdentity | None

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
ERRORS_NAME = "stderr.log"
_ERRORS_BYTES = 8 << 10
_END_TIMEOUT_S = 10.0

# Reaping is an affair between this process and the kernel, whatever driver object asks for it.
_children: dict[str, subprocess.Popen[bytes]] = {}  # by marker: a process id may be handed out again


class ProcessHandle:
    """A running program as its producer holds it; see :class:`~nightwell.servers.port.ServerHandle`."""

    def __init__(self, info: ServerInfo, child: subprocess.Popen[bytes], errors: Path) -> None:
        if child.stdin is None or child.stdout is None:
            raise ValueError("the child has no pipes")
        self.info = info
        self.stdin: IO[bytes] = child.stdin
        self.stdout: IO[bytes] = child.stdout
        self._child = child
        self._errors = errors

    @property
    def pid(self) -> int:
        """The process id on this host."""
        return self._child.pid

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Return the exit status (negative: the signal that ended it), or ``None`` when it still runs."""
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def read_errors(self) -> str:
        """Return the last 8 KiB of the program's standard error; empty once the server is deleted."""
        try:
            with self._errors.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _ERRORS_BYTES))
                return file.read().decode(errors="replace").strip()
        except FileNotFoundError:
            return ""


class ProcessServers:
    """Virtual servers that are processes of this host.

    Parameters
    ----------
    directory
        Where the servers' directories are; made when missing. All who are to find each other's servers share it.
    """

    driver = "process"

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory.resolve()
        status = self._directory.stat()
        # Device and inode, not the path: the same path may be another directory in another mount namespace.
        self._marker_prefix = f"{status.st_dev}:{status.st_ino}:"

    @property
    def isolation(self) -> Isolation:
        """Limits of a process."""
        return Isolation(
            memory=Limit.PROCESS,
            cpus=Limit.ASKED,
            processes=Limit.NONE,
            files=False,
            network=False,
            means="RLIMIT_DATA and processor affinity",
        )

    def produce(self, spec: ServerSpec) -> ServerHandle:
        """Produce a server and start its program; NotFoundError when there is no such program."""
        place = self._place(spec.server_id)
        record = ServerRecord(spec.server_id, spec.run_id, spec.command)
        with self._locked():
            self._delete(spec.server_id)
            self._make(place, record)
            try:
                child = self._start(spec, place)
            except OSError as error:
                shutil.rmtree(place)
                raise NotFoundError(
                    f"virtual server {spec.server_id!r}",
                    expected=f"a program {spec.command[0]!r} that this host can start",
                    found=str(error),
                    cause="the driver's host lacks the program, or its environment has another PATH",
                    next_step="install it on the host that produces virtual servers, then run again",
                ) from error
            _children[self._marker(spec.server_id)] = child
            write_record(place, replace(record, process=procfs.identify(child.pid)))
            self._started(spec, place, child)
        info = ServerInfo(spec.server_id, spec.run_id, self.driver, alive=True, detail=f"pid {child.pid}")
        return self._handle(info, child, place / ERRORS_NAME)

    def _started(self, spec: ServerSpec, place: Path, child: subprocess.Popen[bytes]) -> None:  # noqa: ARG002  a hook
        """Do what is left once the process is on record."""
        _limit(child.pid, spec)

    def _handle(self, info: ServerInfo, child: subprocess.Popen[bytes], errors: Path) -> ProcessHandle:
        return ProcessHandle(info, child, errors)

    def delete(self, server_id: str) -> None:
        """End the program with all its descendants and remove the directory; idempotent."""
        self._place(server_id)
        with self._locked():
            self._delete(server_id)

    def servers(self) -> tuple[ServerInfo, ...]:
        """Return every server whose directory stands, sorted by id."""
        marked = set(procfs.markers(MARKER).values())
        places = sorted(entry for entry in self._directory.iterdir() if _ID.fullmatch(entry.name))
        found = [self._info(place, read_record(place), marked) for place in places]
        # Looked at last: one that is being deleted right now loses its record just before its directory.
        return tuple(info for info, place in zip(found, places, strict=True) if place.is_dir())

    def _info(self, place: Path, record: ServerRecord | None, marked: set[str]) -> ServerInfo:
        alive = self._marker(place.name) in marked
        if record is None:
            return ServerInfo(place.name, "", self.driver, alive, detail="its record cannot be read")
        if record.process is None:
            return ServerInfo(place.name, record.run_id, self.driver, alive, detail="its producer stopped half-way")
        alive = alive or procfs.is_running(record.process)
        return ServerInfo(place.name, record.run_id, self.driver, alive, detail=f"pid {record.process.pid}")

    def _place(self, server_id: str) -> Path:
        if not _ID.fullmatch(server_id):
            raise InputError(
                f"virtual server {server_id!r}",
                expected="an id of 1 to 128 letters, digits, '.', '_' or '-' that begins with a letter or a digit",
                found=repr(server_id),
                cause="the id was not derived from a run id",
                next_step="name the server by its run",
            )
        return self._directory / server_id

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one producer or deleter at a time into this directory.

        A child that is forked but not yet the program holds the lock with its producer, even when the producer is
        killed just then. So who gets the lock sees every program with its marker.
        """
        handle = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _make(self, place: Path, record: ServerRecord) -> None:
        temporary = self._temporary(place.name)
        temporary.mkdir(mode=0o700)
        write_record(temporary, record)
        temporary.rename(place)

    def _marker(self, server_id: str) -> str:
        return self._marker_prefix + server_id

    def _temporary(self, server_id: str) -> Path:
        return self._directory / f".new-{server_id}"

    def _start(self, spec: ServerSpec, place: Path) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment |= {"HOME": str(place), "TMPDIR": str(place), "PYTHONSAFEPATH": "1"}
        environment |= {**spec.environment, MARKER: self._marker(spec.server_id)}
        for name, text in spec.files.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(text)
        with (place / ERRORS_NAME).open("wb") as errors:
            return subprocess.Popen(
                spec.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=place,
                env=environment,
                start_new_session=True,
            )

    def _delete(self, server_id: str) -> None:
        place = self._directory / server_id
        record = read_record(place)
        self._end(server_id, None if record is None else record.process)
        self._discard(server_id)
        _remove(self._temporary(server_id))
        _remove(place)

    def _discard(self, server_id: str) -> None:
        """Remove what a server has outside its directory; its processes are gone."""

    def _end(self, server_id: str, leader: Leader) -> None:
        deadline = time.monotonic() + _END_TIMEOUT_S
        while found := self._held_still(server_id, leader):
            for identity in found:
                procfs.send(identity, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise ConflictError(
                    f"virtual server {server_id!r}",
                    expected="its processes to end when killed",
                    found=f"processes {sorted(one.pid for one in found)} still there after {_END_TIMEOUT_S:.0f} s",
                    cause="they hang in the kernel, on a device or a file system that does not answer",
                    next_step="look at the host's devices; deleting again is safe",
                )
            time.sleep(0.002)
        child = _children.pop(self._marker(server_id), None)
        if child is not None:
            child.wait()

    def _held_still(self, server_id: str, leader: Leader) -> set[procfs.ProcessIdentity]:
        """Stop the server's processes until no new one turns up, so that none can breed while the others are killed."""
        still: set[procfs.ProcessIdentity] = set()
        while new := self._processes(server_id, leader) - still:
            for identity in new:
                procfs.send(identity, signal.SIGSTOP)
            still |= new
        return still

    def _processes(self, server_id: str, leader: Leader) -> set[procfs.ProcessIdentity]:
        def search() -> set[int]:
            marker = self._marker(server_id)
            found = {pid for pid, value in procfs.markers(MARKER).items() if value == marker}
            return found | (procfs.members(leader) if leader is not None else set())

        identities = {identity for pid in search() if (identity := procfs.identify(pid)) is not None}
        # Searched again: between the search and the look at its identity a number may have changed hands.
        again = search() if identities else set()
        return {identity for identity in identities if identity.pid in again}


def _limit(pid: int, spec: ServerSpec) -> None:
    with suppress(ProcessLookupError):  # it may have ended already
        resource.prlimit(pid, resource.RLIMIT_DATA, (spec.memory_bytes, spec.memory_bytes))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))  # a core file would hold the credentials
        available = sorted(os.sched_getaffinity(0))
        first = crc32(spec.server_id.encode()) % len(available)  # servers of one host spread over its processors
        chosen = {available[(first + index) % len(available)] for index in range(min(spec.cpus, len(available)))}
        os.sched_setaffinity(pid, chosen)


def _remove(place: Path) -> None:
    """Remove a server's directory, its record last: what is half removed can still be listed with its run."""
    if not place.is_dir():
        return
    for entry in place.iterdir():
        if entry.name != RECORD_NAME:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    shutil.rmtree(place)
