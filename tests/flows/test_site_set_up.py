"""`nightwell-site set-up` on a real server: what stands afterwards, that repeating it changes nothing, bad input."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from deployed import Deployed
from machine import MIB, Machine
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool
from prefect.events import emit_event
from prefect.events.schemas.automations import EventTrigger
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.settings.models.server.concurrency import ServerConcurrencySettings
from prefect.states import Running
from pydantic import SecretStr

from flows.local_server import QUIET, LocalPrefectServer
from nightwell.errors import (
    ConflictError,
    CredentialsError,
    NightwellError,
    NotFoundError,
    SettingsError,
    UnreachableError,
)
from nightwell.settings import FlowsSettings, Settings, StoreSettings, load_settings
from nightwell.sites.requests import BackupRequest
from pools.automations import NAME, ensure_automation, lost_runs
from pools.bootstrap import (
    ensure_blocks,
    ensure_pool,
    lease_storage_of,
    main,
    said_of_leases,
    scheduled_volumes,
    set_up,
)
from pools.choices import offer_volumes
from pools.templates import DESTINATION_POOL, PoolKind, base_job_template
from tasks.blocks import load_site_settings
from tasks.deployed import DeployedDestination
from tasks.signs import is_lost

SECRET = "hush-hush-secret"
LEASES = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
REQUEST = BackupRequest.model_validate(
    {
        "run_id": "20260101-000000-000009",
        "fencing_token": 1,
        "volume": "v",
        "source": "s/v",
        "url": "nbd://x/",
        "mode": "pair",
    }
)


def said(settings: Settings) -> list[str]:
    lines: list[str] = []
    set_up(settings, project=None, say=lines.append)
    return lines


def everything(deployed: Deployed) -> dict[str, list[dict[str, Any]]]:
    """Return all that the command makes, without what a worker or the scheduler changes by itself."""
    fields = {
        "work_pools": ("id", "name", "type", "base_job_template"),
        "deployments": ("id", "name", "schedules", "concurrency_options", "entrypoint"),
        "automations": ("id", "name", "trigger", "actions"),
        "v2/concurrency_limits": ("id", "name", "limit"),
        "block_documents": ("id", "name", "data"),
        "block_types": ("id", "slug"),
    }
    found = {path: deployed.ask(path) for path in fields}
    return {
        path: sorted(
            ({field: row.get(field) for field in fields[path]} for row in rows), key=lambda row: str(row["id"])
        )
        for path, rows in found.items()
    }


def test_a_second_set_up_changes_nothing_and_says_so(deployed: Deployed) -> None:
    settings = Settings(
        flows=FlowsSettings(store_block="store", destination_block="destination", remote_deployment="far"),
        store=StoreSettings(endpoint_url="http://s3", access_key="key", secret_key=SecretStr(SECRET)),
    )
    first = said(settings)
    before = everything(deployed)
    again = said(settings)
    assert everything(deployed) == before
    assert not [line for line in again if line.endswith(("made", "up to date"))], again
    assert "leases of limits: outlive a restart of the server" in again
    assert SECRET not in "\n".join(first + again)
    assert SECRET not in str(before), "the server shows a secret in plain words"
    names = {limit["name"] for limit in before["v2/concurrency_limits"]}
    assert {"array-source", "volume-well"} <= names
    pool = next(pool for pool in before["work_pools"] if pool["name"] == DESTINATION_POOL)
    assert pool["type"] == "virtual-server"
    shown = pool["base_job_template"]["variables"]["properties"]
    for name in ("engine", "vcpus", "memory_mib"):
        assert shown[name]["title"]
        assert shown[name]["description"]
    assert shown["env"]["default"] == {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}


def test_a_server_that_forgets_who_holds_its_limits_is_told_of() -> None:
    said = said_of_leases(ServerConcurrencySettings().lease_storage)  # Prefect's default
    assert said.startswith("LOST when the server is started again")
    _, _, setting = said.partition("Start the server with ")
    assert setting == f"{LEASES}={QUIET[LEASES]}", "as our own servers are started"
    assert said_of_leases(QUIET[LEASES]) == "outlive a restart of the server"


@pytest.mark.parametrize(("status", "found"), [(200, QUIET[LEASES]), (404, None), (403, None)])
def test_a_server_may_show_nobody_its_settings(status: int, found: str | None) -> None:
    shown = {"server": {"concurrency": {"lease_storage": QUIET[LEASES]}}}
    transport = httpx.MockTransport(lambda _: httpx.Response(status, json=shown))
    with SyncPrefectClient("http://elsewhere/api", httpx_settings={"transport": transport}) as api:
        assert lease_storage_of(api) == found


def test_flows_read_their_store_and_their_other_site_from_blocks(
    deployed: Deployed, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings().model_copy(
        update={
            "flows": FlowsSettings(store_block="mine", destination_block="other", remote_deployment="far"),
            "store": StoreSettings(endpoint_url="http://s3", access_key="key", secret_key=SecretStr(SECRET)),
        }
    )
    assert list(ensure_blocks(settings))[-2:] == ["block mine: made", "block other: made"]
    monkeypatch.setenv("NIGHTWELL_FLOWS__STORE_BLOCK", "mine")
    monkeypatch.setenv("NIGHTWELL_FLOWS__DESTINATION_BLOCK", "other")
    found = load_site_settings()
    assert found.store.secret_key.get_secret_value() == SECRET
    assert found.store.endpoint_url == "http://s3"
    assert found.flows.remote_deployment == "far"
    monkeypatch.setenv("NIGHTWELL_FLOWS__STORE_BLOCK", "nobodys")
    with pytest.raises(SettingsError, match="nobodys"):
        load_site_settings()


def test_forms_offer_what_can_be_backed_up_and_no_secondary(deployed: Deployed, machine: Machine) -> None:
    for name in ("disk", "disk-copy", "free"):
        machine.source_array.create_volume(name, MIB)
    machine.source_array.create_pair("disk", "disk-copy")
    machine.source_array.create_volume("of-a-run", MIB, owner="run-1")

    def offered() -> list[str]:
        (backup,) = [d for d in deployed.ask("deployments") if d["entrypoint"] == "flows.backup.backup_volume"]
        known: list[str] = backup["parameter_openapi_schema"]["properties"]["volume"]["anyOf"][0]["enum"]
        return known

    before = offered()
    with get_client(sync_client=True) as api:
        assert offer_volumes(api, machine.settings, ["well"]).startswith("3 of array 'source'")
        assert offered() == ["disk", "free", "well"]
        machine.source_process.kill()
        assert "array 'source' was not asked" in offer_volumes(api, machine.settings, before)
    assert offered() == before


def test_a_flow_run_without_heartbeats_is_marked_as_crashed(deployed: Deployed) -> None:
    with get_client(sync_client=True) as api:
        (standing,) = api.read_automations_by_name(NAME)
        assert isinstance(standing.trigger, EventTrigger)
        assert standing.trigger.within == timedelta(seconds=75), "with 30 s of heartbeat: within 90 s of a kill"
        quick = lost_runs(lost_after_s=10).model_copy(update={"name": "quick"})
        assert ensure_automation(api, quick) == "made"
        assert ensure_automation(api, quick) == "stands"
        assert ensure_automation(api, lost_runs(lost_after_s=11).model_copy(update={"name": "quick"})) != "stands"
        target = api.read_deployment_by_name("backup-volume/source-site")
        run = api.create_flow_run_from_deployment(target.id, parameters={"volume": "v"}, state=Running())
        emit_event(event="prefect.flow-run.heartbeat", resource={"prefect.resource.id": f"prefect.flow-run.{run.id}"})
        try:
            deployed.until(run.id, is_lost, timeout_s=90)
        finally:
            for made in api.read_automations_by_name("quick"):
                api.delete_automation(made.id)


def test_a_pool_of_another_type_is_left_alone(deployed: Deployed) -> None:
    name = f"pool-{uuid.uuid4().hex[:6]}"
    with get_client(sync_client=True) as api:
        assert ensure_pool(api, name, PoolKind.PROCESS) == "made"
        with pytest.raises(ConflictError, match="virtual-server"):
            ensure_pool(api, name, PoolKind.VIRTUAL_SERVER)
        assert api.read_work_pool(name).type == "process"


def test_a_server_or_a_project_that_is_not_there_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert main(["set-up", "--no-deploy"]) == 1
    assert "Next step:" in capsys.readouterr().err
    with pytest.raises(NightwellError, match="expected the file"):
        scheduled_volumes(tmp_path)


def test_a_pool_without_a_worker_is_said_at_once(deployed: Deployed, prefect_server: LocalPrefectServer) -> None:
    name = f"alone-{uuid.uuid4().hex[:6]}"
    with get_client(sync_client=True) as api:
        ensure_pool(api, name, PoolKind.VIRTUAL_SERVER)
        flow_id = api.read_deployment_by_name("carry-out-backup/destination-site").flow_id
        alone = api.create_deployment(flow_id=flow_id, name=name, work_pool_name=name)
        with pytest.raises(UnreachableError, match="none was ever seen") as raised:
            DeployedDestination(name).back_up(REQUEST)
        assert str(raised.value) == (
            f"run '{REQUEST.run_id}' at the destination site: expected a worker that takes up a run of deployment "
            f"'{name}'; found pool '{name}' has no worker: none was ever seen. Likely cause: the destination's "
            f"worker was not started, or its host is down. Next step: run 'prefect worker start --pool {name}' at "
            "the destination site, as a service."
        )
        api.update_work_pool(name, WorkPoolUpdate(is_paused=True))
        with pytest.raises(UnreachableError, match=f"pool '{name}' is paused") as raised:
            DeployedDestination(name).back_up(REQUEST)
        assert f"prefect work-pool resume {name}" in raised.value.next_step
        with pytest.raises(NotFoundError) as missing:
            DeployedDestination("no-such-site").back_up(REQUEST)
        assert str(missing.value) == (
            "deployment 'carry-out-backup/no-such-site': expected it at the Prefect server; found no such "
            "deployment or flow run. Likely cause: the flows were not deployed, or setting "
            "'flows.remote_deployment' is misspelled. Next step: run 'prefect --no-prompt deploy --all', and "
            "compare the names with the setting."
        )
        assert not [run for run in api.read_flow_runs() if run.work_pool_name == name], "nothing was asked"
        api.delete_deployment(alone)
        api.delete_work_pool(name)


class _Refusing(BaseHTTPRequestHandler):
    """Stands in for a Prefect server that asks for credentials: it tells its health to all, and nothing else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/health" else 401)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"true")

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


def test_credentials_that_the_prefect_server_refuses_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        with temporary_settings({PREFECT_API_URL: url}):
            assert main(["set-up", "--no-deploy"]) == 1
            with pytest.raises(CredentialsError) as raised:
                DeployedDestination("destination-site").look_up("well", "latest")
        server.shutdown()
        thread.join()
    text = (
        f": expected the Prefect server at {url} to take our credentials; found a refusal. Likely cause: "
        "PREFECT_API_AUTH_STRING or PREFECT_API_KEY is missing here, mistyped, or was changed at the server. "
        "Next step: set it as the server has it, by 'prefect config set' or in the worker's environment."
    )
    assert capsys.readouterr().err.strip() == f"error: what nightwell-site sets up{text}"
    assert str(raised.value) == f"version 'latest' of 'well' at the destination site{text}"


def test_the_templates_of_both_worker_types_are_what_prefect_takes() -> None:
    for kind in PoolKind:
        pool = WorkPool(
            name="pool", type=kind.value, base_job_template=base_job_template(kind), default_queue_id=uuid.uuid4()
        )
        assert pool.base_job_template["job_configuration"]["env"] == "{{ env }}"
