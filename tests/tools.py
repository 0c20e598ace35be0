"""Where the tests' external programs are: on PATH, or in the project's own `.tools`."""

from __future__ import annotations

import shutil

import pytest

PACKAGES = {
    "nbdinfo": "libnbd-bin",
    "nbdcopy": "libnbd-bin",
    "qemu-img": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "fio": "fio",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "openssl": "openssl",
}


def tool(name: str) -> str:
    """Return the path of an external program; a missing one fails the test and says how to install it."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed: apt install {PACKAGES.get(name, name)}")
    return found
