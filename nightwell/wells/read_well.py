"""A whole well read: every finding that the rules give, from the streams of a result and from between them."""

from __future__ import annotations

from collections.abc import Iterable

import xarray as xr

from nightwell.wells.class_readings import find_origins, read_classes
from nightwell.wells.contact_findings import at_end, find_contacts
from nightwell.wells.contacts import Contact, find_changes
from nightwell.wells.findings import Finding, FindingKind
from nightwell.wells.log_curves import StreamLog
from nightwell.wells.quality_findings import find_defects, find_recycled
from nightwell.wells.rises import find_rises
from nightwell.wells.rules import Rules
from nightwell.wells.streams import Stream
from nightwell.wells.zones import (
    Show,
    detection_caveats,
    evidence_of,
    evidence_of_show,
    find_metamorphism,
    find_proximity,
    find_shows,
)


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
    contacts: tuple[Contact, ...] = ()
    if rules.contact.stream in logs:
        contacts, findings = find_contacts(logs[Stream(rules.contact.stream)], rules.contact)
    for stream, log in logs.items():
        findings += find_defects(result, log, rules.quality)
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
    findings += find_recycled(result, logs, shows, rules)
    findings += find_origins(result, gas)
    return tuple(findings)


def _no_background(log: StreamLog, rules: Rules) -> Finding:
    return Finding(
        FindingKind.NOT_ASSESSED, log.stream, float(log.depth[0]), float(log.depth[-1]),
        f"Shows were not sought: no background of {rules.zone.curve}, for no window of {rules.background.window_m:g} m"
        f" holds {rules.background.least_values} values",
        rules.zone.identity, rules.zone.source,
    )  # fmt: skip


def _rises(
    result: xr.DataTree,
    logs: dict[Stream, StreamLog],
    shows: dict[Stream, list[Show]],
    contacts: Iterable[Contact],
    rules: Rules,
) -> list[Finding]:
    rule = rules.rise
    log = logs.get(Stream(rule.stream))
    curve = None if log is None else log.curve(rule.curve)
    if log is None or curve is None:
        return []
    found = []
    changes = find_changes(curve.name, log.depth, curve.seen, rules.contact)
    for rise in find_rises(log.depth, curve.seen, changes, rule):
        rows = slice(rise.start, rise.stop)
        covered = sum(
            max(min(one.stop, rise.stop) - max(one.start, rise.start), 0) for one in shows.get(Stream(rule.stream), [])
        )
        if covered >= rule.known_share * (rise.stop - rise.start):
            continue
        amount = evidence_of(curve, rows, comparison=">=", threshold=rule.least_amount)
        times = amount.value / rise.above
        reading = read_classes(result, log, rows, curve.name)
        top_m, bottom_m = float(log.depth[rise.start]), float(log.depth[rise.stop - 1])
        within = sum(top_m < one.depth_m < bottom_m for one in contacts)
        evidence = (
            amount,
            evidence_of(
                curve, rows, value=times, comparison=">=", threshold=rule.least_times, what="times the gas above"
            ),
            *reading.evidence,
        )
        found.append(
            Finding(
                FindingKind.RISE, log.stream, top_m, bottom_m,
                f"Gas goes up and stays up: {amount.value:,.0f} {curve.units}, {times:.1f} times the {rise.above:,.0f}"
                f" {curve.units} of the {rule.window_m:g} m above it. {reading.words}. Contacts within: {within}",
                rule.identity, rule.source, evidence,
                (*detection_caveats(evidence), "other mud, another trap or a heavier bit raise gas for long, too"),
                reading.thresholds,
            )
        )  # fmt: skip
    return found


def _show(result: xr.DataTree, show: Show, contacts: Iterable[Contact], rules: Rules) -> Finding:
    evidence = list(evidence_of_show(show, rules.zone))
    amount, times, z = (one.value for one in evidence)
    words = [f"Gas stands out: {amount:,.0f} {show.curve.units}, {times:.1f} times its background (z {z:.1f})"]
    reading = read_classes(result, show.log, slice(show.start, show.stop), show.curve.name)
    words.append(reading.words)
    evidence += reading.evidence
    if show.log.stream == rules.contact.stream:
        words += [
            at_end(word, depth, contacts, rules.contact)
            for word, depth in (("top", show.top_m), ("base", show.bottom_m))
        ]
    if show.log.stream == Stream.CUTTINGS_CRUSH:
        words.append("Fluid sealed in the grains: where petroleum was, not where it is")
    return Finding(
        kind=FindingKind.SHOW,
        stream=show.log.stream,
        top_m=show.top_m,
        bottom_m=show.bottom_m,
        statement=". ".join(one[:1].upper() + one[1:] for one in words),
        rule=rules.zone.identity,
        source=rules.zone.source,
        evidence=tuple(evidence),
        caveats=detection_caveats(evidence),
        thresholds=reading.thresholds,
    )
