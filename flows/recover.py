"""Finish or undo the runs whose owner died."""

from __future__ import annotations

from enum import StrEnum
from functools import partial

from prefect import flow
from prefect.logging import get_run_logger
from pydantic import BaseModel

from flows.sites import source_of
from nightwell.errors import NightwellError
from nightwell.protocol import Run, RunKind, verdict
from nightwell.sites.build import destination_site
from nightwell.sites.destination_site import DestinationSite
from nightwell.sites.requests import BackupRequest, RestoreRequest
from tasks.answers import publish_recovered, withdraw_recovered
from tasks.blocks import load_site_settings
from tasks.effects import as_tasks
from tasks.names import at_its_site
from tasks.outage import outlast
from tasks.watch import on_event


class Where(StrEnum):
    """Whose runs are recovered."""

    SOURCE = "source"
    DESTINATION = "destination"
    BOTH = "both"


@flow(name="recover-runs", flow_run_name=at_its_site("recover runs ({site})"), persist_result=False)
def recover_runs(site: Where = Where.BOTH) -> list[str]:
    """Take up every run whose owner is gone, or that waits for an array: forward when possible, back when not.

    Args:
        site: source, destination, or both when one machine plays both.
    """
    settings = load_site_settings()
    runs: list[Run] = []
    # The destination first: its truth decides whether the source goes forward or back.
    if site is not Where.SOURCE:
        with destination_site(settings, wrap=as_tasks, on_event=on_event) as there:
            for run in there.recover():
                runs.append(run)
                _answer_late(there, run)
    if site is not Where.DESTINATION:
        with source_of(settings) as here:
            for run in here.recover(wrap=as_tasks, on_event=on_event):
                runs.append(run)
                if not run.is_open:
                    outlast(partial(withdraw_recovered, run.run_id))
    lines = [f"{run.opened.site} {run.run_id}: {verdict(run)}" for run in runs]
    for line in lines:
        get_run_logger().info(line)
    return lines


def _answer_late(site: DestinationSite, run: Run) -> None:
    """Answer a request whose own flow run died: the source may still wait for it."""
    if run.is_open:
        return  # nothing is decided yet; a later recovery answers
    text = run.facts.text("request")
    try:
        # A run that has ended only answers, as it did or would have done when its request was carried out.
        answer: BaseModel = (
            site.back_up(BackupRequest.model_validate_json(text))
            if run.opened.kind is RunKind.BACKUP
            else site.restore(RestoreRequest.model_validate_json(text))
        )
    except NightwellError as error:
        publish_recovered(run.run_id, error)
    else:
        publish_recovered(run.run_id, answer)
