"""Retry in the UI keeps the id of the flow run: nothing of the first attempt may be taken for the second."""

from __future__ import annotations

from typing import Any

from machine import MIB, Machine, noise
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry, Pending

from flows.backup import backup_volume


def test_a_retry_where_one_process_plays_both_sites_copies_again(machine: Machine) -> None:
    machine.make_volume("again", 2 * MIB, data=noise(MIB))
    parameters = {"volume": "again"}
    with get_client(sync_client=True) as api:
        flow_run = api.create_flow_run(backup_volume, parameters=parameters, state=Pending())
        said = []
        for attempt in (1, 2):
            flow_run = api.read_flow_run(flow_run.id)
            state: Any = run_flow(backup_volume, flow_run=flow_run, parameters=parameters, return_type="state")
            assert isinstance(state, State)
            assert state.is_completed(), state.message
            said.append(state.message)
            assert api.read_flow_run(flow_run.id).run_count == attempt
            api.set_flow_run_state(flow_run.id, AwaitingRetry(), force=True)
            machine.write("again", 0, noise(MIB))
        tasks = api.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id])))
    assert said[0] != said[1], "two versions"
    assert "Cached" not in {task.state_name for task in tasks}
    runs = [run for run in machine.source.ledger.journal.runs(10) if run.volume == "again"]
    assert len(runs) == 2
    newest = machine.destination.look_up("again", "latest")
    assert newest is not None
    assert newest.version_id in str(said[1])
    assert machine.leftovers() == []
