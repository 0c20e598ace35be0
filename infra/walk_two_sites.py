#!/usr/bin/env python3
"""Paste the blocks of docs/two-sites.md into a shell, in a fresh clone, and say how long each takes.

Everything is as on the page but the two ports, which are free ones. What the blocks start is ended, whatever happens.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "two-sites.md"
HEADING = "## From nothing to two sites on one machine"
PORTS = ("4200", "9000")
# Below those that a system gives to outgoing connections: minutes pass between our look and the server's start.
FREE_PORTS = range(11_000, 22_000)
_LAST_LINES = 15
_BLOCK = re.compile(r"(?ms)\*\*([^*]+?)[.,]?\*\*.*?^```sh\n(.*?)^```$")
_MARK = "=== "


def blocks(page: str) -> list[tuple[str, str]]:
    """Return title and commands of each block below the heading."""
    section = page.split(HEADING, 1)[1].split("\n## ", 1)[0]
    return [(match[1], match[2]) for match in _BLOCK.finditer(section)]


def script(parts: list[tuple[str, str]], ports: Sequence[str]) -> str:
    """Return one shell script of all blocks; each says when it begins."""
    text = "set -euo pipefail\nset -m\n"  # jobs of their own, as at a terminal
    for title, commands in parts:
        text += f"echo '{_MARK}{title}'\n{commands}"
    for port, free in zip(PORTS, ports, strict=True):
        text = re.sub(rf"\b{port}\b", free, text)
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", action="store_true", help="use this clone and its .venv, not a fresh one")
    given = parser.parse_args(arguments)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nightwell-walk-") as scratch:
        project = ROOT
        if not given.here:
            project = Path(scratch) / "nightwell"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
        text = script(blocks(PAGE.read_text()), [free_port(), free_port()])
        text = text.replace('SITES="$PWD/sites"', f'SITES="{scratch}/sites"')
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors", flush=True)
        status = walk(text, project, Path(scratch))
        if status:
            tell_logs(Path(scratch) / "sites")
    print(f"{'all of it' if status == 0 else 'FAILED'} after {(time.monotonic() - began_s) / 60:.1f} minutes")
    return status


def walk(text: str, project: Path, scratch: Path) -> int:
    """Give the script to a shell and print what it says with the seconds of each block; end what it started."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NIGHTWELL_", "PREFECT_"))}
    shell = subprocess.Popen(
        ["bash", "-c", text],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert shell.stdout is not None
    began_s, title = time.monotonic(), "start"
    try:
        for line in shell.stdout:
            if line.startswith(_MARK):
                print(f"--- {title}: {time.monotonic() - began_s:.0f} s", flush=True)
                began_s, title = time.monotonic(), line.removeprefix(_MARK).strip()
            else:
                print(f"    {line.rstrip()}", flush=True)
        print(f"--- {title}: {time.monotonic() - began_s:.0f} s", flush=True)
        return shell.wait()
    finally:
        end_all(shell.pid, scratch)


def tell_logs(sites: Path) -> None:
    """Print the last lines of what each program said: it is removed with the folder."""
    for log in sorted(sites.rglob("*.log")):
        print(f"--- {log.relative_to(sites)}")
        for line in log.read_text(errors="replace").splitlines()[-_LAST_LINES:]:
            print(f"    {line}")


def end_all(leader: int, scratch: Path) -> None:
    """End every process of the shell's session, where each job is a process group of its own, and every flow process.

    Those have sessions of their own, and try for a while to reach the server that has ended.
    """
    for number, patience_s in ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0)):
        until_s = time.monotonic() + patience_s
        while (left := {*in_session(leader), *of_folder(scratch)}) and time.monotonic() < until_s:
            for pid in left:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            time.sleep(1.0)


def in_session(leader: int) -> list[int]:
    """Return the processes of a session, zombies apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, _, _, session, *_ = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(session) == leader and state != "Z":
            found.append(int(entry.name))
    return found


def of_folder(folder: Path) -> list[int]:
    """Return the processes whose program or working directory is in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (
                str(folder) in (entry / "cmdline").read_text() or (entry / "cwd").readlink().is_relative_to(folder)
            ):
                found.append(int(entry.name))
    return found


def free_port() -> str:
    """Return a TCP port of the loopback address that nobody listens on now."""
    while True:
        port = secrets.choice(FREE_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return str(port)


if __name__ == "__main__":
    sys.exit(main())
