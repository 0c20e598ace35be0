"""The flows on a real Prefect server: what they do, what they show, and how they fail."""

from __future__ import annotations

import json

import pytest
from deployed import eventually
from machine import MIB, Machine, noise
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun

from flows.backup import backup_volume
from flows.recover import Where, recover_runs
from flows.recovery_points import check_recovery_points
from flows.restore import restore_volume
from flows.verify import verify_volume
from nightwell.errors import ConflictError, IntegrityError, NotFoundError
from nightwell.protocol import BackupMode
from nightwell.store import BackupStore
from nightwell.store.layout import packs_key


def client() -> SyncPrefectClient:
    return get_client(sync_client=True)


def last_flow_run(name: str) -> FlowRun:
    with client() as api:
        runs = [r for r in api.read_flow_runs() if r.name == name]
    assert runs, f"no flow run named {name!r}"
    return max(runs, key=lambda r: str(r.created))


def artifacts_of(run: FlowRun) -> dict[str, object]:
    with client() as api:
        answer = api._client.post("/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": [str(run.id)]}}})
    return {a["key"] or a["type"]: a["data"] for a in answer.json()}


def task_names(run: FlowRun) -> list[str]:
    with client() as api:
        runs = api.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    return [r.name.rsplit("-", 1)[0] for r in sorted(runs, key=lambda r: str(r.start_time))]


def assert_logged(run: FlowRun, *parts: str) -> None:
    """Check that one line of a flow run's log, or of its tasks', holds all the parts; it is sent a little later."""

    def look() -> str | None:
        chosen = {"logs": {"flow_run_id": {"any_": [str(run.id)]}}, "limit": 200}
        with client() as api:
            lines = [line["message"] for line in api._client.post("/logs/filter", json=chosen).json()]
        return next((line for line in lines if all(part in line for part in parts)), None)

    eventually(f"log line with {parts}", look)


def test_a_backup_shows_its_steps_and_blocks_and_a_restore_gives_it_back(machine: Machine) -> None:
    machine.make_volume("well", 16 * MIB, data=noise(5 * MIB))
    state = backup_volume("well", return_state=True)
    assert state.is_completed(), state.message
    assert "backup safe as version" in str(state.message)
    run = last_flow_run("back up well (split)")
    names = task_names(run)
    assert names[:3] == ["look-up-version", "check pair", "create secondary"]
    assert {"split pair", "request over line 2", "delete secondary"} <= set(names)
    shown = artifacts_of(run)
    assert "backup safe as version" in str(shown["backup-well"])
    assert any(row["what"] == "stored" for row in json.loads(str(shown["backup-well-blocks"])))
    steps = {row["step"]: row for row in json.loads(str(shown["backup-well-timeline"]))}
    assert next(iter(steps)) == "check pair"
    assert float(steps["request over line 2"]["seconds"]) > 0
    assert float(steps["split pair"]["begins after (s)"]) < float(steps["request over line 2"]["begins after (s)"])
    assert {len(row["timeline"]) for row in steps.values()} == {24}
    assert steps["request over line 2"]["timeline"].count("█") > steps["split pair"]["timeline"].count("█")
    remote = last_flow_run("copy well to the store")
    remote_steps = {"produce virtual server", "copy", "commit version", "delete virtual server"}
    assert remote_steps <= set(task_names(remote))
    copied = json.loads(str(artifacts_of(remote)["copy-well-timeline"]))
    assert remote_steps <= {row["step"] for row in copied}
    late = check_recovery_points(["never"], return_state=True)
    assert (late.name, late.message) == ("TargetMissed", "1 of 2 volumes not in time: never (never backed up)")
    table = json.loads(str(artifacts_of(last_flow_run("recovery points of all volumes"))["recovery-points"]))
    assert [(row["volume"], row["state"]) for row in table] == [("never", "NEVER BACKED UP"), ("well", "in time")]
    assert table[1]["newest good version"] == str(state.message).rsplit(" ", 1)[1]
    assert table[1]["target"] == "1 d 2 h"
    assert_logged(run, "site=source", "volume=well", "step=split split finished")
    assert_logged(remote, "site=destination", "volume=well", "step=copy copies 16777216 bytes in blocks of")
    machine.make_volume("third", 16 * MIB)
    restored = restore_volume("well", "third", return_state=True)
    assert restored.is_completed(), restored.message
    assert machine.digest("third") == machine.digest("well")
    assert machine.leftovers() == []


def test_a_damaged_version_fails_its_verification_and_ages_the_recovery_point(machine: Machine) -> None:
    machine.make_volume("rotten", 2 * MIB, data=noise(MIB))
    backed_up = backup_volume("rotten", return_state=True)
    assert backed_up.is_completed(), backed_up.message
    assert verify_volume("rotten").endswith("blocks checked, all as written")
    with BackupStore.open(machine.destination.location) as store:
        for pack in store._objects.list(packs_key("rotten")):
            store._objects.put(pack.key, bytes(pack.size_bytes))
    with pytest.raises(IntegrityError, match="damaged block"):
        verify_volume("rotten")
    shown = json.loads(str(artifacts_of(last_flow_run("verify rotten latest"))["verification-rotten"]))
    assert {"what": "whole", "value": "NO"} in shown
    missed = check_recovery_points(return_state=True)
    assert missed.name == "TargetMissed"
    assert "rotten (no good version)" in str(missed.message)
    table = json.loads(str(artifacts_of(last_flow_run("recovery points of all volumes"))["recovery-points"]))
    # The server may have deployments by now, whose schedules name other volumes.
    (row,) = (row for row in table if row["volume"] == "rotten")
    assert (row["state"], row["note"]) == ("NO GOOD VERSION", "1 newer DAMAGED: failed their verification")


def test_a_flow_fails_with_the_error_that_a_person_can_act_on(machine: Machine) -> None:
    machine.make_volume("well", 2 * MIB)
    with pytest.raises(NotFoundError, match="well-7"):
        backup_volume("well-7")
    with pytest.raises(NotFoundError, match="latest"):
        restore_volume("well", "well")
    machine.source_array.create_volume("copy", 2 * MIB)
    machine.source_array.create_pair("well", "copy")
    with pytest.raises(ConflictError, match="primary"):
        backup_volume("copy", mode=BackupMode.SPLIT)
    shown = artifacts_of(last_flow_run("back up copy (split)"))
    assert "docs/runbook.md#taken-back" in str(shown)
    assert machine.leftovers() == []


def test_recovery_says_what_it_did(machine: Machine) -> None:
    assert recover_runs(Where.BOTH) == []
