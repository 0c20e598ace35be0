"""Run one command and measure it: seconds, CPU seconds of client and server apart, peak memory."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_POLL_S = 0.005
_SAMPLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Command:
    """What is measured. ``stdin`` is a file that the program reads, if any."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: Path | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of a command. ``client_cpu_s`` counts all its processes, ``others_cpu_s`` the parts named beside it."""

    wall_s: float
    client_cpu_s: float
    server_cpu_s: float
    peak_rss_bytes: int
    others_cpu_s: float = 0.0


class CommandFailedError(Exception):
    """The command ended with an error; the text has its last words."""


def measure(command: Command, *, server_pid: int, log: Path, other_pids: Sequence[int] = ()) -> Measurement:
    """Run a command to its end and measure it.

    Parameters
    ----------
    command
        What to run.
    server_pid
        The object server, whose CPU seconds in the meantime are counted apart.
    log
        File for what the program says.
    other_pids
        Other parts whose CPU seconds are counted (arrays).

    Raises
    ------
    CommandFailedError
        It ended with another status than 0.
    """
    # What the one before left to be written must not weigh on this one.
    os.sync()
    # With it Python would compile our modules again in every run, which no user's Python does.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    server_before, others_before = _cpu_s([server_pid]), _cpu_s(other_pids)
    with (command.stdin or Path(os.devnull)).open("rb") as stdin, log.open("w+b") as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command.arguments],
            stdin=stdin,
            stdout=said,
            stderr=said,
            env={**environment, **command.environment},
        )
        status, usage, peak = _watch(process)
        wall_s = time.perf_counter() - start
    if status:
        raise CommandFailedError(
            f"{command.arguments[0]} ended with {status}: {log.read_text(errors='replace')[-2000:]}"
        )
    return Measurement(
        wall_s=wall_s,
        client_cpu_s=usage.ru_utime + usage.ru_stime,
        server_cpu_s=_cpu_s([server_pid]) - server_before,
        peak_rss_bytes=peak,
        others_cpu_s=_cpu_s(other_pids) - others_before,
    )


def _watch(process: subprocess.Popen[bytes]) -> tuple[int, resource.struct_rusage, int]:
    """Wait for the end; return the exit status, the usage of all its processes and their peak memory together."""
    peak, next_sample = 0, 0.0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage, peak
        if time.perf_counter() >= next_sample:
            peak = max(peak, _tree_peak_bytes(process.pid))
            next_sample = time.perf_counter() + _SAMPLE_S
        time.sleep(_POLL_S)


def _tree_peak_bytes(pid: int) -> int:
    """Return the high-water marks of all live processes together (``ru_maxrss`` would count our own memory too)."""
    total = 0
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for one in [root, *root.children(recursive=True)]:
            with suppress(OSError):
                status = Path(f"/proc/{one.pid}/status").read_text()
                total += next((int(line.split()[1]) << 10 for line in status.splitlines() if "VmHWM" in line), 0)
    return total


def _cpu_s(pids: Sequence[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(one.user + one.system + one.children_user + one.children_system for one in times)
