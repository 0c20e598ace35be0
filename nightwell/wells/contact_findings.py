"""Contacts in words, with their evidence."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nightwell.wells.contacts import Contact, agree, find_changes
from nightwell.wells.findings import Evidence, Finding, FindingKind
from nightwell.wells.log_curves import LogCurve, StreamLog
from nightwell.wells.rules import ContactRule


def find_contacts(log: StreamLog, rule: ContactRule) -> tuple[tuple[Contact, ...], list[Finding]]:
    """Find the contacts of a stream, and what to say of each; one finding says so where too few curves are there."""
    curves = {name: curve for name in rule.curves if (curve := log.curve(name)) is not None and curve.detected.any()}
    if len(curves) < rule.agree:
        missing = Finding(
            kind=FindingKind.NOT_ASSESSED,
            stream=log.stream,
            top_m=float(log.depth[0]),
            bottom_m=float(log.depth[-1]),
            statement=f"Contacts were not sought: {len(curves)} of the curves {', '.join(rule.curves)} were"
            f" detected, and {rule.agree} have to agree",
            rule=rule.identity,
            source=rule.source,
        )
        return (), [missing]
    changes = {name: find_changes(name, log.depth, curve.seen, rule) for name, curve in curves.items()}
    contacts = tuple(agree(changes, rule))
    return contacts, [_contact(log, one, curves, rule) for one in contacts]


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


def at_end(word: str, depth_m: float, contacts: Iterable[Contact], rule: ContactRule) -> str:
    """Say whether an end of a show (``top`` or ``base``) is a contact."""
    near = [one for one in contacts if abs(one.depth_m - depth_m) <= rule.tolerance_m]
    if not near:
        return f"Its {word} is no contact: fewer than {rule.agree} curves change there together"
    one = min(near, key=lambda contact: abs(contact.depth_m - depth_m))
    return f"Its {word} is the contact at {one.depth_m:.1f} m ({len(one.changes)} curves)"
