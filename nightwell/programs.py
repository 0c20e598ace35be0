"""Where external programs are: on PATH, in the system's own folders, or in the project's ``.tools``.

Nothing here needs root: ``infra/fetch_tools.py`` fills ``.tools`` from Debian's packages for whoever cannot install.
Only the standard library is used, because the set-up scripts read this table before anything is installed.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
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
    "qemu-system-x86_64": "qemu-system-x86",
    "restic": "restic",
    "runc": "runc",
    "tc": "iproute2",
    "unshare": "util-linux",
}

#: What a virtual machine boots from: never installed, only unpacked, for an installed kernel would want to be booted.
#: The package for clouds, linux-image-cloud-amd64, lacks 9p.
GUEST_PACKAGES = ("linux-image-amd64", "busybox-static")

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


@dataclass(frozen=True, slots=True)
class GuestParts:
    """What a virtual machine boots from."""

    kernel: Path
    modules: Path
    busybox: Path


def find_guest_parts(*, tools_directory: Path = TOOLS_DIRECTORY) -> GuestParts | None:
    """Return the newest kernel that has modules for 9p, and a busybox that needs no libraries, or ``None``."""
    roots = (tools_directory / "root", Path("/"))
    kernels = [
        (_version(kernel), kernel, root / "lib/modules" / kernel.name.removeprefix("vmlinuz-"))
        for root in roots
        for kernel in (root / "boot").glob("vmlinuz-*-amd64")
    ]
    whole = [each for each in kernels if (each[2] / "kernel/fs/9p/9p.ko").is_file()]
    busybox = next((root / "bin/busybox" for root in roots if _is_static(root / "bin/busybox")), None)
    if not whole or busybox is None:
        return None
    _, kernel, modules = max(whole)
    return GuestParts(kernel, modules, busybox)


def _version(kernel: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", kernel.name))


def _is_static(program_file: Path) -> bool:
    """Return whether a program runs without a loader, which stands near the beginning of one that needs it."""
    if not program_file.is_file():
        return False
    with program_file.open("rb") as file:
        return b"/ld-linux" not in file.read(4096)
