"""Findings: statements about intervals of a well, each with the curves and thresholds that it rests on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np
import xarray as xr

from nightwell.errors import FormatError

#: Version of the JSON document of a finding.
FINDING_FORMAT = 1


class FindingKind(StrEnum):
    """What a finding says."""

    SHOW = "show"  # gas well above its background: a zone
    RISE = "rise"  # gas goes up and stays up, longer than any window
    CONTACT = "contact"  # several log-ratios change together
    PROXIMITY = "proximity"  # aromatics and acids above their background
    ORIGIN = "origin"  # streams compared: in place, migrated, of the past
    WARNING = "warning"  # gas that the bit made, or that went round with the mud
    QUALITY = "quality"  # no reading may rest on it: gaps, absurd values, lack of fit
    NOT_ASSESSED = "not_assessed"  # what could not be looked at, and why


@dataclass(frozen=True, slots=True)
class Evidence:
    """One number that a finding rests on.

    Parameters
    ----------
    curve, title, units
        Which curve.
    value, sigma
        Median over the interval, and one-sigma where known (else NaN).
    comparison
        How it was compared: ``>=``, ``<``, ``->`` (changes to), or empty for a number given for information.
    threshold
        With what; NaN for nothing.
    what
        Of the curve, what the number is: ``median``, ``z``, ``times its background``.
    detected, depths
        In how many of how many depths of the interval the curve was detected.
    """

    curve: str
    title: str
    units: str
    value: float
    sigma: float
    comparison: str
    threshold: float
    what: str
    detected: int
    depths: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement.

    Parameters
    ----------
    kind, stream
        What it says, of which stream (``across`` for several).
    top_m, bottom_m
        Where; equal for a single depth.
    statement
        In words.
    rule
        Name and version of the rule, or of the classification, whose thresholds it rests on.
    source
        Of the rule.
    evidence
        Numbers.
    caveats
        What speaks against it, or was not known.
    thresholds
        Conditions of the classes that it names, each with the classification's name and version.
    """

    kind: FindingKind
    stream: str
    top_m: float
    bottom_m: float
    statement: str
    rule: str
    source: str
    evidence: tuple[Evidence, ...] = ()
    caveats: tuple[str, ...] = ()
    thresholds: tuple[str, ...] = ()

    def as_document(self) -> dict[str, object]:
        """Return the finding as plain values for JSON: what is not known is ``None``."""
        document = asdict(self) | {"kind": str(self.kind)}
        document["evidence"] = [
            {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in asdict(one).items()}
            for one in self.evidence
        ]
        return document


def findings_dataset(findings: Iterable[Finding]) -> xr.Dataset:
    """Lay findings out as a dataset, in the order of depth.

    Returns
    -------
    xarray.Dataset
        Dim ``finding``: ``top``, ``bottom`` float64, m; ``kind``, ``stream``, ``rule``, ``statement`` text; and
        ``document``, the whole finding as JSON. Attribute ``finding_format``.
    """
    order = list(FindingKind)
    ordered = sorted(findings, key=lambda one: (one.top_m, order.index(one.kind), one.stream, one.bottom_m))
    texts = {
        "kind": [str(one.kind) for one in ordered],
        "stream": [one.stream for one in ordered],
        "rule": [one.rule for one in ordered],
        "statement": [one.statement for one in ordered],
        "document": [json.dumps(one.as_document()) for one in ordered],
    }
    metres = {"units": "m"}
    return xr.Dataset(
        {
            "top": ("finding", np.array([one.top_m for one in ordered], dtype=np.float64), metres),
            "bottom": ("finding", np.array([one.bottom_m for one in ordered], dtype=np.float64), metres),
            **{name: ("finding", np.array(values, dtype=object)) for name, values in texts.items()},
        },
        attrs={"finding_format": FINDING_FORMAT},
    )


def findings_of(dataset: xr.Dataset) -> tuple[Finding, ...]:
    """Read findings back from a dataset.

    Raises
    ------
    FormatError
        A newer release wrote them.
    """
    version = int(dataset.attrs.get("finding_format", 0))
    if version > FINDING_FORMAT:
        raise FormatError(
            "the findings of an analysis",
            expected=f"format up to {FINDING_FORMAT}",
            found=str(version),
            cause="a newer release of nightwell wrote them",
            next_step="read them with that release",
        )
    return tuple(_finding(json.loads(text)) for text in dataset["document"].to_numpy().tolist())


def _finding(document: dict[str, object]) -> Finding:
    evidence = document["evidence"]
    assert isinstance(evidence, list), "written so"
    numbers = ("value", "sigma", "threshold")
    read = tuple(
        Evidence(**({n: math.nan if v is None and n in numbers else v for n, v in one.items()}))  # type: ignore[arg-type]  # written so
        for one in evidence
    )
    caveats, thresholds = document["caveats"], document["thresholds"]
    assert isinstance(caveats, list), "written so"
    assert isinstance(thresholds, list), "written so"
    return Finding(
        kind=FindingKind(str(document["kind"])),
        stream=str(document["stream"]),
        top_m=float(str(document["top_m"])),
        bottom_m=float(str(document["bottom_m"])),
        statement=str(document["statement"]),
        rule=str(document["rule"]),
        source=str(document["source"]),
        evidence=read,
        caveats=tuple(str(one) for one in caveats),
        thresholds=tuple(str(one) for one in thresholds),
    )
