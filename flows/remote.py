"""The destination site's flows: what a request over line 2 sets going."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prefect import flow
from prefect.context import FlowRunContext
from prefect.utilities.slugify import slugify

from nightwell import __version__
from nightwell.errors import NightwellError
from nightwell.sites.build import destination_site
from nightwell.sites.destination_site import DestinationSite
from nightwell.sites.requests import (
    BackupAnswer,
    BackupRequest,
    FenceAnswer,
    FenceRequest,
    RestoreAnswer,
    RestoreRequest,
    VersionAnswer,
)
from tasks.answers import publish_answer
from tasks.artifacts import publish_timeline
from tasks.blocks import load_site_settings
from tasks.effects import as_tasks
from tasks.names import at_its_site
from tasks.outage import outlast
from tasks.preflight import refuse_other_release
from tasks.watch import WatchedProgress, on_event

A = TypeVar("A", BackupAnswer, RestoreAnswer, FenceAnswer, VersionAnswer | None)


@flow(name="carry-out-backup", flow_run_name=at_its_site("copy {request.volume} to the store"), persist_result=False)
def carry_out_backup(request: BackupRequest) -> BackupAnswer:
    """Produce a virtual server, copy a volume to the store, delete the server.

    Args:
        request: What the source site asks for.
    """
    return _answered(
        request.volume, lambda site: site.back_up(request), asked_by=request.nightwell_version, run_id=request.run_id
    )


@flow(
    name="carry-out-restore",
    flow_run_name=at_its_site("copy {request.version_id} to {request.target}"),
    persist_result=False,
)
def carry_out_restore(request: RestoreRequest) -> RestoreAnswer:
    """Produce a virtual server, copy a version to a volume, read it back, delete the server.

    Args:
        request: What the source site asks for.
    """
    return _answered(
        request.target, lambda site: site.restore(request), asked_by=request.nightwell_version, run_id=request.run_id
    )


@flow(name="fence-run", flow_run_name=at_its_site("fence {request.run_id}"), persist_result=False)
def fence_run(request: FenceRequest) -> FenceAnswer:
    """End all work of a run at this site, and say what it achieved.

    Args:
        request: The run.
    """
    return _answered(request.volume, lambda site: site.fence(request))


@flow(name="look-up-version", flow_run_name=at_its_site("look up {selector} of {volume}"), persist_result=False)
def look_up_version(
    volume: str, selector: str = "latest", nightwell_version: str = __version__
) -> VersionAnswer | None:
    """Return a version of a volume, or nothing.

    Args:
        volume: The volume.
        selector: "latest", a version's id, or the beginning of one.
        nightwell_version: The release of nightwell at the source site.
    """
    return _answered(volume, lambda site: site.look_up(volume, selector), asked_by=nightwell_version)


def _answered(
    subject: str, work: Callable[[DestinationSite], A], *, asked_by: str = __version__, run_id: str | None = None
) -> A:
    """Publish the answer or the error for a site that asked through the server, then return or raise it.

    A fence says nothing of its release: what a run left must be ended whatever was upgraded meanwhile. With ``run_id``
    the run's timeline at this site is published too, after the answer that the other site waits for.
    """
    # A flow that is called in the source's own process has no deployment; one that was asked for from afar has.
    context = FlowRunContext.get()
    asked = context.flow_run if context is not None else None
    from_afar = asked is not None and asked.deployment_id is not None
    with destination_site(
        load_site_settings(), wrap=as_tasks, on_event=on_event, on_progress=WatchedProgress(subject)
    ) as site:
        try:
            refuse_other_release(asked_by, f"a request for '{subject}'")
            answer = work(site)
        except NightwellError as error:
            if from_afar:
                publish_answer(error)
            _publish_timeline(site, subject, run_id)
            raise
        if from_afar:
            publish_answer(answer)
        _publish_timeline(site, subject, run_id)
    return answer


def _publish_timeline(site: DestinationSite, subject: str, run_id: str | None) -> None:
    if run_id is not None and site.ledger.journal.find(run_id) is not None:  # a request may be refused before
        what = f"Copy of {subject} at the destination site"
        events = site.ledger.journal.events(run_id)
        outlast(lambda: publish_timeline(slugify(f"copy-{subject}"), what, events))
