"""Programs come without root: unpacked packages run from wherever the folder stands, and a failure says what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import fetch_tools
import pytest
import rootless_apt
from tools import tool

from nightwell.programs import PACKAGES, find_program

CONTROL = "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: none\nDescription: made by a test\n"


def build_package(folder: Path, name: str, files: dict[str, str]) -> Path:
    tree = folder / f"{name}-tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(CONTROL.format(name=name))
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
        (tree / path).chmod(0o755)
    archive = folder / f"{name}.deb"
    command = [tool("dpkg-deb"), "--root-owner-group", "--build", str(tree), str(archive)]
    subprocess.run(command, check=True, capture_output=True)
    return archive


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """A tools folder into which one package with a program and a library was unpacked."""
    script = '#!/bin/sh\necho "libraries: $LD_LIBRARY_PATH"\necho "arguments: $*"\n'
    archive = build_package(tmp_path, "greeter", {"usr/sbin/greet": script, "usr/lib/greeter/libgreet.so.1": "library"})
    directory = tmp_path / "tools"
    rootless_apt.extract(archive, directory / "root")
    fetch_tools.write_wrapper("greet", directory)
    return directory


def test_an_unpacked_program_finds_its_libraries_also_after_a_move(unpacked: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "tools with a space"
    moved.parent.mkdir()
    unpacked.rename(moved)
    found = find_program("greet", tools_directory=moved)
    assert found == moved / "bin" / "greet"
    said = subprocess.run([str(found), "one", "two words"], check=True, capture_output=True, text=True).stdout
    assert f"libraries: {moved}/root/usr/lib/greeter" in said
    assert "arguments: one two words" in said


def test_a_package_without_its_program_is_refused(unpacked: Path) -> None:
    with pytest.raises(rootless_apt.RootlessAptError, match="holds no program fio"):
        fetch_tools.write_wrapper("fio", unpacked)


def test_without_apt_the_packages_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(fetch_tools, "find_program", lambda name, **_: None)
    assert fetch_tools.main(["fio", "--directory", str(tmp_path / "tools")]) == 1
    said = capsys.readouterr().err
    assert "apt-get is not on this system" in said
    assert "apt install fio" in said


def test_a_mistyped_program_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch_tools.main(["nbdcoyp"]) == 2
    assert "nbdcoyp" in capsys.readouterr().err


def test_programs_that_are_here_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_tools, "find_program", lambda name, **_: Path("/usr/bin") / name)
    monkeypatch.setattr(fetch_tools, "find_guest_parts", lambda **_: "here")
    monkeypatch.setattr(rootless_apt, "download", lambda *_: pytest.fail("nothing was missing"))
    assert fetch_tools.main(["test", "demo", "bench", "--directory", str(tmp_path)]) == 0


def test_every_group_names_known_programs() -> None:
    named = {name for group in fetch_tools.GROUPS.values() for name in group}
    assert named <= PACKAGES.keys() | {fetch_tools.GUEST}


def test_chromium_runs_past_its_start_script_which_names_an_installed_system(tmp_path: Path) -> None:
    start = '#!/bin/sh\nexec /usr/lib/chromium/chromium "$@"\n'
    real = '#!/bin/sh\necho "arguments: $*"\n'
    archive = build_package(tmp_path, "chromium", {"usr/bin/chromium": start, "usr/lib/chromium/chromium": real})
    rootless_apt.extract(archive, tmp_path / "tools" / "root")
    wrapper = fetch_tools.write_wrapper("chromium", tmp_path / "tools")
    said = subprocess.run([str(wrapper), "--headless"], check=True, capture_output=True, text=True).stdout
    assert said == "arguments: --no-sandbox --headless\n"
