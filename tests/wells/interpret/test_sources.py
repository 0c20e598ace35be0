"""Where thresholds and formulas come from: a work of the bibliography, or it is said whose choice they are."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
from pybtex.database import parse_file

BIBLIOGRAPHY = Path(__file__).resolve().parents[3] / "docs" / "references"
OWN = re.compile(r"choices? of this library|of this library|The species itself|Sum of the chromatograph", re.IGNORECASE)
NOT_READ = re.compile(r"not read by us|not verified", re.IGNORECASE)
TABLES = ("indicator", "classification", "rule")


@cache
def sources() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in files("nightwell.wells").joinpath("indicator_data").iterdir():
        if file.name.endswith(".toml"):
            document = tomllib.loads(file.read_text(encoding="utf-8"))
            found |= {f"{table} {one['name']}": one["source"] for table in TABLES for one in document.get(table, [])}
    return found


@cache
def works() -> dict[tuple[str, str], bool]:
    """Return surname of the first author and year of each work, and whether it was verified."""
    found = {}
    for path in sorted(BIBLIOGRAPHY.glob("*.bib")):
        for entry in parse_file(str(path)).entries.values():  # type: ignore[no-untyped-call]  # pybtex has no types
            author = next((people[0] for people in entry.persons.values()), None)  # a patent may have none
            if author is None:
                continue
            surname = re.sub(r"[{}]", "", " ".join(author.last_names)).split()[0]
            found[surname, entry.fields.get("year", "")] = "not verified" not in entry.fields.get("note", "").lower()
    return found


@pytest.mark.parametrize("name", sorted(sources()))
def test_a_source_is_a_work_of_the_bibliography_or_says_whose_choice_it_is(name: str) -> None:
    source = sources()[name]
    named = [(surname, year) for surname, year in works() if year and surname in source and year in source]
    assert named or OWN.search(source), source
    assert NOT_READ.search(source) or all(works()[one] for one in named), f"{source}: a work that nobody verified"


def test_thresholds_say_who_chose_them() -> None:
    """A rule's thresholds are ours, and it says so; a classification's are its source's, unless it says otherwise."""
    for name, source in sources().items():
        if name.startswith("rule "):
            assert re.search(r"choices? of this library", source, re.IGNORECASE) or "million" in source, name
