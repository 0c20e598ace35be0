"""Fetch Debian packages without root: apt with its own state folder, then ``dpkg-deb --extract``.

apt resolves against what the system has installed, so only what is missing comes down; its signatures are checked as
always. Nothing outside the given folder is written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


class RootlessAptError(Exception):
    """apt could not give the packages; the text says what to do."""


def download(packages: Sequence[str], folder: Path) -> list[Path]:
    """Download packages, and what they need that the system lacks, into ``folder``; return the ``.deb`` files.

    Raises
    ------
    RootlessAptError
        apt or dpkg-deb is missing (not Debian), or apt failed; its last words are in the error.
    """
    for needed in ("apt-get", "dpkg-deb"):
        if shutil.which(needed) is None:
            raise RootlessAptError(
                f"{needed} is not on this system, so packages cannot be fetched without root. Install the programs "
                f"of these Debian packages with your own package manager: {' '.join(packages)}"
            )
    options = _private_options(folder)
    archives = folder / "archives"
    _apt([*options, "update"])
    # --download-only resolves as an installation would, and stops before it would need root.
    _apt([*options, "--yes", "--no-install-recommends", "--download-only", "--reinstall", "install", *packages])
    return sorted(archives.glob("*.deb"))


def extract(archive: Path, root: Path) -> None:
    """Unpack one ``.deb`` below ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    subprocess.run(["dpkg-deb", "--extract", str(archive), str(root)], check=True)


def _private_options(folder: Path) -> list[str]:
    for below in ("state/lists/partial", "archives/partial", "log"):
        (folder / below).mkdir(parents=True, exist_ok=True)
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::State::extended_states": folder / "state" / "extended_states",
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
        "Dir::Log": folder / "log",
        "Debug::NoLocking": "true",
        # apt drops to its own user for downloads, who may not write here.
        "APT::Sandbox::User": "",
        # Container images delete archives after every installation; here they are what we came for.
        "DPkg::Post-Invoke::": "true",
        "APT::Keep-Downloaded-Packages": "true",
        "Acquire::Languages": "none",
        "quiet": "1",
    }
    return [word for key, value in settings.items() for word in ("--option", f"{key}={value}")]


def _apt(arguments: Sequence[str]) -> None:
    done = subprocess.run(
        ["apt-get", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise RootlessAptError(f"apt-get {arguments[-1]} failed:\n{last}")
