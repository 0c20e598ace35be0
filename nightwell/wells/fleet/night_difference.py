"""What changed from one night of a fleet to another, well by well."""

from __future__ import annotations

from dataclasses import dataclass

from nightwell.errors import NightwellError
from nightwell.wells.archive import Place, ResultsArchive
from nightwell.wells.fleet.difference import (
    VersionChange,
    WellDifference,
    described,
    difference_of_analyses,
    version_changes,
)
from nightwell.wells.fleet.night import Night
from nightwell.wells.fleet.well_task import Ending, WellOutcome


@dataclass(frozen=True, slots=True)
class WellOfNights:
    """One well in two nights.

    Parameters
    ----------
    well
        Its name.
    analyses
        Ids of its newest analysis after each night; empty for none.
    versions
        What these were made from that is not the same.
    difference
        Of the results; ``None`` when the analysis is the same, or one night has none.
    problem
        Why the results could not be compared, or what failed in the second night; empty when nothing.
    """

    well: str
    analyses: tuple[str, str]
    versions: tuple[VersionChange, ...]
    difference: WellDifference | None
    problem: str


@dataclass(frozen=True, slots=True)
class NightDifference:
    """Two nights of a fleet.

    Parameters
    ----------
    before, after
        Their ids.
    versions
        Of the method, that are not the same.
    unchanged
        Number of wells whose newest analysis is the same after both.
    changed
        Wells with another analysis after the second, wells that failed in it and wells of one night alone.
    newly_failed, recovered
        Wells that failed in the second alone, in the first alone.
    only_before, only_after
        Wells of one night alone.
    """

    before: str
    after: str
    versions: tuple[VersionChange, ...]
    unchanged: int
    changed: tuple[WellOfNights, ...]
    newly_failed: tuple[str, ...]
    recovered: tuple[str, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]


def difference_of_nights(before: Night, after: Night, results: Place) -> NightDifference:
    """Return what changed from one night to another.

    Parameters
    ----------
    before, after
        Their records.
    results
        Where the wells' archives are: every analysis that a record names can still be opened.
    """
    first, second = _by_well(before), _by_well(after)
    both = sorted(first.keys() & second.keys())
    failed = [{name for name, one in wells.items() if one.ending is Ending.FAILED} for wells in (first, second)]
    moved = [
        name for name in both if first[name].analysis_id != second[name].analysis_id or name in failed[1] - failed[0]
    ]
    return NightDifference(
        before=before.night_id,
        after=after.night_id,
        versions=tuple(version_changes(before.versions, after.versions)),
        unchanged=len(both) - len(moved),
        changed=tuple(_compared(first[name], second[name], results) for name in moved),
        newly_failed=tuple(sorted(failed[1] - failed[0])),
        recovered=tuple(sorted((failed[0] - failed[1]) & second.keys())),
        only_before=tuple(sorted(first.keys() - second.keys())),
        only_after=tuple(sorted(second.keys() - first.keys())),
    )


def _by_well(night: Night) -> dict[str, WellOutcome]:
    """Return outcomes by well; scans that could not be identified go by where they are."""
    return {one.well or one.scans: one for one in night.outcomes}


def _compared(old: WellOutcome, new: WellOutcome, results: Place) -> WellOfNights:
    found: WellDifference | None = None
    problem = f"failed: {new.error['found']}" if new.error else ""
    if old.analysis_id and new.analysis_id and old.analysis_id != new.analysis_id:
        try:
            found = difference_of_analyses(ResultsArchive(results, new.well), old.analysis_id, new.analysis_id)
        except NightwellError as error:
            problem = str(error)
    return WellOfNights(
        well=new.well or new.scans,
        analyses=(old.analysis_id, new.analysis_id),
        versions=tuple(version_changes(described(old.inputs, old.versions), described(new.inputs, new.versions))),
        difference=found,
        problem=problem,
    )
