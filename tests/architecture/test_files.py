"""Files stay small, say only what belongs in them, and name no machine of ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from architecture.sources import ROOT, project_files

LONGEST = 400

# A file that is longer, with the reason that splitting it would make it worse.
LONG_WITH_REASON: dict[str, str] = {}

# Written in pieces, so that this file does not hold them.
FORBIDDEN = {
    "a package index's host": re.compile("pypi" + r"\.org|python" + "hosted|registry" + r"\.npmjs|debian" + r"\.org"),
    "a path of one machine": re.compile(r"(?<![\w./}-])/(?:" + "work|farm|opt/py" + "pi|tmp/boot|root)/"),
    "an unfinished end": re.compile(r"\b(?:TO" + "DO|FIX" + "ME|XX" + r"X)\b|NotImplemented" + "Error"),
}


def text_of(path: Path) -> str | None:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None


def too_long(paths: list[Path]) -> dict[str, int]:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths if path.suffix == ".py"
    }
    return {name: lines for name, lines in lengths.items() if lines > LONGEST and name not in LONG_WITH_REASON}


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    assert too_long(project_files()) == {}


def test_a_reason_for_a_long_file_is_still_needed() -> None:
    short = [name for name in LONG_WITH_REASON if len((ROOT / name).read_text().splitlines()) <= LONGEST]
    assert short == []


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in project_files()
        if path.suffix not in {".lock", ".csv"} and (text := text_of(path)) is not None
        for number, line in enumerate(text.splitlines(), start=1)
        if FORBIDDEN[what].search(line)
    }
    assert found == set()


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a package index's host", "see https://" + "pypi" + ".org/project/x"),
        ("a path of one machine", 'open("/' + 'work/main/x")'),
        ("an unfinished end", "# TO" + "DO later"),
    ],
)
def test_what_is_forbidden_would_be_found(what: str, line: str) -> None:
    assert FORBIDDEN[what].search(line)


def test_folders_of_our_own_that_look_alike_are_no_finding() -> None:
    assert not FORBIDDEN["a path of one machine"].search("out/work/x and network/work/")


def test_the_licence_is_the_one_that_the_project_names() -> None:
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
