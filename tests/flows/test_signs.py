"""What is heard of a flow run that is marked as crashed for want of heartbeats, at a real Prefect server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from deployed import Deployed, eventually
from prefect.client.schemas.objects import FlowRun
from prefect.events import emit_event
from prefect.states import Crashed

from pools.bootstrap import ensure_pool
from pools.templates import PoolKind
from tasks.signs import HEARTBEAT, LOST, Silence, is_lost

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def lost(deployed: Deployed) -> Iterator[FlowRun]:
    """A run of a pool of its own, whose workers nobody else starts."""
    pool = f"quiet-{uuid.uuid4().hex[:6]}"
    with deployed.client() as api:
        ensure_pool(api, pool, PoolKind.PROCESS)
        flow_id = api.read_deployment_by_name("backup-volume/source-site").flow_id
        deployment = api.create_deployment(flow_id, pool, work_pool_name=pool)
        run = api.create_flow_run_from_deployment(deployment, state=Crashed(message=LOST))
        yield api.read_flow_run(run.id)
        api.delete_deployment(deployment)


def _has_a_worker(deployed: Deployed, run: FlowRun) -> None:
    with deployed.client() as api:
        api._client.post(f"/work_pools/{run.work_pool_name}/workers/heartbeat", json={"name": "w"}).raise_for_status()


def test_a_lost_run_of_which_nothing_is_heard_has_ended_when_its_pool_has_a_worker(
    deployed: Deployed, lost: FlowRun
) -> None:
    _has_a_worker(deployed, lost)
    assert is_lost(lost)
    silence = Silence(0.0, enough_s=2.0)
    assert not silence.is_its_end(lost), "it has only begun to listen"
    eventually("end", lambda: silence.is_its_end(lost) or None, timeout_s=150.0)


def test_a_lost_run_may_live_while_its_pool_has_no_worker(lost: FlowRun) -> None:
    silence = Silence(0.0, enough_s=0.0)
    assert [silence.is_its_end(lost) for _ in range(3)] == [False] * 3, "its line may be cut"


def test_a_lost_run_lives_when_another_heartbeat_is_heard(deployed: Deployed, lost: FlowRun) -> None:
    _has_a_worker(deployed, lost)
    silence = Silence(0.0, enough_s=200.0)
    assert not silence.is_its_end(lost)
    before = silence._newest
    emit_event(HEARTBEAT, resource={"prefect.resource.id": f"prefect.flow-run.{lost.id}"})

    def heard() -> bool | None:
        assert not silence.is_its_end(lost)
        return silence._newest != before or None

    eventually("heartbeat", heard)


def test_a_run_whose_worker_saw_it_die_is_not_in_doubt(lost: FlowRun) -> None:
    said = lost.model_copy(update={"state": Crashed(message="Flow run process exited with non-zero status code -9.")})
    assert not is_lost(said)
