"""The parts of the worker type: what a pool's variables become, what is owed, and the program that forks."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound

from nightwell.local.process import python
from nightwell.servers.procfs import ProcessIdentity, identify, is_running
from pools.flow_processes import FlowProcesses, end
from pools.obligations import Obligations, requested_run
from pools.virtual_server import VirtualServerConfiguration, VirtualServerVariables, VirtualServerWorker


def test_what_the_form_says_stands_above_the_sites_settings() -> None:
    chosen = VirtualServerConfiguration.model_validate({"engine": "process", "vcpus": 3, "memory_mib": 1024})
    chosen.prepare_for_flow_run(FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), name="run"))
    environment = chosen.environment()
    assert environment["NIGHTWELL_DESTINATION__SERVERS__DRIVER"] == "process"
    assert environment["NIGHTWELL_DESTINATION__SERVERS__CPUS"] == "3"
    assert environment["NIGHTWELL_DESTINATION__SERVERS__MEMORY_MIB"] == "1024"
    assert chosen.own_command is None, "a command that nobody gave would cost the seconds that the fork saves"


def test_the_form_offers_every_engine() -> None:
    schema = VirtualServerVariables.model_json_schema()
    assert schema["definitions"]["ServerDriver"]["enum"] == ["process", "runc", "qemu"]
    chosen = VirtualServerConfiguration.model_validate({"engine": "qemu"})
    chosen.prepare_for_flow_run(FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), name="run"))
    assert chosen.environment()["NIGHTWELL_DESTINATION__SERVERS__DRIVER"] == "qemu"


@pytest.mark.parametrize(
    ("parameters", "run_id"),
    [
        ({"request": {"run_id": "20260101-1", "url": "nbd://x/"}}, "20260101-1"),
        ({"request": {"run_id": "20260101-1", "kind": "backup"}}, ""),
        ({"volume": "v", "selector": "latest"}, ""),
        ({"request": {"run_id": "../../etc", "url": "nbd://x/"}}, ""),
    ],
)
def test_only_a_request_owes_a_virtual_server(parameters: dict[str, object], run_id: str) -> None:
    assert requested_run(parameters) == run_id


def test_an_obligation_is_orphaned_when_worker_and_process_are_both_gone(tmp_path: Path) -> None:
    owed = Obligations(tmp_path)
    gone = ProcessIdentity(1, 1, "another boot")
    mine = owed.begin("one", "run-1")
    assert owed.orphaned() == []
    owed._write(replace(mine, worker=gone, process=identify(os.getpid())))
    assert owed.orphaned() == [], "its process goes on"
    lost = replace(mine, worker=gone, process=gone)
    owed._write(lost)
    assert owed.orphaned() == [lost]
    owed.met(lost)
    assert owed.orphaned() == []


def test_infrastructure_is_killed_by_identity_and_only_here() -> None:
    worker = VirtualServerWorker(work_pool_name="pool")
    configuration = VirtualServerConfiguration()
    for address, error in [
        ("elsewhere:1:2:boot", InfrastructureNotAvailable),
        (f"{os.uname().nodename}:{os.getpid()}:1:another-boot", InfrastructureNotFound),
        ("12345", InfrastructureNotFound),
    ]:
        with pytest.raises(error):
            asyncio.run(worker.kill_infrastructure(address, configuration))


def test_a_process_that_ignores_the_request_to_end_is_ended_with_its_session(tmp_path: Path) -> None:
    stubborn = (
        "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"subprocess.Popen(['sleep', '600']); open({str(tmp_path / 'ready')!r}, 'w').close(); time.sleep(600)"
    )

    async def scenario() -> tuple[int, ProcessIdentity]:
        processes = FlowProcesses(tmp_path)
        words = python("-c", stubborn)
        process = await processes.execute(f'{words[0]} {words[1]} "{words[2]}"', os.environ)
        while not (tmp_path / "ready").exists():  # noqa: ASYNC110  it is another process that says so
            await asyncio.sleep(0.01)
        await end(process.identity, grace_s=0.3)
        return await process.wait(), process.identity

    status, identity = asyncio.run(scenario())
    assert status == -signal.SIGKILL
    assert not is_running(identity)
