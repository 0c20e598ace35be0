"""Show how old the newest good version of each volume is, and say which are older than their target."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed

from nightwell.sites.recovery_points import RecoveryPoint, Timeliness, recovery_points
from tasks.artifacts import publish_recovery_points
from tasks.blocks import load_site_settings
from tasks.names import at_its_site
from tasks.schedules import scheduled_volumes

MISSED = "nightwell.recovery-point.missed"


@flow(name="recovery-points", flow_run_name=at_its_site("recovery points of all volumes"), persist_result=False)
def check_recovery_points(volumes: list[str] | None = None) -> State[Any]:
    """Publish the age of each volume's newest good version against its target (RPO), and tell which missed it.

    Args:
        volumes: Volumes that must have a version, beside those of the store, schedules and targets.
    """
    named = {*(volumes or ()), *scheduled_volumes()}
    points = recovery_points(load_site_settings(), volumes=named)
    publish_recovery_points(points)
    missed = [point for point in points if point.timeliness is not Timeliness.IN_TIME]
    for point in missed:
        _tell(point)
    if not missed:
        return Completed(message=f"{len(points)} of {len(points)} volumes in time")
    names = ", ".join(f"{point.volume} ({point.timeliness})" for point in missed)
    return Completed(name="TargetMissed", message=f"{len(missed)} of {len(points)} volumes not in time: {names}")


def _tell(point: RecoveryPoint) -> None:
    """Emit an event for a volume, to which an automation may answer with a notification."""
    emit_event(
        event=MISSED,
        resource={"prefect.resource.id": f"nightwell.volume.{point.volume}", "prefect.resource.name": point.volume},
        payload={"timeliness": point.timeliness, "version_id": point.version_id, "age_s": point.age_s},
    )
