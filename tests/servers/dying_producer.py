"""Producers of virtual servers that die at a chosen call, and what tests of every driver do with a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from nightwell.servers.port import ServerHandle, ServerSpec
from nightwell.servers.process import ProcessHandle, ProcessServers

#: A program that does not end when its standard input does.
DEAF = (sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(600)")

# Dies just before the given call, as at a power cut of nothing but itself.
_CRASHING = """
import importlib, os, sys
from pathlib import Path
from nightwell.servers.port import ServerSpec
driver, death, action, point, directory, *command = sys.argv[1:]
def found(name):
    module, name = name.rsplit(":")
    owner = importlib.import_module(module.partition(".Path")[0])
    return (owner.Path if module.endswith(".Path") else owner), name
owner, name = found(point)
inner, calls = getattr(owner, name), []
def dying(*arguments, **named):
    calls.append(1)
    if len(calls) == int(os.environ["CALL"]):
        eval(death)
    return inner(*arguments, **named)
servers = getattr(*found(driver))(Path(directory))
setattr(owner, name, dying)
if action == "produce":
    servers.produce(ServerSpec("vs-1", "run-1", tuple(command)))
else:
    servers.delete("vs-1")
"""


def crash(driver: type[ProcessServers], death: str, action: str, point: tuple[str, int], directory: Path) -> int:
    """Produce or delete ``vs-1`` in a process that dies by the expression ``death`` at a point; return its status."""
    name = f"{driver.__module__}:{driver.__name__}"
    command = [sys.executable, "-c", _CRASHING, name, death, action, point[0], str(directory), *DEAF]
    return subprocess.run(command, env={**os.environ, "CALL": str(point[1])}, check=False).returncode


def produced(driver: ProcessServers, spec: ServerSpec) -> ProcessHandle:
    handle = driver.produce(spec)
    assert isinstance(handle, ProcessHandle)
    return handle


def close(handle: ServerHandle) -> None:
    handle.stdin.close()
    handle.stdout.close()
