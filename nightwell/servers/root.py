"""The read-only root of a virtual server, made of this host's own Python by bind mounts.

What a program needs to run and nothing else: ``/usr`` with what Debian links to it, the interpreter, the virtual
environment, the nightwell package. No home, no settings, no state of the site, and of ``/etc`` the few files that hold
no secret.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nightwell
from nightwell.errors import SettingsError

HOME = "/home/server"

_SYSTEM = ("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr")
_ETC = ("alternatives", "ld.so.cache", "localtime", "ssl/certs", "ssl/openssl.cnf")
_SKELETON = ("dev", "home/server", "proc", "tmp", "etc")
_NSSWITCH = "hosts: files\npasswd: files\ngroup: files\n"
_OTHERS_MAY_ENTER = 0o005


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder or file of the host that stands in the root at its own place, read-only."""

    path: Path


def trees() -> tuple[Tree, ...]:
    """Return what is mounted into the root besides its skeleton, outermost first."""
    wanted = [Path("/usr")]
    wanted += [Path("/") / name for name in _SYSTEM if _is_real_folder(Path("/") / name)]
    wanted += [Path("/etc") / name for name in _ETC if (Path("/etc") / name).exists()]
    wanted += [Path(sys.base_prefix), Path(sys.base_exec_prefix), Path(sys.prefix)]
    wanted += [Path(nightwell.__file__).parent]
    wanted += [Path(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if certificates := os.environ.get("SSL_CERT_FILE"):
        wanted.append(Path(certificates))
    return tuple(Tree(path) for path in _outermost(path.absolute() for path in wanted if path.exists()))


def check_readable(found: Iterable[Tree]) -> None:
    """Refuse (SettingsError) a tree that only its owner may read: the program runs as another user."""
    for tree in found:
        if tree.path.stat().st_mode & _OTHERS_MAY_ENTER == 0:
            raise SettingsError(
                f"folder '{tree.path}'",
                expected="one that every user of this host may read: virtual servers run nightwell from it",
                found="no rights for others",
                cause="nightwell was installed with a umask that hides it",
                next_step=f"chmod -R o+rX {tree.path}",
            )


def make_skeleton(root: Path, hosts: Mapping[str, str], found: Iterable[Tree]) -> None:
    """Make the folders, links and generated files that the mounts stand on; ``hosts`` maps names to addresses."""
    for name in _SKELETON:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in _SYSTEM:
        if (link := Path("/") / name).is_symlink():
            (root / name).symlink_to(link.readlink())
    names = "".join(f"{address} {name}\n" for name, address in hosts.items())
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{names}")
    (root / "etc/nsswitch.conf").write_text(_NSSWITCH)
    (root / "etc/passwd").write_text(f"root:x:0:0::{HOME}:/bin/sh\nserver:x:1000:1000::{HOME}:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nserver:x:1000:\n")
    for tree in found:
        place = root / tree.path.relative_to("/")
        if tree.path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()


def _is_real_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Return the paths in order, without those that lie in another one."""
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(outer) for outer in kept):
            kept.append(path)
    return kept
