"""Shows, halos and warnings: intervals where curves stand out, by the rules, each with its evidence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightwell.wells.background import Background, find_background, find_runs
from nightwell.wells.findings import Evidence, Finding, FindingKind
from nightwell.wells.log_curves import LogCurve, StreamLog
from nightwell.wells.rules import BackgroundRule, MetamorphismRule, ProximityRule, RecycledRule, ZoneRule

Floats = NDArray[np.float64]

_FEW = 0.5  # share of depths below which a curve was seldom detected, and the caveat says so


@dataclass(frozen=True, slots=True)
class Show:
    """A show: rows of its stream, and the curve with its background."""

    log: StreamLog
    start: int
    stop: int
    curve: LogCurve
    background: Background

    @property
    def top_m(self) -> float:
        """Upper depth."""
        return float(self.log.depth[self.start])

    @property
    def bottom_m(self) -> float:
        """Lower depth."""
        return float(self.log.depth[self.stop - 1])


def background_of(log: StreamLog, curve: LogCurve, rule: BackgroundRule) -> Background:
    """Find the background of a curve of a stream."""
    return find_background(
        log.depth,
        curve.bound,
        np.isfinite(curve.bound),
        curve.detected,
        window_m=rule.window_m,
        least_values=rule.least_values,
        least_scatter=rule.least_scatter,
    )


def evidence_of(
    curve: LogCurve,
    rows: slice,
    *,
    value: float | None = None,
    comparison: str = "",
    threshold: float = math.nan,
    what: str = "median",
) -> Evidence:
    """Return one number of a curve over an interval; by default the median of what was detected."""
    seen = curve.seen[rows]
    known = seen[np.isfinite(seen)]
    median = float(np.median(known)) if known.size else math.nan
    errors = curve.sigma[rows][np.isfinite(seen)]
    sigma = float(np.median(errors)) if value is None and np.isfinite(errors).all() and errors.size else math.nan
    return Evidence(
        curve=curve.name,
        title=curve.title,
        units=curve.units if value is None else "1",
        value=median if value is None else value,
        sigma=sigma,
        comparison=comparison,
        threshold=threshold,
        what=what,
        detected=int(known.size),
        depths=int(seen.size),
    )


def find_shows(log: StreamLog, rule: ZoneRule, background: BackgroundRule) -> list[Show] | None:
    """Find intervals of one stream where gas stands out; ``None`` where there is nothing to compare with."""
    curve = log.curve(rule.curve)
    if curve is None:
        return None
    usual = background_of(log, curve, background)
    if not np.isfinite(usual.median).any():
        return None
    with np.errstate(invalid="ignore"):
        holds = (
            (usual.z >= rule.least_z)
            & (curve.value >= rule.least_times * 10.0**usual.median)
            & (curve.value >= rule.least_amount)
        )
    runs = find_runs(holds, log.depth, least_thickness_m=rule.least_thickness_m, join_m=rule.join_m)
    return [Show(log, start, stop, curve, usual) for start, stop in runs]


def evidence_of_show(show: Show, rule: ZoneRule) -> tuple[Evidence, ...]:
    """Return what a show rests on: amount, multiple of the background and z, each with its threshold."""
    rows = slice(show.start, show.stop)
    with np.errstate(invalid="ignore"):
        times = median_of(show.curve.seen[rows] / 10.0 ** show.background.median[rows])
    z = median_of(show.background.z[rows])
    return (
        evidence_of(show.curve, rows, comparison=">=", threshold=rule.least_amount),
        evidence_of(
            show.curve, rows, value=times, comparison=">=", threshold=rule.least_times, what="times its background"
        ),
        evidence_of(show.curve, rows, value=z, comparison=">=", threshold=rule.least_z, what="z"),
    )


def find_proximity(
    log: StreamLog, shows: Iterable[Show], rule: ProximityRule, background: BackgroundRule
) -> list[Finding]:
    """Find intervals where aromatics and acids stand out together, and say where the next show is."""
    curves = [curve for curve in map(log.curve, rule.curves) if curve is not None]
    usual = [background_of(log, curve, background) for curve in curves]
    with np.errstate(invalid="ignore"):
        stands_out = np.array([one.z >= rule.least_z for one in usual]).reshape(len(usual), log.depth.size)
    holds = stands_out.sum(axis=0) >= rule.agree
    found = []
    for start, stop in find_runs(holds, log.depth, least_thickness_m=rule.least_thickness_m, join_m=rule.join_m):
        rows = slice(start, stop)
        z = [median_of(one.z[rows]) for one in usual]
        evidence = tuple(
            evidence_of(curve, rows, value=value, comparison=">=", threshold=rule.least_z, what="z")
            for curve, value in zip(curves, z, strict=True)
        )
        above = [one for one in evidence if one.value >= rule.least_z]
        names = ", ".join(f"{one.title} (z {one.value:.1f})" for one in above) or "no curve in most of it"
        top, bottom = float(log.depth[start]), float(log.depth[stop - 1])
        found.append(
            Finding(
                kind=FindingKind.PROXIMITY,
                stream=log.stream,
                top_m=top,
                bottom_m=bottom,
                statement=f"Above their background: {names}; {_next_show(top, bottom, shows, rule.reach_m)}",
                rule=rule.identity,
                source=rule.source,
                evidence=evidence,
                caveats=(*detection_caveats(evidence), "mud additives (diesel, glycols, acids) do the same"),
            )
        )
    return found


def _next_show(top_m: float, bottom_m: float, shows: Iterable[Show], reach_m: float) -> str:
    below = [show for show in shows if show.bottom_m >= top_m]
    if not below or below[0].top_m - bottom_m > reach_m:
        return f"no show within {reach_m:g} m below: petroleum nearby, off the hole, or gone"
    show = below[0]
    if show.top_m <= bottom_m:
        lead = show.top_m - top_m
        begins = f"beginning {lead:.1f} m above it" if lead > 0 else "from within it"
        return f"together with the show at {show.top_m:.1f} m, {begins}"
    return f"ending {show.top_m - bottom_m:.1f} m above the show at {show.top_m:.1f} m"


def find_metamorphism(log: StreamLog, rule: MetamorphismRule) -> list[Finding]:
    """Find intervals whose ethene says that the bit made gas."""
    curve = log.curve(rule.curve)
    if curve is None:
        return []
    with np.errstate(invalid="ignore"):
        holds = curve.detected & (curve.value >= rule.least_share)
    found = []
    for start, stop in find_runs(holds, log.depth, least_thickness_m=rule.least_thickness_m, join_m=rule.join_m):
        rows = slice(start, stop)
        if holds[rows].mean() < rule.least_detected:
            continue
        evidence = (evidence_of(curve, rows, comparison=">=", threshold=rule.least_share),)
        found.append(
            Finding(
                kind=FindingKind.WARNING,
                stream=log.stream,
                top_m=float(log.depth[start]),
                bottom_m=float(log.depth[stop - 1]),
                statement=f"Gas of the bit: ethene is {100 * evidence[0].value:.1f} % of ethene and ethane. A hot bit"
                " makes it of oil-based mud, with methane and ethane besides: ratios of this interval may be too dry",
                rule=rule.identity,
                source=rule.source,
                evidence=evidence,
                caveats=(
                    *detection_caveats(evidence),
                    "ethene shares m/z 26 to 28 with ethane, nitrogen and carbon monoxide",
                ),
            )
        )
    return found


def find_echoes(show: Show, rule: RecycledRule) -> Finding | None:
    """Find the echo of a show: its own shape again, lower, as far below it as one circulation drills.

    With g the gas above its background, on metres, the echo at lag L is the least-squares factor k of
    ``g(d + L) = k g(d)`` over the show and a tenth of its thickness on both sides; likeness is their correlation.
    """
    step = 1.0
    pad = max(0.1 * (show.bottom_m - show.top_m), 3.0)
    template_at = np.arange(show.top_m - pad, show.bottom_m + pad + step, step)
    deepest = float(show.log.depth[-1])
    seen = show.curve.value - np.where(np.isfinite(show.background.median), 10.0**show.background.median, np.nan)
    known = np.isfinite(seen)
    if known.sum() < 2 or template_at.size < 6:  # noqa: PLR2004 - a shape needs points
        return None
    template = np.interp(template_at, show.log.depth[known], seen[known])
    least = max(rule.least_lag_m, float(template_at[-1] - template_at[0]))
    best: tuple[float, float, float] | None = None
    for lag in np.arange(least, rule.greatest_lag_m + step, step).tolist():
        if template_at[-1] + lag > deepest:
            break
        below = np.interp(template_at + lag, show.log.depth[known], seen[known])
        if below.std() == 0.0 or template.std() == 0.0:
            continue
        likeness = float(np.corrcoef(template, below)[0, 1])
        share = float(np.polyfit(template, below, 1)[0])
        fits = likeness >= rule.least_likeness and rule.least_share <= share <= rule.greatest_share
        if fits and (best is None or likeness > best[0]):
            best = (likeness, share, lag)
    return None if best is None else _echo(show, rule, *best)


def _echo(show: Show, rule: RecycledRule, likeness: float, share: float, lag: float) -> Finding:
    rows = slice(show.start, show.stop)
    evidence = (
        evidence_of(show.curve, rows, value=likeness, comparison=">=", threshold=rule.least_likeness, what="likeness"),
        evidence_of(show.curve, rows, value=share, comparison=">=", threshold=rule.least_share, what="height of echo"),
    )
    return Finding(
        kind=FindingKind.WARNING,
        stream=show.log.stream,
        top_m=show.top_m + lag,
        bottom_m=show.bottom_m + lag,
        statement=f"Perhaps recycled gas: the show of {show.top_m:.1f} to {show.bottom_m:.1f} m comes again"
        f" {lag:.0f} m below, at {100 * share:.0f} % of its height",
        rule=rule.identity,
        source=rule.source,
        evidence=evidence,
        caveats=(
            f"a lesser show of the same shape does the same: compare {lag:.0f} m with what one circulation drilled",
        ),
    )


def detection_caveats(evidence: Iterable[Evidence]) -> tuple[str, ...]:
    """Name the curves that were detected in less than half of the depths of the interval."""
    few = {
        one.title: f"{one.title} detected in {one.detected} of {one.depths} depths only"
        for one in evidence
        if one.detected < _FEW * one.depths
    }
    return tuple(few.values())


def median_of(values: Floats) -> float:
    """Return the median of what is known; NaN of nothing."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else math.nan
