"""The program that holds the namespaces: hosts with a network and a mount table of their own, and the lines between.

Runs as root of a user namespace that ``unshare -Urnm`` made; needs nothing but the standard library and iproute2. Its
own network is the switch: every line is a bridge in it, with a port for each end. Says one JSON line when all stands,
and ends when its standard input closes; the hosts end with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import IO

# A host does nothing: programs are run in it by nsenter. It forwards nothing, whatever the machine around it does.
_HOST = """
set -e
for folder in $HIDDEN; do mount -t tmpfs -o ro,size=4k hidden "$folder"; done
for folder in $IN_MEMORY; do mount -t tmpfs memory "$folder"; done
ip link set lo up
echo 0 > /proc/sys/net/ipv4/ip_forward
echo ready
exec cat > /dev/null
"""


def main() -> None:
    """Make what the plan on the command line says, and hold it."""
    plan = json.loads(sys.argv[1])
    with ExitStack() as stack:
        held = {name: _host(stack, folders) for name, folders in plan["hosts"].items()}
        for name, host in held.items():
            _expect_ready(name, host)
        _run("ip", "link", "set", "lo", "up")
        for line, ends in plan["lines"].items():
            _lay(line, ends, {name: host.pid for name, host in held.items()})
        sys.stdout.write(json.dumps({name: host.pid for name, host in held.items()}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


def _host(stack: ExitStack, folders: Mapping[str, Sequence[str]]) -> subprocess.Popen[str]:
    command = ["unshare", "--net", "--mount", "sh", "-c", _HOST]
    environment = {**os.environ, **{name: " ".join(found) for name, found in folders.items()}}
    pipe = subprocess.PIPE
    host = stack.enter_context(
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment)
    )
    stack.callback(host.kill)
    return host


def _expect_ready(name: str, host: subprocess.Popen[str]) -> None:
    output: IO[str] | None = host.stdout
    assert output is not None, "it was asked for"
    said = output.readline().strip()
    if said != "ready":
        sys.exit(f"host {name}: {said or 'no word'}")


def _lay(line: str, ends: Mapping[str, str], pids: Mapping[str, int]) -> None:
    """Make a line: a bridge in the switch, and a port to each of its two hosts."""
    _run("ip", "link", "add", line, "type", "bridge")
    _run("ip", "link", "set", line, "up")
    for side, (host, address) in zip("ab", ends.items(), strict=True):
        port, pid = f"{line}-{side}", str(pids[host])
        _run("ip", "link", "add", port, "type", "veth", "peer", "name", line, "netns", pid)
        _run("ip", "link", "set", port, "master", line, "up")
        inside = ("nsenter", "--target", pid, "--net", "ip")
        _run(*inside, "addr", "add", f"{address}/24", "dev", line)
        _run(*inside, "link", "set", line, "up")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")


if __name__ == "__main__":
    main()
