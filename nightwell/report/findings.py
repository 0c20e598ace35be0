"""A short report that a geologist can argue with: what a well shows, and for every statement its numbers.

As text for the terminal, as Markdown, and as a document for JSON.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

import xarray as xr

from nightwell.errors import FormatError, InputError
from nightwell.wells.findings import Evidence, Finding, FindingKind, findings_of

_WIDTH = 100

#: Order and headings of the sections.
SECTIONS = {
    FindingKind.SHOW: "Shows",
    FindingKind.RISE: "Rises",
    FindingKind.CONTACT: "Contacts",
    FindingKind.PROXIMITY: "Proximity to petroleum",
    FindingKind.ORIGIN: "Streams compared",
    FindingKind.WARNING: "Warnings",
    FindingKind.QUALITY: "Quality of the data",
    FindingKind.NOT_ASSESSED: "Not assessed",
}

_LIMITS = (
    "A first reading by rules of thumb. It knows no lithology, no mud additives and no pressures; thresholds without a"
    " publication are choices of the program, and each can be changed in a file."
)


def findings_within(
    result: xr.DataTree, *, top_m: float | None = None, bottom_m: float | None = None
) -> tuple[Finding, ...]:
    """Return the findings of a result that touch an interval, downwards.

    Raises
    ------
    InputError
        The interval is upside down.
    FormatError
        The result was made before there were findings, or by a newer release.
    """
    if top_m is not None and bottom_m is not None and top_m >= bottom_m:
        raise InputError(
            "the interval of the report",
            expected="an upper depth above the lower one",
            found=f"{top_m:g} to {bottom_m:g} m",
            cause="the two were swapped",
            next_step="give --top the smaller number",
        )
    if "findings" not in result.children:
        raise FormatError(
            f"the analysis of well '{result.attrs.get('well', '?')}'",
            expected="a group '/findings'",
            found=f"groups {', '.join(result.children)}",
            cause="an older release made it",
            next_step="analyse the well again",
        )
    upper, lower = -math.inf if top_m is None else top_m, math.inf if bottom_m is None else bottom_m
    every = findings_of(result["findings"].to_dataset())
    return tuple(one for one in every if one.bottom_m >= upper and one.top_m <= lower)


def report_document(
    result: xr.DataTree, *, top_m: float | None = None, bottom_m: float | None = None
) -> dict[str, object]:
    """Return the report as plain values: well, whether simulated, provenance, rules, and the findings."""
    return {
        "well": str(result.attrs["well"]),
        "simulated": bool(result.attrs.get("simulated")),
        "provenance": str(result.attrs.get("provenance", "")),
        "rules": [str(one) for one in result.attrs.get("rules", ())],
        "limits": _LIMITS,
        "findings": [one.as_document() for one in findings_within(result, top_m=top_m, bottom_m=bottom_m)],
    }


def report_text(result: xr.DataTree, *, top_m: float | None = None, bottom_m: float | None = None) -> str:
    """Return the report as text for a terminal."""
    lines = [f"Well {result.attrs['well']}"]
    if result.attrs.get("simulated"):
        lines.append("SIMULATED in part:")
    lines += textwrap.wrap(str(result.attrs.get("provenance", "")), _WIDTH, initial_indent="  ", subsequent_indent="  ")
    for title, findings in _sections(findings_within(result, top_m=top_m, bottom_m=bottom_m)):
        lines += ["", f"{title} ({len(findings)})"]
        for one in findings:
            lines += textwrap.wrap(f"{_where(one)}  {one.statement}.", _WIDTH, subsequent_indent="    ")
            for evidence in one.evidence:
                lines += textwrap.wrap(
                    f"- {evidence_in_words(evidence)}", _WIDTH, initial_indent="    ", subsequent_indent="      "
                )
            for condition in one.thresholds:
                lines += textwrap.wrap(f"= {condition}", _WIDTH, initial_indent="    ", subsequent_indent="      ")
            for caveat in one.caveats:
                lines += textwrap.wrap(f"? {caveat}", _WIDTH, initial_indent="    ", subsequent_indent="      ")
            lines += textwrap.wrap(f"rule {one.rule}", _WIDTH, initial_indent="    ")
    lines += ["", *textwrap.wrap(_LIMITS, _WIDTH)]
    return "\n".join(lines) + "\n"


def report_markdown(result: xr.DataTree, *, top_m: float | None = None, bottom_m: float | None = None) -> str:
    """Return the report as Markdown, with the sources of all rules at its end."""
    lines = [f"# Well {result.attrs['well']}", ""]
    if result.attrs.get("simulated"):
        lines += ["**Simulated in part.**", ""]
    lines += [str(result.attrs.get("provenance", "")), ""]
    findings = findings_within(result, top_m=top_m, bottom_m=bottom_m)
    for title, group in _sections(findings):
        lines += [f"## {title}", ""]
        for one in group:
            lines.append(f"- **{_where(one)}** {one.statement}. (`{one.rule}`)")
            lines += [f"  - {evidence_in_words(evidence)}" for evidence in one.evidence]
            lines += [f"  - class: {condition}" for condition in one.thresholds]
            lines += [f"  - *But:* {caveat}" for caveat in one.caveats]
        lines.append("")
    sources = {one.rule: one.source for one in findings}
    lines += ["## What it rests on", "", _LIMITS, ""]
    lines += [f"- `{rule}`: {source}" for rule, source in sorted(sources.items())]
    return "\n".join(lines) + "\n"


def evidence_in_words(one: Evidence) -> str:
    """Return one number with what it was compared with, and where it was detected."""
    units = "" if one.units == "1" else f" {one.units}"
    if one.comparison == "->":
        number = f"{_number(one.value)} to {_number(one.threshold)}{units}, {one.what}"
    else:
        sigma = f" +- {_number(one.sigma)}" if math.isfinite(one.sigma) else ""
        number = f"{_number(one.value)}{sigma}{units}" if math.isfinite(one.value) else "not detected"
        if one.what != "median":
            number = f"{one.what} {number}"
        if math.isfinite(one.threshold):
            number += f" ({one.comparison} {_number(one.threshold)})"
    return f"{one.title}: {number}; detected in {one.detected} of {one.depths} depths"


def _sections(findings: tuple[Finding, ...]) -> Iterator[tuple[str, list[Finding]]]:
    for kind, title in SECTIONS.items():
        group = [one for one in findings if one.kind is kind]
        if group:
            yield title, group


def _where(one: Finding) -> str:
    if one.top_m == one.bottom_m:
        return f"{one.top_m:.1f} m, {one.stream}:"
    return f"{one.top_m:.1f} to {one.bottom_m:.1f} m, {one.stream}:"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"  # noqa: PLR2004 - for reading only
