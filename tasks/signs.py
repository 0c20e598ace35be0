"""Signs of life from the other end of line 2: what tells work under way from work that nobody can hear of any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, WorkerStatus
from prefect.events.filters import (
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventResourceFilter,
)

_HEARTBEAT = "prefect.flow-run.heartbeat"


def gives_sign(run: FlowRun, *, within_s: float) -> bool:
    """Tell whether a worker of the run's pool is there, or the run itself sent a heartbeat lately.

    Either is enough: a flow outlives its worker, and a flow that a worker watches is marked as crashed when it ends.
    """
    with get_client(sync_client=True) as api:
        workers = api.read_workers_for_work_pool(run.work_pool_name) if run.work_pool_name else []
        if any(worker.status == WorkerStatus.ONLINE for worker in workers):
            return True
        lately = EventFilter(
            occurred=EventOccurredFilter.model_validate({"since": datetime.now(UTC) - timedelta(seconds=within_s)}),
            event=EventNameFilter(name=[_HEARTBEAT]),
            resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
        )
        return bool(api.read_events(filter=lately, limit=1).events)
