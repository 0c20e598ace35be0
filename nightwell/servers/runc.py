"""The ``runc`` driver: a virtual server is a container of this host, in namespaces of its own.

It is a process server whose process is ``runc``: records, markers, lifeline and deletion are the ``process`` driver's.
What comes on top:

- namespaces for user, mount, pid, network, ipc and uts; no capability, no new privileges, a seccomp filter;
- a read-only root made from this host (:mod:`nightwell.servers.root`), scratch space in memory;
- a network with nothing but the addresses of the spec (:mod:`nightwell.servers.forward`);
- memory, processors and processes limited by a control group. Where this host lets us make none (no root and nothing
  delegated), by ``RLIMIT_DATA`` for each process, processor affinity, and ``RLIMIT_NPROC``, which the kernel counts in
  the server's user namespace; :attr:`RuncServers.isolation` says which.

As root the program is a user of its own that owns nothing on this host; without root it is the producer's user, without
any of its files in sight.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from nightwell.errors import ConflictError, NightwellError
from nightwell.programs import program
from nightwell.servers import procfs
from nightwell.servers.cgroups import find_cgroups
from nightwell.servers.gate import GATE_DESCRIPTOR, leave
from nightwell.servers.network import names_inside, open_network
from nightwell.servers.oci import Bundle, server_user_id
from nightwell.servers.port import Isolation, Limit, ServerInfo, ServerSpec
from nightwell.servers.process import ERRORS_NAME, INHERITED, MARKER, Leader, ProcessHandle, ProcessServers
from nightwell.servers.root import HOME, check_readable, make_skeleton, trees

DEFAULT_PARENT = "/nightwell"

_START_TIMEOUT_S = 60.0
_FIRST_HOST_ID, _HOST_IDS = 1_500_000_000, 1 << 20  # users that nobody else on this host is
_SIGNALLED = 128
PATH_INSIDE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_forwarders: dict[str, subprocess.Popen[bytes]] = {}  # by marker; to reap them


class ContainerHandle(ProcessHandle):
    """A running container: ``runc`` tells a signal as 128 and its number, the port as a negative number."""

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Return the exit status of the program, or ``None`` when it still runs."""
        status = super().wait(timeout_s)
        return _SIGNALLED - status if status is not None and status > _SIGNALLED else status


