#!/usr/bin/env python3
"""Make the project's environment: ``.venv`` with exactly what ``requirements.lock`` pins, and the project itself.

Needs Python 3.11 or newer and nothing else; writes nothing outside the project's folder. Running it again when nothing
changed takes a moment and no network.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import rootless_apt

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
BOOTSTRAP_LOCK = ROOT / "infra" / "bootstrap.lock"
OLDEST = (3, 11)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="folder of the environment (default: .venv)")
    venv = parser.parse_args(arguments).venv.absolute()
    if sys.version_info < OLDEST:
        print(f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    stamp = venv / "set-up.stamp"
    state = fingerprint(venv)
    if stamp.is_file() and stamp.read_text() == state:
        return 0
    print(f"setting up {venv.name} (once; some hundred packages come down)", flush=True)
    try:
        make_venv(venv)
        install(venv)
    except (subprocess.CalledProcessError, rootless_apt.RootlessAptError) as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    stamp.write_text(state)
    return 0


def fingerprint(venv: Path) -> str:
    """Return a digest of all that the environment's content depends on."""
    parts = [
        sys.version,
        str(venv),
        LOCK.read_text(),
        BOOTSTRAP_LOCK.read_text(),
        (ROOT / "pyproject.toml").read_text(),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def make_venv(venv: Path) -> None:
    """Make the virtual environment, with uv in it; one of another Python, or a broken one, is replaced."""
    python = venv / "bin" / "python"
    if not _answers(python, f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]!r})"):
        shutil.rmtree(venv, ignore_errors=True)
        _make_empty(venv)
    if (venv / "bin" / "uv").exists():
        return
    arguments = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(BOOTSTRAP_LOCK)]
    if _answers(python, "import pip"):
        _run([python, "-m", "pip", *arguments])
    elif _answers(Path(sys.executable), "import pip"):
        _run([sys.executable, "-m", "pip", "--python", python, *arguments])
    else:
        _install_with_fetched_pip(python, arguments)


def install(venv: Path) -> None:
    """Make the environment hold what the lock pins, no more and no less, then the project itself, editable."""
    uv, python = venv / "bin" / "uv", venv / "bin" / "python"
    _run([uv, "pip", "sync", "--python", python, "--require-hashes", "--compile-bytecode", LOCK])
    _run([uv, "pip", "install", "--python", python, "--no-deps", "--no-build-isolation", "--editable", ROOT])


def _make_empty(venv: Path) -> None:
    if _answers(Path(sys.executable), "import ensurepip"):
        _run([sys.executable, "-m", "venv", venv])
    else:
        # Debian keeps ensurepip in python3-venv, which only root can install; uv needs any pip once, and no more.
        _run([sys.executable, "-m", "venv", "--without-pip", venv])


def _install_with_fetched_pip(python: Path, arguments: Sequence[str]) -> None:
    """Install with the pip of Debian's python3-pip-whl package, fetched without root and thrown away after."""
    with tempfile.TemporaryDirectory(prefix="nightwell-pip-") as scratch:
        for archive in rootless_apt.download(["python3-pip-whl"], Path(scratch) / "apt"):
            rootless_apt.extract(archive, Path(scratch) / "root")
        wheel = next((Path(scratch) / "root" / "usr" / "share" / "python-wheels").glob("pip-*.whl"))
        _run([python, f"{wheel}/pip", *arguments])


def _answers(python: Path, code: str) -> bool:
    if not python.exists():
        return False
    return subprocess.run([str(python), "-c", code], capture_output=True, check=False).returncode == 0


def _run(command: Sequence[str | Path]) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in _HARMFUL}
    subprocess.run([str(word) for word in command], check=True, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL)


# Bytecode is compiled once here (importing Prefect takes 1.4 s with it and 3.5 s without); a foreign environment's
# variables would send the packages elsewhere.
_HARMFUL = frozenset({"PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "PIP_USER"})


if __name__ == "__main__":
    sys.exit(main())
