"""`prefect deploy --all` as an operator runs it: what stands at the server afterwards, and what sets runs going."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from deployed import Deployed, eventually
from prefect.events import emit_event

from nightwell.wells.streams import Stream

ENTRY_POINTS = {
    "backup-volume/source-site": "flows.backup.backup_volume",
    "restore-volume/source-site": "flows.restore.restore_volume",
    "carry-out-backup/destination-site": "flows.remote.carry_out_backup",
    "carry-out-restore/destination-site": "flows.remote.carry_out_restore",
    "fence-run/destination-site": "flows.remote.fence_run",
    "look-up-version/destination-site": "flows.remote.look_up_version",
    "recover-runs/source-site": "flows.recover.recover_runs",
    "recover-runs/destination-site": "flows.recover.recover_runs",
    "reanalyse-well/nightly": "flows.reanalyse.reanalyse_well",
    "reanalyse-wells/all-wells": "flows.reanalyse_wells.reanalyse_wells",
    "acquire-well/source-site": "flows.acquire.acquire_well",
    "verify-volume/nightly": "flows.verify.verify_volume",
    "recovery-points/destination-site": "flows.recovery_points.check_recovery_points",
}


@pytest.fixture(scope="module")
def deployments(deployed: Deployed) -> dict[str, dict[str, Any]]:
    flows = {flow["id"]: flow["name"] for flow in deployed.ask("flows")}
    return {f"{flows[d['flow_id']]}/{d['name']}": d for d in deployed.ask("deployments")}


def test_every_flow_is_deployed_by_its_module_to_its_sites_pool(deployments: dict[str, dict[str, Any]]) -> None:
    assert {name: found["entrypoint"] for name, found in deployments.items()} == ENTRY_POINTS
    for name, found in deployments.items():
        assert found["description"], f"{name} does not say what it does"
        assert found["tags"], f"{name} has no tag to filter by"
        assert found["work_pool_name"] == ("source-site" if "source" in name else "destination-site")
        assert not found["pull_steps"]


def test_every_parameter_is_described_and_choices_are_choices(deployments: dict[str, dict[str, Any]]) -> None:
    for name, found in deployments.items():
        schema = found["parameter_openapi_schema"]
        for parameter, field in schema["properties"].items():
            assert field.get("description"), f"{name}: nothing explains '{parameter}'"
            assert "\n" not in field["description"], f"{name}: a line break is shown as it is in '{parameter}'"
            required = parameter in schema.get("required", ())
            assert required != ("default" in field), f"{name}: '{parameter}' is neither required nor has a default"
        for model, definition in schema.get("definitions", {}).items():
            for field_name, field in definition.get("properties", {}).items():
                assert field.get("description"), f"{name}: nothing explains '{model}.{field_name}'"
    backup = deployments["backup-volume/source-site"]["parameter_openapi_schema"]
    assert backup["definitions"]["BackupMode"]["enum"] == ["split", "pair", "direct"]
    assert backup["required"] == ["volume"]
    assert backup["properties"]["keep_pair"]["type"] == "boolean"
    recover = deployments["recover-runs/source-site"]["parameter_openapi_schema"]
    assert recover["definitions"]["Where"]["enum"] == ["source", "destination", "both"]
    analysis = deployments["reanalyse-well/nightly"]["parameter_openapi_schema"]
    assert analysis["definitions"]["Stream"]["enum"] == [stream.value for stream in Stream]
    assert analysis["properties"]["streams"]["items"] == {"$ref": "#/definitions/Stream"}
    assert analysis["properties"]["streams"]["default"] == ["trap_gas"]
    assert analysis["definitions"]["KnownLibrary"]["enum"] == ["site", "shipped"]
    assert analysis["properties"]["library"]["default"] == "site"
    acquired = deployments["acquire-well/source-site"]["parameter_openapi_schema"]
    assert acquired["definitions"]["InstrumentDriver"]["enum"] == ["simulated", "replay", "srs-rga"]


@pytest.mark.parametrize(
    ("deployment", "parameter"),
    [
        ("backup-volume/source-site", "volume"),
        ("restore-volume/source-site", "volume"),
        ("restore-volume/source-site", "target"),
        ("reanalyse-well/nightly", "volume"),
        ("verify-volume/nightly", "volume"),
    ],
)
def test_a_form_offers_the_known_volumes_and_takes_another(
    deployments: dict[str, dict[str, Any]], deployment: str, parameter: str
) -> None:
    known, another = deployments[deployment]["parameter_openapi_schema"]["properties"][parameter]["anyOf"]
    assert "well" in known["enum"]
    assert another["type"] == "string"
    assert "enum" not in another


def test_a_form_that_the_other_site_fills_in_offers_nothing(deployments: dict[str, dict[str, Any]]) -> None:
    asked = deployments["look-up-version/destination-site"]["parameter_openapi_schema"]["properties"]["volume"]
    assert asked["type"] == "string"


@pytest.mark.parametrize(
    ("deployment", "parameters"),
    [
        ("recover-runs/source-site", {"site": "source"}),
        ("recover-runs/destination-site", {"site": "destination"}),
        ("backup-volume/source-site", {"volume": "well", "mode": "split", "keep_pair": False}),
        ("reanalyse-well/nightly", {"volume": "well", "version": "latest"}),
        ("reanalyse-wells/all-wells", {}),
        ("verify-volume/nightly", {"volume": "well", "version": "latest"}),
        ("recovery-points/destination-site", {}),
    ],
)
def test_the_scheduler_really_inserts_runs(
    deployed: Deployed, deployments: dict[str, dict[str, Any]], deployment: str, parameters: dict[str, object]
) -> None:
    """With an SQLAlchemy that Prefect does not know it inserts none, and says nothing."""
    chosen = {
        "deployments": {"id": {"any_": [deployments[deployment]["id"]]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }
    run = eventually("scheduled run", lambda: next(iter(deployed.ask("flow_runs", chosen)), None))
    assert run["state_type"] == "SCHEDULED"
    assert run["auto_scheduled"]
    assert run["parameters"] == parameters
    assert datetime.fromisoformat(run["expected_start_time"]) > datetime(2020, 1, 1, tzinfo=UTC)


def test_a_committed_version_sets_a_re_analysis_of_its_volume_going(
    deployed: Deployed, deployments: dict[str, dict[str, Any]]
) -> None:
    automation = next(a for a in deployed.ask("automations") if a["name"] == "reanalyse-after-backup")
    assert automation["enabled"]
    nightly = deployments["reanalyse-well/nightly"]["id"]
    assert automation["actions"][0]["deployment_id"] == nightly
    chosen = {"deployments": {"id": {"any_": [nightly]}}}
    for volume in ("disk-7", "well-7"):
        emit_event(
            event="nightwell.version.committed",
            resource={
                "prefect.resource.id": f"nightwell.volume.{volume}",
                "prefect.resource.name": volume,
            },
            payload={"version_id": "v", "run_id": "r"},
        )

    def triggered() -> list[dict[str, Any]] | None:
        runs = deployed.ask("flow_runs", chosen)
        return [r for r in runs if not r["auto_scheduled"]] or None

    runs = eventually("triggered run", triggered)
    # Events are handled in order: the volume that holds no well came first, and set nothing going.
    assert [run["parameters"] for run in runs] == [{"volume": "well-7", "version": "latest"}]
    table = {"deployments": {"id": {"any_": [deployments["recovery-points/destination-site"]["id"]]}}}

    def tables() -> bool | None:
        return len([r for r in deployed.ask("flow_runs", table) if not r["auto_scheduled"]]) == 2 or None

    eventually("table of recovery points for each version", tables)
