"""Finish or undo the runs whose owner died."""

from __future__ import annotations

from enum import StrEnum

from prefect import flow
from prefect.logging import get_run_logger

from flows.sites import source_of
from nightwell.protocol import Run, verdict
from nightwell.settings import load_settings
from nightwell.sites.build import destination_site
from tasks.effects import as_tasks
from tasks.watch import on_event


class Where(StrEnum):
    """Whose runs are recovered."""

    SOURCE = "source"
    DESTINATION = "destination"
    BOTH = "both"


@flow(name="recover-runs", flow_run_name="recover runs ({site})", persist_result=False)
def recover_runs(site: Where = Where.BOTH) -> list[str]:
    """Take up every run whose owner is gone: forward when that is still possible, back when it is not.

    Args:
        site: source, destination, or both when one machine plays both.
    """
    settings = load_settings()
    runs: list[Run] = []
    # The destination first: its truth decides whether the source goes forward or back.
    if site is not Where.SOURCE:
        with destination_site(settings, wrap=as_tasks, on_event=on_event) as there:
            runs += there.recover()
    if site is not Where.DESTINATION:
        with source_of(settings) as here:
            runs += here.recover(wrap=as_tasks, on_event=on_event)
    lines = [f"{run.opened.site} {run.run_id}: {verdict(run)}" for run in runs]
    for line in lines:
        get_run_logger().info(line)
    return lines
