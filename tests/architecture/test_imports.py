"""The import contract holds, and every clause of it can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("flows", "pools", "tasks", "nightwell")

# Where a line is planted, the line, and the words of the contract that it breaks.
VIOLATIONS = [
    ("nightwell/planted.py", "import flows", "Arrows point down"),
    ("tasks/planted.py", "import flows", "Arrows point down"),
    ("nightwell/planted.py", "import prefect", "The library never imports Prefect"),
    ("nightwell/protocol/planted.py", "import nightwell.store", "The protocol's core is pure"),
    ("nightwell/store/planted.py", "import nightwell.wells", "The two jobs do not know each other"),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contract_holds() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(("file", "line", "contract"), VIOLATIONS)
def test_a_planted_import_breaks_its_contract(copy: Path, file: str, line: str, contract: str) -> None:
    (copy / file).write_text(f'"""Planted."""\n\n{line}\n')
    done = lint_imports(copy)
    assert done.returncode == 1
    broken = [text for text in done.stdout.splitlines() if text.endswith("BROKEN")]
    assert any(text.startswith(contract) for text in broken), done.stdout


def test_the_library_loads_without_prefect() -> None:
    code = (
        "import importlib, pkgutil, sys\n"
        "sys.modules['prefect'] = None\n"
        "import nightwell\n"
        "names = [module.name for module in pkgutil.walk_packages(nightwell.__path__, 'nightwell.')]\n"
        "[importlib.import_module(name) for name in names if '__main__' not in name]\n"
        "print(len(names))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 12
