#!/usr/bin/env python3
"""Get the external programs that tests and benchmarks call, without root.

Programs that are on this machine already are left alone. The others come from Debian's packages into ``.tools`` of
the project, with wrappers in ``.tools/bin`` that point the loader at their libraries. The folder may be deleted at any
time.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import rootless_apt  # noqa: E402  a script's own folder is on the path; nothing is installed yet

from nightwell.programs import (  # noqa: E402  the line above makes it importable
    GUEST_PACKAGES,
    PACKAGES,
    TOOLS_DIRECTORY,
    find_guest_parts,
    find_program,
)
from nightwell.servers.guest import needed_modules  # noqa: E402  as above

#: What a virtual machine boots from. It is unpacked here even for root: an installed kernel would want to be booted.
GUEST = "guest"

TEST_PROGRAMS = (
    "chromium",
    "createdb",
    "debugfs",
    "e2fsck",
    "fio",
    "initdb",
    "ip",
    "mke2fs",
    "nbdcopy",
    "nbdinfo",
    "nsenter",
    "openssl",
    "pg_isready",
    "postgres",
    "qemu-img",
    "qemu-io",
    "qemu-nbd",
    "qemu-storage-daemon",
    "qemu-system-x86_64",
    "runc",
    "tc",
    "unshare",
)
GROUPS = {
    "demo": ("mke2fs",),
    "test": (*TEST_PROGRAMS, GUEST),
    "bench": ("restic",),
}

#: Programs whose start script names folders of an installed system: what to run instead, below ``root``.
REAL_PROGRAMS = {"chromium": "usr/lib/chromium/chromium"}
#: Arguments that a program needs because it was unpacked: Chromium's sandbox helper would have to belong to root.
ARGUMENTS = {
    "chromium": " --no-sandbox",
    # It finds its parts beside itself, but those that are installed were not fetched.
    "qemu-system-x86_64": ' -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" -L /usr/share/qemu',
}
#: Variables that a program needs for the same reason.
VARIABLES = {"qemu-system-x86_64": "export QEMU_MODULE_DIR=/usr/lib/x86_64-linux-gnu/qemu\n"}

WRAPPER = """#!/bin/sh
# Written by infra/fetch_tools.py: runs a program that was unpacked, not installed.
root=$(dirname "$(dirname "$(readlink -f "$0")")")/root
libraries={libraries}
LD_LIBRARY_PATH="$(printf '%s' "$libraries" | sed "s|@|$root|g")${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
export LD_LIBRARY_PATH
if [ ! -e /etc/fonts/fonts.conf ] && [ -e "$root/etc/fonts/fonts.conf" ]; then
    export FONTCONFIG_PATH="$root/etc/fonts"
fi
{variables}exec "$root/{program}"{arguments} "$@"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    options = _parse(arguments)
    wanted = [name for given in options.what for name in GROUPS.get(given, (given,))]
    unknown = [name for name in wanted if name not in PACKAGES and name != GUEST]
    if unknown:
        print(f"unknown program: {' '.join(unknown)}; known: {' '.join(PACKAGES)}", file=sys.stderr)
        return 2
    programs = [name for name in wanted if name != GUEST]
    missing = [name for name in programs if find_program(name, tools_directory=options.directory) is None]
    if options.list_packages:
        print(" ".join(sorted({PACKAGES[name] for name in missing})))
        return 0
    if GUEST in wanted and find_guest_parts(tools_directory=options.directory) is None:
        missing.append(GUEST)
    if not missing:
        return 0
    try:
        fetch(missing, options.directory)
    except rootless_apt.RootlessAptError as error:
        print(f"{error}\nor, as root: apt install {' '.join(_packages(missing))}", file=sys.stderr)
        return 1
    return 0


def fetch(names: Sequence[str], directory: Path) -> None:
    """Download the packages of these programs, unpack them below ``directory`` and write the wrappers.

    Raises
    ------
    rootless_apt.RootlessAptError
        The packages cannot be had, or one does not hold its program.
    """
    packages = _packages(names)
    print(f"fetching {', '.join(packages)} into {directory} (no root needed)", flush=True)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="apt-", dir=directory) as scratch:
        for archive in rootless_apt.download(packages, Path(scratch)):
            rootless_apt.extract(archive, directory / "root")
    for name in names:
        if name == GUEST:
            keep_only_needed_modules(directory / "root")
        else:
            write_wrapper(name, directory)


def keep_only_needed_modules(root: Path) -> None:
    """Delete the modules of unpacked kernels that no virtual machine loads: they take 300 MB."""
    for folder in (root / "lib/modules").iterdir():
        needed = set(needed_modules(folder))
        for module in folder.rglob("*.ko"):
            if module not in needed:
                module.unlink()


def _packages(names: Sequence[str]) -> list[str]:
    return sorted({package for name in names for package in (GUEST_PACKAGES if name == GUEST else (PACKAGES[name],))})


def write_wrapper(name: str, directory: Path) -> Path:
    """Write ``bin/<name>`` for a program unpacked below ``root``; the folder can be moved afterwards."""
    root = directory / "root"
    folders = ("usr/bin", "usr/sbin", "bin", "sbin")
    places = (REAL_PROGRAMS.get(name, ""), *(f"{folder}/{name}" for folder in folders))
    program = next((place for place in places if place and (root / place).is_file()), None)
    if program is None:
        raise rootless_apt.RootlessAptError(f"the package {PACKAGES.get(name, name)} holds no program {name}")
    # Some packages keep libraries in folders of their own, which their installed run path would name.
    libraries = sorted({path.parent.relative_to(root).as_posix() for path in root.glob("**/*.so*") if path.is_file()})
    wrapper = directory / "bin" / name
    wrapper.parent.mkdir(exist_ok=True)
    named = "'" + ":".join(f"@/{each}" for each in libraries) + "'"
    text = WRAPPER.format(
        libraries=named, program=program, arguments=ARGUMENTS.get(name, ""), variables=VARIABLES.get(name, "")
    )
    wrapper.write_text(text)
    wrapper.chmod(0o755)
    return wrapper


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["test"], help=f"programs, or groups: {', '.join(GROUPS)}")
    parser.add_argument("--list-packages", action="store_true", help="only print the packages that are missing")
    parser.add_argument("--directory", type=Path, default=TOOLS_DIRECTORY, help="where to put them")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    if shutil.which("sh") is None:
        sys.exit("a POSIX shell is needed")
    sys.exit(main())
