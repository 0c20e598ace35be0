"""Where external programs are: on PATH, in the system's own folders, or in the project's ``.tools``.

Nothing here needs root: ``infra/fetch_tools.py`` fills ``.tools`` from Debian's packages for whoever cannot install.
Only the standard library is used, because the set-up scripts read this table before anything is installed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from nightwell.errors import NotFoundError

#: Program and the Debian package that holds it.
PACKAGES = {
    "chromium": "chromium",
    "createdb": "postgresql-client-15",
    "debugfs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "fio": "fio",
    "initdb": "postgresql-15",
    "ip": "iproute2",
    "mke2fs": "e2fsprogs",
    "nbdcopy": "libnbd-bin",
    "nbdinfo": "libnbd-bin",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "pg_isready": "postgresql-client-15",
    "postgres": "postgresql-15",
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "restic": "restic",
    "runc": "runc",
    "tc": "iproute2",
    "unshare": "util-linux",
}

TOOLS_DIRECTORY = Path(__file__).resolve().parents[1] / ".tools"

#: A user's PATH on Debian lacks the sbin folders, where mke2fs and debugfs are, and the folder of PostgreSQL's server.
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/postgresql/15/bin")


def find_program(name: str, *, tools_directory: Path = TOOLS_DIRECTORY) -> Path | None:
    """Return where a program is, or ``None``."""
    folders = [os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS, str(tools_directory / "bin")]
    found = shutil.which(name, path=os.pathsep.join(folders))
    return Path(found) if found else None


def program(name: str) -> Path:
    """Return where a program is.

    Raises
    ------
    NotFoundError
        It is nowhere; the error names the Debian package and the way without root.
    """
    found = find_program(name)
    if found is None:
        raise NotFoundError(
            f"program '{name}'",
            expected="it on PATH or in .tools/bin",
            found="no such program",
            cause="the package that holds it is not installed",
            next_step=f"apt install {PACKAGES.get(name, name)}, or without root: python3 infra/fetch_tools.py {name}",
        )
    return found
