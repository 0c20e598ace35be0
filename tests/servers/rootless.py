"""The conformance suite as a user who is not root and to whom nothing is delegated: prints what is broken.

Run by ``as_a_user``: in a user namespace in which we are an ordinary user, without a capability, and may make no
control group.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from nightwell.servers.runc import RuncServers
from nightwell.testing.servers import CLAUSES, ServersUnderTest, check

FORBID_CGROUPS = """
for place in $(findmnt --noheadings --list --types cgroup,cgroup2 --output TARGET); do
    mount -o remount,bind,ro "$place" || exit
done
exec unshare --user --map-user=1000 --map-group=1000 -- "$@"
"""


def as_a_user(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an ordinary user without control groups."""
    outer = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FORBID_CGROUPS, "sh"]
    return subprocess.run([*outer, *command], check=False, capture_output=True, text=True, timeout=240)


def main() -> None:
    broken = {}
    with tempfile.TemporaryDirectory() as directory:
        servers = RuncServers(Path(directory))
        for clause in CLAUSES:
            rig = ServersUnderTest(open_driver=lambda: RuncServers(Path(directory)), python=(sys.executable,))
            try:
                check(clause, rig)
            except Exception as error:  # noqa: BLE001 - told to whoever asked
                broken[clause.__name__] = f"{type(error).__name__}: {error}"
        isolation = servers.isolation
    sys.stdout.write(json.dumps({"broken": broken, "memory": isolation.memory.name, "means": isolation.means}))


if __name__ == "__main__":
    main()
