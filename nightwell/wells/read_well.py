"""A whole well read: every finding that the rules give, from the streams of a result and from between them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from nightwell.wells.background import find_runs
from nightwell.wells.contacts import Contact, agree, find_changes
from nightwell.wells.findings import Evidence, Finding, FindingKind
from nightwell.wells.interpret import read_interval
from nightwell.wells.log_curves import LogCurve, StreamLog
from nightwell.wells.rises import find_rises
from nightwell.wells.rules import ContactRule, QualityRule, Rules
from nightwell.wells.streams import Stream
from nightwell.wells.zones import (
    Show,
    detection_caveats,
    evidence_of,
    evidence_of_show,
    find_echoes,
    find_metamorphism,
    find_proximity,
    find_shows,
    median_of,
)

#: Name under which an analysis may bring along the share of recycled gas against depth.
RECYCLED_FRACTION = "recycled_fraction"


def read_well(result: xr.DataTree, rules: Rules) -> tuple[Finding, ...]:
    """Read a result.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`; streams that are not there are passed over.
    rules
        Thresholds.

    Returns
    -------
    tuple of Finding
        In no order; what could not be looked at is a finding too.
    """
    logs = {
        stream: StreamLog.of(result, str(stream), greatest_ppm=rules.quality.greatest_ppm)
        for stream in Stream
        if stream in result.children and result[stream]["species"].sizes["depth"] > 0
    }
    findings: list[Finding] = []
    shows: dict[Stream, list[Show]] = {}
    contacts = _contacts(logs, rules.contact, findings)
    for stream, log in logs.items():
        findings += _quality(result, log, rules.quality)
        if stream in rules.zone.streams:
            found = find_shows(log, rules.zone, rules.background)
            if found is None:
                findings.append(_no_background(log, rules))
            shows[stream] = found or []
            findings += [_show(result, one, contacts, rules) for one in shows[stream]]
        if stream in rules.metamorphism.streams:
            findings += find_metamorphism(log, rules.metamorphism)
    findings += _rises(result, logs, shows, contacts, rules)
    gas = shows.get(Stream.TRAP_GAS, [])
    for stream, log in logs.items():
        if stream in rules.proximity.streams:
            findings += find_proximity(log, gas, rules.proximity, rules.background)
    findings += _recycled(result, logs, shows, rules)
    findings += _origins(result, gas)
    return tuple(findings)


def _show(result: xr.DataTree, show: Show, contacts: Iterable[Contact], rules: Rules) -> Finding:
    evidence = list(evidence_of_show(show, rules.zone))
    amount, times, z = (one.value for one in evidence)
    words = [f"Gas stands out: {amount:,.0f} {show.curve.units}, {times:.1f} times its background (z {z:.1f})"]
    reading, read_from = _reading(result, show.log, slice(show.start, show.stop), show.curve.name)
    words.append(reading)
    evidence += read_from
    at_ends = [_at_end("top", show.top_m, contacts, rules), _at_end("base", show.bottom_m, contacts, rules)]
    caveats = list(detection_caveats(evidence))
    if show.log.stream == Stream.CUTTINGS_CRUSH:
        words.append("fluid sealed in the grains: where petroleum was, not where it is")
    return Finding(
        kind=FindingKind.SHOW,
        stream=show.log.stream,
        top_m=show.top_m,
        bottom_m=show.bottom_m,
        statement=". ".join([*words, *(one for one in at_ends if one and show.log.stream == rules.contact.stream)]),
        rule=rules.zone.identity,
        source=rules.zone.source,
        evidence=tuple(evidence),
        caveats=tuple(caveats),
    )


def _reading(result: xr.DataTree, log: StreamLog, rows: slice, besides: str) -> tuple[str, list[Evidence]]:
    """Return what the classes say of an interval, and the curves that they rest on (but one that is told already)."""
    group = result[log.stream]
    top_m, bottom_m = float(log.depth[rows.start]), float(log.depth[rows.stop - 1])
    read = read_interval(group["interpretation"].to_dataset(), group["indicators"].to_dataset(), top_m, bottom_m)
    if read is None or not read.readings:
        return "no class holds in most of it", []
    words = "; ".join(f"{title}: {reading}" for title, reading in read.readings.items())
    curves = [log.curve(name) for name in read.values if name != besides]
    return words, [evidence_of(curve, rows) for curve in curves if curve is not None]


def _rises(
    result: xr.DataTree,
    logs: dict[Stream, StreamLog],
    shows: dict[Stream, list[Show]],
    contacts: Iterable[Contact],
    rules: Rules,
) -> list[Finding]:
    rule = rules.rise
    log = logs.get(Stream(rule.stream)) if rule.stream in tuple(Stream) else None
    curve = None if log is None else log.curve(rule.curve)
    if log is None or curve is None:
        return []
    found = []
    changes = find_changes(curve.name, log.depth, curve.seen, rules.contact)
    for rise in find_rises(log.depth, curve.seen, changes, rule):
        rows = slice(rise.start, rise.stop)
        covered = sum(
            max(min(one.stop, rise.stop) - max(one.start, rise.start), 0) for one in shows[Stream(rule.stream)]
        )
        if covered >= rule.known_share * (rise.stop - rise.start):
            continue
        amount = evidence_of(curve, rows, comparison=">=", threshold=rule.least_amount)
        times = amount.value / rise.above
        reading, read_from = _reading(result, log, rows, curve.name)
        top_m, bottom_m = float(log.depth[rise.start]), float(log.depth[rise.stop - 1])
        within = sum(top_m < one.depth_m < bottom_m for one in contacts)
        evidence = (
            amount,
            evidence_of(
                curve, rows, value=times, comparison=">=", threshold=rule.least_times, what="times the gas above"
            ),
            *read_from,
        )
        found.append(
            Finding(
                FindingKind.RISE, log.stream, top_m, bottom_m,
                f"Gas goes up and stays up: {amount.value:,.0f} {curve.units}, {times:.1f} times the {rise.above:,.0f}"
                f" {curve.units} of the {rule.window_m:g} m above it. {reading}. Contacts within: {within}",
                rule.identity, rule.source, evidence,
                (*detection_caveats(evidence), "other mud, another trap or a heavier bit raise gas for long, too"),
            )
        )  # fmt: skip
    return found


def _at_end(word: str, depth_m: float, contacts: Iterable[Contact], rules: Rules) -> str:
    near = [one for one in contacts if abs(one.depth_m - depth_m) <= rules.contact.tolerance_m]
    if not near:
        return f"its {word} is no contact: fewer than {rules.contact.agree} log-ratios change there"
    one = min(near, key=lambda contact: abs(contact.depth_m - depth_m))
    return f"its {word} is the contact at {one.depth_m:.1f} m ({len(one.changes)} curves)"


def _contacts(
    logs: dict[Stream, StreamLog], rule: ContactRule, findings: list[Finding]
) -> tuple[Contact, ...]:  # fmt: skip
    log = logs.get(Stream(rule.stream)) if rule.stream in tuple(Stream) else None
    if log is None:
        return ()
    curves = {name: curve for name in rule.curves if (curve := log.curve(name)) is not None and curve.detected.any()}
    if len(curves) < rule.agree:
        findings.append(
            Finding(
                kind=FindingKind.NOT_ASSESSED,
                stream=log.stream,
                top_m=float(log.depth[0]),
                bottom_m=float(log.depth[-1]),
                statement=f"Contacts were not sought: {len(curves)} of the curves {', '.join(rule.curves)} were"
                f" detected, and {rule.agree} have to agree",
                rule=rule.identity,
                source=rule.source,
            )
        )
        return ()
    changes = {name: find_changes(name, log.depth, curve.seen, rule) for name, curve in curves.items()}
    contacts = tuple(agree(changes, rule))
    findings += [_contact(log, one, curves, rule) for one in contacts]
    return contacts


def _contact(log: StreamLog, contact: Contact, curves: dict[str, LogCurve], rule: ContactRule) -> Finding:
    evidence, words = [], []
    for one in contact.changes:
        curve = curves[one.curve]
        near = np.abs(log.depth - contact.depth_m) <= rule.least_segment_m
        evidence.append(
            Evidence(
                curve=curve.name,
                title=curve.title,
                units=curve.units,
                value=one.above,
                sigma=float("nan"),
                comparison="->",
                threshold=one.below,
                what=f"segment above, segment below (least change {rule.least_change:g} in log10)",
                detected=int((curve.detected & near).sum()),
                depths=int(near.sum()),
            )
        )
        words.append(f"{curve.title} {one.above:.3g} to {one.below:.3g}")
    wide = [
        f"{curves[one.curve].title} has no value in {one.gap_m:.1f} m there: it changes somewhere within"
        for one in contact.changes
        if one.gap_m > 2.0 * rule.step_m
    ]
    return Finding(
        kind=FindingKind.CONTACT,
        stream=log.stream,
        top_m=contact.depth_m - contact.error_m,
        bottom_m=contact.depth_m + contact.error_m,
        statement=f"Contact at {contact.depth_m:.1f} m (within {contact.error_m:.1f} m): {len(contact.changes)} of"
        f" {len(curves)} curves change together: {'; '.join(words)}",
        rule=rule.identity,
        source=rule.source,
        evidence=tuple(evidence),
        caveats=(*wide, "bit trips, new mud and other bits change ratios too; the depth has the error of the lag"),
    )


def _quality(result: xr.DataTree, log: StreamLog, rule: QualityRule) -> list[Finding]:
    found = []
    for start, stop in find_runs(log.absurd, log.depth, least_thickness_m=0.0, join_m=0.0):
        species = result[log.stream]["species"].to_dataset().isel(depth=slice(start, stop))
        worst = species["value"].max("depth")
        name = str(worst["species"].to_numpy()[int(np.nanargmax(worst.to_numpy()))])
        amount = float(worst.sel(species=name))
        found.append(_quality_finding(log, start, stop, rule, f"Absurd: {name.replace('_', ' ')} {amount:,.0f} ppm;"
                                      f" nothing was read at {stop - start} depths"))  # fmt: skip
    for start, stop in find_runs(log.empty, log.depth, least_thickness_m=rule.least_gap_m, join_m=0.0):
        found.append(_quality_finding(log, start, stop, rule, "Nothing was measured: no value, which is not zero"))
    species = result[log.stream]["species"].to_dataset()
    if "chi2" in species:
        fit = median_of(species["chi2"].to_numpy() / np.maximum(species["freedom"].to_numpy(), 1))
        if fit > rule.greatest_chi2:
            words = f"The species looked for do not explain the spectra: chi2 per degree of freedom is {fit:.1f}"
            found.append(_quality_finding(log, 0, log.depth.size, rule, words))
    return found


def _quality_finding(log: StreamLog, start: int, stop: int, rule: QualityRule, words: str) -> Finding:
    return Finding(
        FindingKind.QUALITY, log.stream, float(log.depth[start]), float(log.depth[stop - 1]), words,
        rule.identity, rule.source,
    )  # fmt: skip


def _no_background(log: StreamLog, rules: Rules) -> Finding:
    return Finding(
        FindingKind.NOT_ASSESSED, log.stream, float(log.depth[0]), float(log.depth[-1]),
        f"Shows were not sought: no background of {rules.zone.curve}, for no window of {rules.background.window_m:g} m"
        f" holds {rules.background.least_values} values",
        rules.zone.identity, rules.zone.source,
    )  # fmt: skip


def _recycled(
    result: xr.DataTree, logs: dict[Stream, StreamLog], shows: dict[Stream, list[Show]], rules: Rules
) -> list[Finding]:
    rule = rules.recycled
    log = logs.get(Stream(rule.stream)) if rule.stream in tuple(Stream) else None
    if log is None:
        return []
    species = result[log.stream]["species"].to_dataset()
    if RECYCLED_FRACTION in species:
        fraction = species[RECYCLED_FRACTION].to_numpy().astype(np.float64)
        with np.errstate(invalid="ignore"):
            holds = fraction >= rule.least_fraction
        runs = find_runs(holds, log.depth, least_thickness_m=rules.zone.least_thickness_m, join_m=rules.zone.join_m)
        return [_recycled_run(log, slice(*run), fraction, rules) for run in runs]
    echoes = [find_echoes(show, rule) for show in shows.get(Stream(rule.stream), [])]
    missing = Finding(
        FindingKind.NOT_ASSESSED, log.stream, float(log.depth[0]), float(log.depth[-1]),
        "The share of recycled gas is not known (no gas of the mud going in): only echoes of shows were sought,"
        f" {rule.least_lag_m:g} to {rule.greatest_lag_m:g} m below each",
        rule.identity, rule.source,
    )  # fmt: skip
    return [*(echo for echo in echoes if echo is not None), missing]


def _recycled_run(log: StreamLog, rows: slice, fraction: np.ndarray, rules: Rules) -> Finding:
    value = median_of(fraction[rows])
    size = int(rows.stop - rows.start)
    evidence = Evidence(
        RECYCLED_FRACTION, "Recycled fraction", "1", value, float("nan"), ">=", rules.recycled.least_fraction,
        "median", size, size,
    )  # fmt: skip
    return Finding(
        FindingKind.WARNING, log.stream, float(log.depth[rows.start]), float(log.depth[rows.stop - 1]),
        f"Recycled gas: {100 * value:.0f} % of the gas went round with the mud",
        rules.recycled.identity, rules.recycled.source, (evidence,),
    )  # fmt: skip


def _origins(result: xr.DataTree, shows: Iterable[Show]) -> list[Finding]:
    """Compare the streams over each show of the mud gas."""
    if "across" not in result.children:
        return []
    indicators = result["across/indicators"].to_dataset()
    interpretation = result["across/interpretation"].to_dataset()
    found = []
    for show in shows:
        read = read_interval(interpretation, indicators, show.top_m, show.bottom_m)
        for variable in interpretation.data_vars.values():
            title = str(variable.attrs["long_name"])
            if read is None or title not in read.readings:
                continue
            evidence = tuple(_across_evidence(indicators, show, str(name)) for name in variable.attrs["rests_on"])
            found.append(
                Finding(
                    kind=FindingKind.ORIGIN,
                    stream="across",
                    top_m=show.top_m,
                    bottom_m=show.bottom_m,
                    statement=f"{title}: {read.readings[title]}",
                    rule=f"{variable.name}@{variable.attrs['version']}",
                    source=str(variable.attrs["source"]),
                    evidence=evidence,
                    caveats=detection_caveats(evidence),
                )
            )
    return found


def _across_evidence(indicators: xr.Dataset, show: Show, name: str) -> Evidence:
    one = indicators.sel(indicator=name)
    depth = one["depth"].to_numpy()
    inside = (depth >= show.top_m) & (depth <= show.bottom_m)
    value, sigma = (one[which].to_numpy().astype(np.float64)[inside] for which in ("value", "sigma"))
    return Evidence(
        name, str(one["title"].item()), str(one["units"].item()), median_of(value), median_of(sigma), "", float("nan"),
        "median", int(np.isfinite(value).sum()), int(inside.sum()),
    )  # fmt: skip
