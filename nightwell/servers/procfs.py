"""What Linux says about processes: who is who, and ending exactly the ones that were meant.

A process id alone names nobody for long: the kernel hands the number out again. A :class:`ProcessIdentity` is the id
with the boot and the start time, and a *marker* is a variable in the environment that the children of a process
inherit. Signals go through a pidfd that is opened before the identity is checked, so they cannot reach a stranger.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STATE, _PROCESS_GROUP, _SESSION, _START_TIME = 0, 2, 3, 19  # fields of /proc/<pid>/stat after the program's name


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one boot; ``start_time_ticks`` counts clock ticks since that boot."""

    pid: int
    start_time_ticks: int
    boot_id: str


def boot_id() -> str:
    """Return the kernel's random id of this boot."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> ProcessIdentity | None:
    """Return who has this process id now; ``None`` when nobody has."""
    fields = _stat(pid)
    return None if fields is None else ProcessIdentity(pid, int(fields[_START_TIME]), boot_id())


def is_running(identity: ProcessIdentity) -> bool:
    """Return whether this very process runs; one that ended and waits to be reaped does not."""
    fields = _stat(identity.pid)
    return (
        fields is not None
        and int(fields[_START_TIME]) == identity.start_time_ticks
        and fields[_STATE] not in "ZX"
        and identity.boot_id == boot_id()
    )


def markers(variable: str) -> dict[int, str]:
    """Return, for each running process that we may look into, the value of this environment variable at its start."""
    prefix = variable.encode() + b"="
    found = {}
    for pid in _pids():
        for entry in _environment(pid):
            if entry.startswith(prefix):
                found[pid] = os.fsdecode(entry[len(prefix) :])
    return {pid: value for pid, value in found.items() if _runs(pid)}


def members(leader: ProcessIdentity) -> set[int]:
    """Return the running processes of the session that this leader opened; empty once the leader is gone.

    Nobody but the leader itself proves that the session's number still means the same session.
    """
    fields = _stat(leader.pid)
    if fields is None or int(fields[_START_TIME]) != leader.start_time_ticks or leader.boot_id != boot_id():
        return set()
    return {pid for pid in _pids() if _in_session(pid, leader.pid)}


def pid_namespace_members(pid: int) -> set[int]:
    """Return the running processes of this process's pid namespace; empty when it is ours too."""
    space = _pid_namespace(pid)
    if space is None or space == _pid_namespace(os.getpid()):
        return set()
    return {other for other in _pids() if _pid_namespace(other) == space and _runs(other)}


def send(identity: ProcessIdentity, number: signal.Signals) -> None:
    """Send a signal to this very process; nothing happens when it is gone."""
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        if identify(identity.pid) == identity:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def _pid_namespace(pid: int) -> str | None:
    try:
        return os.readlink(_PROC / str(pid) / "ns/pid")  # noqa: PTH115 - not a path
    except OSError:  # gone, or another user's
        return None


def _pids() -> Iterator[int]:
    return (int(entry) for entry in os.listdir(_PROC) if entry.isdecimal())  # noqa: PTH208 - no Path per process


def _in_session(pid: int, leader: int) -> bool:
    fields = _stat(pid)
    return (
        fields is not None
        and fields[_STATE] not in "ZX"
        and leader in (int(fields[_SESSION]), int(fields[_PROCESS_GROUP]))
    )


def _runs(pid: int) -> bool:
    fields = _stat(pid)
    return fields is not None and fields[_STATE] not in "ZX"


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name stands in parentheses and may hold spaces and parentheses itself.
    return text.rpartition(")")[2].split()


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:  # gone, or another user's
        return []
