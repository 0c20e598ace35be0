"""The environment is made from the lock alone, and made again only when something it depends on changed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import set_up

ROOT = Path(__file__).resolve().parents[2]


def locked(text: str) -> dict[str, list[str]]:
    """Return every requirement of a lock with its continuation lines."""
    blocks = re.split(r"(?m)^(?=[a-z0-9])", text)[1:]
    return {re.match(r"[a-z0-9-]+", block)[0]: block.splitlines()[1:] for block in blocks}  # type: ignore[index]  # the split guarantees a name


def test_the_lock_pins_every_requirement_with_hashes_and_names_no_host() -> None:
    for lock in (set_up.LOCK, set_up.BOOTSTRAP_LOCK):
        text = lock.read_text()
        assert "://" not in text
        assert not re.search(r"(?m)^\s*(-i|--index-url|--extra-index-url|--find-links|--trusted-host)\b", text)
        pinned = locked(text)
        assert pinned
        assert [name for name, lines in pinned.items() if not any("--hash=sha256:" in line for line in lines)] == []


def test_the_lock_holds_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [
        *project["project"]["dependencies"],
        *(one for extra in project["project"]["optional-dependencies"].values() for one in extra),
        *(one for group in project["dependency-groups"].values() for one in group),
    ]
    names = {re.match(r"[A-Za-z0-9._-]+", one)[0].lower().replace("_", "-").replace(".", "-") for one in asked}  # type: ignore[index]  # every requirement begins with a name
    assert names - locked(set_up.LOCK.read_text()).keys() == set()


def test_the_lock_serves_both_lines_of_icechunk() -> None:
    text = set_up.LOCK.read_text()
    assert re.search(r"(?m)^icechunk==1\.\S+ ; python_full_version < '3\.12'", text)
    assert re.search(r"(?m)^icechunk==2\.\S+ ; python_full_version >= '3\.12'", text)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the environment depends on, with the two costly steps recorded instead of done."""
    for name in ("pyproject.toml", "requirements.lock", "infra/bootstrap.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(set_up, "ROOT", tmp_path)
    monkeypatch.setattr(set_up, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(set_up, "BOOTSTRAP_LOCK", tmp_path / "infra" / "bootstrap.lock")
    return tmp_path


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements.lock", "infra/bootstrap.lock"])
def test_only_a_change_makes_the_environment_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    done: list[str] = []
    monkeypatch.setattr(set_up, "make_venv", lambda venv: venv.mkdir(exist_ok=True))
    monkeypatch.setattr(set_up, "install", lambda venv: done.append(venv.name))
    arguments = ["--venv", str(project / ".venv")]
    assert set_up.main(arguments) == 0
    assert set_up.main(arguments) == 0
    assert len(done) == 1
    with (project / changed).open("a") as file:
        file.write("\n# changed\n")
    assert set_up.main(arguments) == 0
    assert len(done) == 2


def test_a_failed_step_is_told_and_tried_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(venv: Path) -> None:
        raise subprocess.CalledProcessError(1, ["uv"])

    monkeypatch.setattr(set_up, "make_venv", fail)
    for _ in range(2):
        assert set_up.main(["--venv", str(project / ".venv")]) == 1
        assert "set-up failed" in capsys.readouterr().err


def test_a_version_of_python_that_only_pretends_to_be_there_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "path").mkdir()
    shim = tmp_path / "path" / "python3.97"
    shim.write_text("#!/bin/sh\necho not active >&2\nexit 127\n")
    shim.chmod(0o755)
    real = tmp_path / ".pyenv" / "versions" / "3.97.1" / "bin" / "python3.97"
    real.parent.mkdir(parents=True)
    real.symlink_to(sys.executable)
    environment = {"PATH": f"{tmp_path / 'path'}:/usr/bin:/bin", "HOME": str(tmp_path)}
    command = ["/bin/sh", str(ROOT / "infra" / "find_python"), "3.97"]
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    assert Path(found).name.startswith("python3")
    real.unlink()
    assert subprocess.run(command, env=environment, check=False, capture_output=True).returncode == 1