class RuncServers(ProcessServers):
    """Virtual servers that are containers of this host.

    Parameters
    ----------
    directory
        Where the servers' directories are; made when missing. All who are to find each other's servers share it.
    cgroup
        The control group below which theirs are made; empty for none.
    """

    driver = "runc"

    def __init__(self, directory: Path, *, cgroup: str = DEFAULT_PARENT) -> None:
        super().__init__(directory)
        self._runc = program("runc")
        self._cgroups = find_cgroups(cgroup)
        self._as_root = _host_ids_are_ours()

    @property
    def isolation(self) -> Isolation:
        """Limits of a container."""
        grouped = self._cgroups is not None
        return Isolation(
            memory=Limit.SERVER if grouped else Limit.PROCESS,
            cpus=Limit.SERVER if grouped else Limit.ASKED,
            processes=Limit.SERVER if grouped or not _runs_as_root(self._as_root) else Limit.NONE,
            files=True,
            network=True,
            means="namespaces, seccomp and a control group"
            if grouped
            else "namespaces, seccomp, RLIMIT_DATA, RLIMIT_NPROC and processor affinity: no control group can be made",
        )

    def _start(self, spec: ServerSpec, place: Path) -> subprocess.Popen[bytes]:
        self._check_startable(spec)
        self._write_bundle(spec, place)
        reading, writing = os.pipe()
        os.set_inheritable(reading, True)  # noqa: FBT003 - os has it so
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        command: list[str | Path] = ["/bin/sh", "-c", f'exec "$@" {GATE_DESCRIPTOR}</proc/self/fd/{reading}', "sh"]
        command += [self._runc, "--root", self._directory / ".runc", "run", "--bundle", place]
        command += ["--pid-file", place / "pid", "--preserve-fds", "1", spec.server_id]
        try:
            with (place / ERRORS_NAME).open("wb") as errors:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=place,
                    env=environment | {MARKER: self._marker(spec.server_id)},
                    start_new_session=True,
                    pass_fds=(reading,),
                )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        self._gate = writing
        return child

    def _started(self, spec: ServerSpec, place: Path, child: subprocess.Popen[bytes]) -> None:
        with open(self._gate, "wb", buffering=0) as gate:  # noqa: PTH123 - of a descriptor
            try:
                pid = _wait_for_pid(spec, place, child)
                if self._cgroups is None:
                    self._prefer_processors(pid, spec)
                if spec.reachable:
                    marker = self._marker(spec.server_id)
                    _forwarders[marker] = open_network(spec, pid, environment={MARKER: marker})
                with suppress(BrokenPipeError):  # it has ended already, and its status says how
                    gate.write(self._leave(spec))
            except BaseException:
                self._delete(spec.server_id)
                raise

    def _handle(self, info: ServerInfo, child: subprocess.Popen[bytes], errors: Path) -> ProcessHandle:
        return ContainerHandle(info, child, errors)

    def _leave(self, spec: ServerSpec) -> bytes:
        environment = {"HOME": HOME, "TMPDIR": HOME, "PYTHONSAFEPATH": "1", **spec.environment}
        return leave(environment, spec.files)

    def _check_startable(self, spec: ServerSpec) -> None:
        if shutil.which(spec.command[0], path=PATH_INSIDE) is None:
            raise FileNotFoundError(f"no such program: {spec.command[0]!r}")

    def _bundle(self, spec: ServerSpec, place: Path) -> Bundle:
        found = trees()
        if self._as_root:
            check_readable(found)
        marker = self._marker(spec.server_id)
        return Bundle(
            spec=spec,
            root=place / "root",
            trees=found,
            environment={**self._inherited(), "PATH": PATH_INSIDE, MARKER: marker},
            user_ids=self._user_ids(marker),
            cgroup=None if self._cgroups is None else self._cgroups.path(self._group(spec.server_id)),
        )

    def _inherited(self) -> dict[str, str]:
        names = [name for name in INHERITED if name != "PATH"]
        return {name: os.environ[name] for name in names if name in os.environ}

    def _write_bundle(self, spec: ServerSpec, place: Path) -> None:
        bundle = self._bundle(spec, place)
        make_skeleton(bundle.root, names_inside(spec.reachable), bundle.trees)
        (place / "config.json").write_text(json.dumps(bundle.document()))

    def _user_ids(self, marker: str) -> tuple[tuple[int, int], ...]:
        if not self._as_root:
            return ((0, os.geteuid()),)
        return ((0, 0), (server_user_id(), _FIRST_HOST_ID + crc32(marker.encode()) % _HOST_IDS))

    def _prefer_processors(self, pid: int, spec: ServerSpec) -> None:
        available = sorted(os.sched_getaffinity(0))
        with suppress(ProcessLookupError):
            os.sched_setaffinity(pid, set(available[: spec.cpus]))

    def _group(self, server_id: str) -> str:
        return self._marker(server_id).replace(":", "-")

    def _processes(self, server_id: str, leader: Leader) -> set[procfs.ProcessIdentity]:
        found = super()._processes(server_id, leader)
        init = self._init(server_id)
        if init is not None and procfs.is_running(init):
            found.add(init)
        inside = {pid for one in found for pid in procfs.pid_namespace_members(one.pid)}
        if self._cgroups is not None:
            inside |= self._cgroups.members(self._group(server_id))
        return found | {identity for pid in inside if (identity := procfs.identify(pid)) is not None}

    def _init(self, server_id: str) -> procfs.ProcessIdentity | None:
        """Return the container's first process as runc has it on record."""
        with suppress(OSError, ValueError, KeyError):
            state: dict[str, Any] = json.loads((self._directory / ".runc" / server_id / "state.json").read_text())
            return procfs.ProcessIdentity(
                int(state["init_process_pid"]), int(state["init_process_start"]), procfs.boot_id()
            )
        return None

    def _discard(self, server_id: str) -> None:
        forwarder = _forwarders.pop(self._marker(server_id), None)
        if forwarder is not None:
            forwarder.wait()
        if self._cgroups is not None:
            self._cgroups.remove(self._group(server_id))
        shutil.rmtree(self._directory / ".runc" / server_id, ignore_errors=True)


def _host_ids_are_ours() -> bool:
    """Return whether we may make a process any user of this host: as root, outside every user namespace."""
    last = _FIRST_HOST_ID + _HOST_IDS
    return os.geteuid() == 0 and any(inside == 0 and count > last for inside, _, count in _user_map())


def _runs_as_root(host_ids_are_ours: bool) -> bool:  # noqa: FBT001 - the answer of the function above
    """Return whether the program may be the host's root, whose processes no RLIMIT_NPROC counts."""
    us = os.geteuid()
    outside = [outer + us - inside for inside, outer, count in _user_map() if inside <= us < inside + count]
    return not host_ids_are_ours and outside != [] and outside[0] == 0


def _user_map() -> list[tuple[int, int, int]]:
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    return [(int(inside), int(outer), int(count)) for inside, outer, count in (line.split() for line in lines)]


def _wait_for_pid(spec: ServerSpec, place: Path, child: subprocess.Popen[bytes]) -> int:
    """Return the process id that runc writes once the container stands; ConflictError when it ended first."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        ended = child.poll() is not None
        with suppress(FileNotFoundError, ValueError):
            return int((place / "pid").read_text())
        if ended:
            break
        time.sleep(0.002)
    raise _not_started(spec, place / ERRORS_NAME)


def _not_started(spec: ServerSpec, errors: Path) -> NightwellError:
    said = errors.read_text(errors="replace").strip().splitlines()
    return ConflictError(
        f"virtual server {spec.server_id!r}",
        expected="runc to start a container",
        found=" | ".join(said[-3:]) or f"no container within {_START_TIMEOUT_S:.0f} s",
        cause="this host's kernel or its policy forbids what a container needs, such as user namespaces",
        next_step="run 'nightwell validate servers'; with driver 'process' nothing of this is needed",
    )
