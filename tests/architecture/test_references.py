"""The bibliography: every key that is cited exists, every entry is cited, and none lacks what finds the work."""

from __future__ import annotations

import re

from architecture.sources import ROOT
from pybtex.database import Entry, parse_file

REFERENCES = ROOT / "docs" / "references"
# A surname or two, and a year.
KEY = re.compile(r"\b[A-Z][a-z]+[A-Za-z]*(?:18|19|20)\d\d[a-z]?\b")


def entries() -> dict[str, Entry]:
    merged: dict[str, Entry] = {}
    for path in sorted(REFERENCES.glob("*.bib")):
        for key, entry in parse_file(str(path)).entries.items():  # type: ignore[no-untyped-call]  # pybtex has no types
            assert key not in merged, f"{key} stands twice; the second time in {path.name}"
            merged[key] = entry
    return merged


def citing_texts() -> dict[str, str]:
    folders = (("docs", "*.md"), ("nightwell", "**/*.py"), ("nightwell", "**/*.toml"), ("nightwell", "**/*.csv"))
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for folder, pattern in folders
        for path in sorted((ROOT / folder).glob(pattern))
    }


def test_every_key_that_is_cited_exists() -> None:
    known = set(entries())
    cited = {(name, key) for name, text in citing_texts().items() for key in KEY.findall(text)}
    assert len(cited) > 20
    assert [one for one in sorted(cited) if one[1] not in known] == []


def test_every_entry_is_cited() -> None:
    texts = "\n".join(citing_texts().values())
    assert [key for key in entries() if not re.search(rf"\b{re.escape(key)}\b", texts)] == []


def test_every_entry_says_who_what_and_where() -> None:
    for key, entry in entries().items():
        fields = set(entry.fields or ())
        assert entry.persons or "patent" in str(entry.fields), f"{key}: no author"
        assert "title" in fields, f"{key}: no title"
        assert {"year", "url", "number", "howpublished"} & fields, f"{key}: no year, number or address"
