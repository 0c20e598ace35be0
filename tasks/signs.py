"""Signs of life from the other end of line 2: what tells work under way from work that nobody can hear of any more."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, WorkerStatus
from prefect.events.filters import (
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventOrder,
    EventResourceFilter,
)

HEARTBEAT = "prefect.flow-run.heartbeat"
#: How often a flow run of our pools sends one.
HEARTBEAT_S = 30
#: What is said of a flow run that is marked as crashed for want of heartbeats. It may live: its line was cut, or the
#: server was held up.
LOST = (
    "No heartbeat any more: its process was killed, or its host is down. recover-runs finishes or undoes what it began."
)
_CLOCKS_DIFFER_BY = timedelta(days=7)


def gives_sign(run: FlowRun, *, within_s: float) -> bool:
    """Tell whether a worker of the run's pool is there, or the run itself sent a heartbeat lately.

    Either is enough: a flow outlives its worker, and a flow that a worker watches is marked as crashed when it ends.
    """
    with get_client(sync_client=True) as api:
        lately = EventOccurredFilter.model_validate({"since": datetime.now(UTC) - timedelta(seconds=within_s)})
        return _worker_is_there(api, run) or _newest_heartbeat(api, run, lately) is not None


@dataclass(slots=True)
class Silence:
    """How long nothing is heard of a flow run that is marked as lost, while its pool's worker is.

    Parameters
    ----------
    look_every_s
        How often the server is asked.
    enough_s
        How long it takes to know that no other heartbeat will come.
    """

    look_every_s: float
    enough_s: float = 2.0 * HEARTBEAT_S
    _look_s: float = 0.0
    _since_s: float | None = None
    _newest: UUID | None = field(default=None, repr=False)

    def is_its_end(self, run: FlowRun) -> bool:
        """Tell whether nothing was heard for long enough; without a worker it may be that nothing can be heard."""
        now_s = time.monotonic()
        if now_s < self._look_s:
            return False
        self._look_s = now_s + self.look_every_s
        with get_client(sync_client=True) as api:
            # By its id and not by its time: the clocks of two sites may disagree.
            now = datetime.now(UTC)
            ever = {"since": now - _CLOCKS_DIFFER_BY, "until": now + _CLOCKS_DIFFER_BY}
            newest = _newest_heartbeat(api, run, EventOccurredFilter.model_validate(ever))
            if self._since_s is None or newest != self._newest or not _worker_is_there(api, run):
                self._since_s, self._newest = now_s, newest
                return False
            return now_s > self._since_s + self.enough_s


def is_lost(run: FlowRun) -> bool:
    """Tell whether a flow run is shown as crashed for want of heartbeats only."""
    return run.state is not None and run.state.is_crashed() and run.state.message == LOST


def has_ended(run: FlowRun) -> bool:
    """Tell whether a flow run is known to have ended; a lost one may live, and is shown as it ends."""
    return run.state is not None and run.state.is_final() and not is_lost(run)


def _worker_is_there(api: SyncPrefectClient, run: FlowRun) -> bool:
    workers = api.read_workers_for_work_pool(run.work_pool_name) if run.work_pool_name else []
    return any(worker.status == WorkerStatus.ONLINE for worker in workers)


def _newest_heartbeat(api: SyncPrefectClient, run: FlowRun, occurred: EventOccurredFilter) -> UUID | None:
    beats = EventFilter(
        occurred=occurred,
        event=EventNameFilter(name=[HEARTBEAT]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
        order=EventOrder.DESC,
    )
    found = api.read_events(filter=beats, limit=1).events
    return found[0].id if found else None
