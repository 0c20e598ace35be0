"""Four hosts and an object store in namespaces of their own, and the lines between them; no root needed.

::

    source server ──────────── line 2 ──────────── destination server ── store line ── object store
          │                                               │
     source fabric                                destination fabric
          │                                               │
    source array ───────────── line 1 ──────────── destination array

A line is cut without a word: its port leaves the switch, both ends still see a carrier, and packets go nowhere.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tools import tool

from nightwell.errors import NightwellError
from nightwell.local.process import python
from nightwell.programs import SYSTEM_FOLDERS, TOOLS_DIRECTORY

HOLDER = Path(__file__).parent / "holder.py"
_START_TIMEOUT_S = 60


class Host(StrEnum):
    SOURCE_SERVER = "source-server"
    SOURCE_ARRAY = "source-array"
    DESTINATION_ARRAY = "destination-array"
    DESTINATION_SERVER = "destination-server"
    OBJECT_STORE = "object-store"


class Line(StrEnum):
    """The lines; a network interface's name holds 15 characters, with the port's two."""

    ONE = "line1"
    TWO = "line2"
    SOURCE_FABRIC = "source-san"
    DESTINATION_FABRIC = "destination"
    STORE = "store"


#: Which host has which address on which line.
LINES: dict[Line, dict[Host, str]] = {
    Line.ONE: {Host.SOURCE_ARRAY: "10.71.1.1", Host.DESTINATION_ARRAY: "10.71.1.2"},
    Line.TWO: {Host.SOURCE_SERVER: "10.71.2.1", Host.DESTINATION_SERVER: "10.71.2.2"},
    Line.SOURCE_FABRIC: {Host.SOURCE_SERVER: "10.71.3.1", Host.SOURCE_ARRAY: "10.71.3.2"},
    Line.DESTINATION_FABRIC: {Host.DESTINATION_ARRAY: "10.71.4.1", Host.DESTINATION_SERVER: "10.71.4.2"},
    Line.STORE: {Host.DESTINATION_SERVER: "10.71.5.1", Host.OBJECT_STORE: "10.71.5.2"},
}
#: What a host sees of the machine's disk besides what all share: the folder of its site.
SITES = {
    Host.SOURCE_SERVER: "source",
    Host.SOURCE_ARRAY: "source",
    Host.DESTINATION_ARRAY: "destination",
    Host.DESTINATION_SERVER: "destination",
    Host.OBJECT_STORE: "store",
}


#: A folder of each site that a host keeps for itself, in memory: what is thrown away anyhow need not meet a busy disk.
IN_MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Network:
    """The hosts and lines while they stand.

    Parameters
    ----------
    folder
        Has a folder for each site; a host sees its own site's alone.
    switch, hosts
        Processes that hold the namespaces.
    """

    folder: Path
    switch: int
    hosts: dict[Host, int]

    def inside(self, host: Host, command: Sequence[str]) -> list[str]:
        """Return the command that runs another one in a host."""
        spaces = ["--user", "--net", "--mount", "--preserve-credentials"]
        folder = self.folder / SITES[host]
        return [tool("nsenter"), "--target", str(self.hosts[host]), *spaces, f"--wdns={folder}", "--", *command]

    def cut(self, line: Line) -> None:
        """Cut a line, without a word to anybody."""
        self._switch("ip", "link", "set", f"{line}-a", "nomaster")

    def mend(self, line: Line) -> None:
        """Mend a line that may be cut."""
        self._switch("ip", "link", "set", f"{line}-a", "master", line)

    def shape(self, line: Line, mib_s: float) -> None:
        """Let so much a second through, towards the second host of the line."""
        rate = f"{int(mib_s * 8 * 1024)}kibit"
        self._switch(
            "tc",
            "qdisc",
            "replace",
            "dev",
            f"{line}-b",
            "root",
            "tbf",
            "rate",
            rate,
            "burst",
            "128kb",
            "latency",
            "50ms",
        )

    def unshape(self, line: Line) -> None:
        self._switch("tc", "qdisc", "del", "dev", f"{line}-b", "root")

    def carried_bytes(self, line: Line) -> int:
        """Return how much a line has carried towards its second host."""
        (port,) = json.loads(self._switch("ip", "-stats", "-json", "link", "show", "dev", f"{line}-b"))
        return int(port["stats64"]["tx"]["bytes"])

    def host_command(self, host: Host, program: str, *arguments: str) -> str:
        """Run a program in a host to its end; return what it said."""
        command = self.inside(host, [tool(program), *arguments])
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def _switch(self, program: str, *arguments: str) -> str:
        spaces = ["--user", "--net", "--preserve-credentials"]
        command = [tool("nsenter"), "--target", str(self.switch), *spaces, "--", tool(program), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def running_network(folder: Path) -> Iterator[Network]:
    """Make the hosts and lines; they are gone afterwards, also when this process is killed.

    Raises
    ------
    NightwellError
        The machine does not let us.
    """
    sites = sorted(set(SITES.values()))
    for site in sites:
        (folder / site / IN_MEMORY).mkdir(parents=True, exist_ok=True)
    plan = {
        "hosts": {
            host: {
                "HIDDEN": [str(folder / site) for site in sites if site != SITES[host]],
                "IN_MEMORY": [str(folder / SITES[host] / IN_MEMORY)],
            }
            for host in Host
        },
        "lines": LINES,
    }
    command = [tool("unshare"), "--user", "--map-root-user", "--net", "--mount", *python(str(HOLDER), json.dumps(plan))]
    environment = {**os.environ, "PATH": _path_with_tools()}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stderr is not None
        said = holder.stdout.readline()
        if not said:
            raise refused(holder.stderr.read().strip())
        try:
            yield Network(folder, holder.pid, {Host(name): pid for name, pid in json.loads(said).items()})
        finally:
            holder.stdin.close()
            holder.wait(_START_TIMEOUT_S)


def refused(found: str) -> NightwellError:
    """Return the error for a machine that does not give us namespaces."""
    return NightwellError(
        "network namespaces for the tests of the road",
        expected="a user namespace with a network of its own (unshare -Urnm)",
        found=found or "no word",
        cause="this machine's kernel or container forbids unprivileged user namespaces, or lacks bridges",
        next_step="as root: sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 "
        "kernel.apparmor_restrict_unprivileged_userns=0 (those that exist); in a container, allow unshare",
    )


def _path_with_tools() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS, str(TOOLS_DIRECTORY / "bin")])
