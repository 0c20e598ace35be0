"""What a night has to do: which wells have no newest analysis made from today's scans with today's method, and why.

Decided from names and versions alone, before any array is read: the fingerprint that an analysis is going to have is
looked for in the well's archive.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from nightwell.errors import ConflictError, NightwellError
from nightwell.wells.analysis import ANALYSIS_VERSION
from nightwell.wells.archive import Analysis, Place, ResultsArchive
from nightwell.wells.fingerprint import planned_fingerprint, versions_in
from nightwell.wells.fleet.catalogue import Candidate, FoundScans
from nightwell.wells.fleet.withdrawn import Withdrawn, withdrawn_of
from nightwell.wells.method import Method

#: How many wells are looked at together; to look is to wait for a server or a file system.
_LOOKED_AT_TOGETHER = 8

NEVER_ANALYSED = "never analysed"
_REASONS = {
    "library_version": "another species library",
    "profiles_version": "other indicator profiles",
    "classifications_version": "other thresholds",
    "cube_settings": "other cube settings",
    "deconvolution_settings": "other deconvolution settings",
    "software_version": "another release of nightwell",
    "contract_version": "another contract of results",
}


class Need(StrEnum):
    """What a well needs."""

    NOTHING = "nothing"  # its newest analysis is that of today's versions
    RESTORE = "restore"  # an older analysis is: it is made the newest again, nothing is computed
    COMPUTE = "compute"


@dataclass(frozen=True, slots=True)
class WellNeed:
    """What one well needs.

    Parameters
    ----------
    scans
        Its raw scans, in one version.
    need, reasons
        What, and why.
    newest
        Its newest analysis; ``None`` when there is none.
    known
        With ``RESTORE`` and ``NOTHING``: the analysis that was made from today's versions.
    """

    scans: FoundScans
    need: Need
    reasons: tuple[str, ...]
    newest: Analysis | None
    known: Analysis | None


@dataclass(frozen=True, slots=True)
class NotPlanned:
    """Scans that could not be identified, or a well whose archive could not be read."""

    name: str
    well: str
    error: NightwellError


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Scans whose well, container or volume was withdrawn."""

    name: str
    well: str
    note: Withdrawn


@dataclass(frozen=True, slots=True)
class NightPlan:
    """What a night has to do, in the order of the wells' names."""

    needs: tuple[WellNeed, ...]
    failures: tuple[NotPlanned, ...]
    withdrawn: tuple[PassedOver, ...] = ()

    def that_need(self, need: Need) -> tuple[WellNeed, ...]:
        """Return the wells that need one thing."""
        return tuple(one for one in self.needs if one.need is need)


def find_stale(candidates: Iterable[Candidate], method: Method, results: Place) -> NightPlan:
    """Find what has to be analysed.

    Parameters
    ----------
    candidates
        Where scans may be.
    method
        Today's method.
    results
        Where the wells' archives are.

    Returns
    -------
    NightPlan
        What cannot be looked at is one of its failures; the others are planned all the same.
    """
    notes = withdrawn_of(results)
    places = list(candidates)
    passed = [PassedOver(one.name, "", notes[one.label]) for one in places if one.label in notes]
    with ThreadPoolExecutor(_LOOKED_AT_TOGETHER) as pool:
        every = list(pool.map(_identified, (one for one in places if one.label not in notes)))
        found = [one for one in every if one.well not in notes]
        passed += [PassedOver(one.name, one.well, notes[one.well]) for one in every if one.well in notes]
        identified = [one for one in found if not isinstance(one, NotPlanned)]
        single, doubled = _one_per_well(identified)
        look = functools.partial(_need_of, method=method, results=results)
        needs = list(pool.map(look, single))
    failures = [one for one in found if isinstance(one, NotPlanned)] + doubled
    failures += [one for one in needs if isinstance(one, NotPlanned)]
    planned = [one for one in needs if isinstance(one, WellNeed)]
    return NightPlan(
        tuple(sorted(planned, key=lambda one: one.scans.well)),
        tuple(sorted(failures, key=lambda one: one.name)),
        tuple(sorted(passed, key=lambda one: one.name)),
    )


def need_of(scans: FoundScans, method: Method, results: Place) -> WellNeed:
    """Return what one well needs; raises what its archive raises."""
    known = ResultsArchive(results, scans.well).analyses()
    inputs = _inputs_of_same_scans(scans, known)
    versions = method.calibrated().as_attributes() | {"contract_version": ANALYSIS_VERSION}
    fingerprint = planned_fingerprint(scans.well, inputs, versions)
    newest = known[-1] if known else None
    if newest is None:
        return WellNeed(scans, Need.COMPUTE, (NEVER_ANALYSED,), None, None)
    reasons = _reasons(newest, inputs, versions_in(versions))
    if newest.fingerprint == fingerprint:
        return WellNeed(scans, Need.NOTHING, (), newest, newest)
    match = next((one for one in reversed(known) if one.fingerprint == fingerprint), None)
    return WellNeed(scans, Need.COMPUTE if match is None else Need.RESTORE, reasons, newest, match)


def _inputs_of_same_scans(scans: FoundScans, known: Iterable[Analysis]) -> Mapping[str, str]:
    """Return how the archive names these scans already: a nightly backup gives the same scans a new version id."""
    wanted = {name: scans.inputs[name] for name in scans.identity}
    for analysis in reversed(tuple(known)):
        if wanted.items() <= dict(analysis.inputs).items():
            return analysis.inputs
    return scans.inputs


def _reasons(newest: Analysis, inputs: Mapping[str, str], versions: Mapping[str, str]) -> tuple[str, ...]:
    reasons = ["new scans"] if dict(newest.inputs) != dict(inputs) else []
    names = sorted(set(versions) | set(newest.versions))
    changed = [name for name in names if versions.get(name) != newest.versions.get(name)]
    return (*reasons, *(_REASONS.get(name, f"another {name.replace('_', ' ')}") for name in changed))


def _reported(name: str, well: str, look: Callable[[], FoundScans | WellNeed]) -> FoundScans | WellNeed | NotPlanned:
    try:
        return look()
    except NightwellError as error:
        return NotPlanned(name, well, error)


def _identified(candidate: Candidate) -> FoundScans | NotPlanned:
    found = _reported(candidate.name, "", candidate.identify)
    assert not isinstance(found, WellNeed), "identify gives scans"
    return found


def _need_of(scans: FoundScans, *, method: Method, results: Place) -> WellNeed | NotPlanned:
    found = _reported(scans.name, scans.well, lambda: need_of(scans, method, results))
    assert isinstance(found, WellNeed | NotPlanned), "need_of gives needs"
    return found


def _one_per_well(found: Iterable[FoundScans]) -> tuple[list[FoundScans], list[NotPlanned]]:
    """Part the wells that one place holds from those that several claim: which is right only a person knows."""
    by_well: dict[str, list[FoundScans]] = {}
    for one in found:
        by_well.setdefault(one.well, []).append(one)
    single = [several[0] for several in by_well.values() if len(several) == 1]
    doubled = [
        NotPlanned(
            ", ".join(one.name for one in several),
            well,
            ConflictError(
                f"well '{well}'",
                expected="raw scans in one place",
                found=f"{len(several)}: {', '.join(one.name for one in several)}",
                cause="a copy was left in the same place, or two wells were given one name",
                next_step="move one away, or import it again under its own name",
            ),
        )
        for well, several in by_well.items()
        if len(several) > 1
    ]
    return single, doubled
