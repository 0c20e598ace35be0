"""Where this host lets us enforce limits on a group of processes: control groups, version 1 or 2.

A group for virtual servers is made below a parent of ours. Root may make one anywhere; without root somebody must have
delegated a parent (``Delegate=yes`` of a systemd unit, or ``chown``).
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CONTROLLERS = ("memory", "cpu", "pids")

_MOUNTS = Path("/proc/self/mountinfo")
_REMOVE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The parent group in every mounted hierarchy.

    Parameters
    ----------
    parent
        Path below each hierarchy's root: ``/nightwell``.
    roots
        Where the hierarchies are mounted.
    unified
        Whether this is version 2.
    """

    parent: str
    roots: tuple[Path, ...]
    unified: bool

    def path(self, name: str) -> str:
        """Return the path of one server's group, as an OCI bundle names it."""
        return f"{self.parent.rstrip('/')}/{name}"

    def folders(self, name: str) -> tuple[Path, ...]:
        """Return the group's folder in each hierarchy where it stands."""
        candidates = (root / self.path(name).lstrip("/") for root in self.roots)
        return tuple(folder for folder in candidates if folder.is_dir())

    def members(self, name: str) -> set[int]:
        """Return the ids of the processes in the group."""
        found: set[int] = set()
        for folder in self.folders(name):
            with suppress(OSError):
                found |= {int(line) for line in (folder / "cgroup.procs").read_text().split()}
        return found

    def remove(self, name: str) -> None:
        """Remove the group, whose processes are gone; the kernel may take a moment to notice the last one."""
        deadline = time.monotonic() + _REMOVE_TIMEOUT_S
        for folder in self.folders(name):
            while True:
                try:
                    _remove_tree(folder)
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.005)


def find_cgroups(parent: str) -> Cgroups | None:
    """Return the parent group when groups with all of ``CONTROLLERS`` can be made there, else ``None``."""
    if not parent:
        return None
    mounts = _mounts()
    unified = next((root for kind, root, _ in mounts if kind == "cgroup2" and _offers_all(root)), None)
    if unified is not None:
        return Cgroups(parent, (unified,), unified=True) if _can_make(unified, parent) else None
    needed = [_root_of(mounts, controller) for controller in CONTROLLERS]
    if any(root is None or not _can_make(root, parent) for root in needed):
        return None
    return Cgroups(parent, tuple(root for _, root, _ in mounts), unified=False)


def _mounts() -> list[tuple[str, Path, frozenset[str]]]:
    found = []
    for line in _MOUNTS.read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            found.append((kind, Path(before.split()[4]), frozenset(options.split(","))))
    return found


def _offers_all(root: Path) -> bool:
    with suppress(OSError):
        return set(CONTROLLERS) <= set((root / "cgroup.controllers").read_text().split())
    return False


def _root_of(mounts: list[tuple[str, Path, frozenset[str]]], controller: str) -> Path | None:
    return next((root for kind, root, options in mounts if kind == "cgroup" and controller in options), None)


def _can_make(root: Path, parent: str) -> bool:
    if not (root / "cgroup.procs").exists():  # something else is mounted over it
        return False
    folder = root / parent.strip("/")
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        return os.access(folder, os.W_OK | os.X_OK)
    return False


def _remove_tree(folder: Path) -> None:
    with suppress(FileNotFoundError):
        for entry in list(folder.iterdir()):
            if entry.is_dir():  # groups in it; its files are the kernel's
                _remove_tree(entry)
        folder.rmdir()
