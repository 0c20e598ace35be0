"""The report of what a well shows: every number of the findings in it, and what is simulated."""

from __future__ import annotations

import json

import pytest
import xarray as xr

from nightwell.errors import FormatError, InputError
from nightwell.report.findings import (
    evidence_in_words,
    findings_within,
    report_document,
    report_markdown,
    report_text,
)
from nightwell.wells.findings import Evidence


def test_every_statement_stands_with_its_numbers_its_rule_and_its_doubts(result: xr.DataTree) -> None:
    findings = findings_within(result)
    assert len(findings) > 3
    text, markdown = report_text(result), report_markdown(result)
    flat = " ".join(text.split())
    for one in findings:
        assert " ".join(one.statement.split()) in flat
        assert one.statement in markdown
        assert f"`{one.rule}`: {one.source}" in markdown
        for word in (*(evidence_in_words(number) for number in one.evidence), *one.thresholds, *one.caveats):
            assert " ".join(word.split()) in flat
            assert word in markdown
    assert "SIMULATED in part" in text
    assert "**Simulated in part.**" in markdown
    assert max(len(line) for line in text.splitlines()) <= 100


def test_a_measured_well_is_not_called_simulated(result: xr.DataTree) -> None:
    measured = result.copy()
    measured.attrs["simulated"] = 0
    assert "SIMULATED" not in report_text(measured)
    assert "Simulated in part" not in report_markdown(measured)


def test_the_document_is_plain_json_without_nan(result: xr.DataTree) -> None:
    document = report_document(result)
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again["simulated"] is True
    assert "zone@1" in again["rules"]
    assert [one["statement"] for one in again["findings"]] == [one.statement for one in findings_within(result)]


def test_an_interval_keeps_what_touches_it(result: xr.DataTree) -> None:
    every = findings_within(result)
    one = min(every, key=lambda finding: finding.bottom_m)
    assert one in findings_within(result, top_m=one.bottom_m)
    assert one in findings_within(result, bottom_m=one.top_m)
    assert one not in findings_within(result, top_m=one.bottom_m + 0.1)
    with pytest.raises(InputError, match="swapped"):
        findings_within(result, top_m=1850.0, bottom_m=1820.0)


def test_an_analysis_of_an_older_release_is_refused(result: xr.DataTree) -> None:
    older = result.copy()
    del older["findings"]
    with pytest.raises(FormatError, match="analyse the well again"):
        report_text(older)


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (
            Evidence("a", "A", "ppm", 22697.4, 182.0, ">=", 50.0, "median", 84, 84),
            "A: 22,697 +- 182 ppm (>= 50); detected in 84 of 84 depths",
        ),
        (
            Evidence("a", "A", "1", float("nan"), float("nan"), ">=", 4.0, "z", 0, 84),
            "A: z not detected (>= 4); detected in 0 of 84 depths",
        ),
        (
            Evidence("a", "A", "1", 5.1, float("nan"), "->", 12.0, "segment above, segment below", 3, 4),
            "A: 5.1 to 12, segment above, segment below; detected in 3 of 4 depths",
        ),
    ],
)
def test_a_number_in_words(evidence: Evidence, words: str) -> None:
    assert evidence_in_words(evidence) == words
