"""The Prefect task of an acquisition, and what its run's page shows."""

from __future__ import annotations

import time

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.utilities.slugify import slugify

from nightwell.wells.acquire.engine import Acquired
from nightwell.wells.acquire.plan import Progress
from nightwell.wells.acquire.schedule import Element
from nightwell.wells.acquire.session import Limits, Request, acquire
from nightwell.wells.archive import Place
from nightwell.wells.contract import GAP_REASONS

_TELL_EVERY_S = 30.0


@task(name="acquire scans", cache_policy=NO_CACHE, persist_result=False)
def acquire_scans(request: Request, place: Place, limits: Limits) -> Acquired:
    """Run the engine. It goes on from the last commit, so the task may be run again after anything."""
    logger = get_run_logger()
    told_s = [0.0]

    def tell(element: Element, progress: Progress) -> None:
        if time.monotonic() - told_s[0] >= _TELL_EVERY_S:
            told_s[0] = time.monotonic()
            logger.info("scan %d: %s", progress.scans, element.name)

    return acquire(request, place, limits=limits, on_scan=tell)


@task(name="report the acquisition", cache_policy=NO_CACHE, persist_result=False)
def report_acquisition(well: str, found: Acquired) -> None:
    """Show scans, late scans and gaps by reason as a table."""
    rows = [("scans", found.scans), ("late scans", found.late)]
    rows += [(f"gaps: {reason}", found.count(reason)) for reason in GAP_REASONS]
    create_table_artifact(
        key=slugify(f"acquisition-{well}"),
        table=[{"what": what, "count": count} for what, count in rows],
        description=f"Acquired of well {well}, version {found.version or 'unchanged'}",
    )
