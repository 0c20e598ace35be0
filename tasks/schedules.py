"""What the Prefect server knows of volumes that are to be backed up."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName

_BACKUP_FLOW = "backup-volume"


def scheduled_volumes() -> frozenset[str]:
    """Return the volumes that schedules of the backup's deployments name.

    One that is held is among them: its volume grows old all the same.
    """
    chosen = FlowFilter(name=FlowFilterName(any_=[_BACKUP_FLOW]))
    with get_client(sync_client=True) as api:
        deployments = api.read_deployments(flow_filter=chosen)
    return frozenset(
        str(parameters["volume"])
        for deployment in deployments
        for schedule in deployment.schedules
        if "volume" in (parameters := {**deployment.parameters, **schedule.parameters})
    )
