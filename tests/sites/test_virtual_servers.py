"""The whole road through a virtual server that reaches and may do only what its request needs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import MIB, Machine, noise, running_machine
from sites.test_recovery import recover_all, start_command, wait_for_step
from tools import WHOLE_MACHINES, tool

from nightwell.errors import CredentialsError
from nightwell.protocol import Phase, Site, Step
from nightwell.sites.build import open_grants
from nightwell.store import BackupStore, StoreLocation
from nightwell.store.grants.iam import IamGrants, user_name
from nightwell.store.grants.port import Credentials, Grant
from nightwell.store.location import with_credentials

PROGRAMS = {"runc": "runc", "qemu": "qemu-system-x86_64"}
# A backup and a restore through an emulated machine take minutes: `make machines`.
ENGINES = tuple(PROGRAMS) if WHOLE_MACHINES else ("runc",)


@pytest.fixture(params=ENGINES)
def machine(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    identity_seaweed: StoreLocation,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Machine]:
    engine: str = request.param
    tool(PROGRAMS[engine])
    monkeypatch.setenv("NIGHTWELL_DESTINATION__SERVERS__DRIVER", engine)
    monkeypatch.setenv("NIGHTWELL_DESTINATION__CREDENTIALS__DRIVER", "iam")
    with running_machine(tmp_path, identity_seaweed) as running:
        yield running


def test_a_backup_and_a_restore_with_credentials_that_end_with_them(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued: list[tuple[Grant, Credentials]] = []
    issue = IamGrants.issue

    def watched(grants: IamGrants, grant: Grant) -> Credentials:
        issued.append((grant, issue(grants, grant)))
        return issued[-1][1]

    monkeypatch.setattr(IamGrants, "issue", watched)
    machine.make_volume("well", 24 * MIB, data=noise(9 * MIB))
    before = machine.digest("well")
    run = machine.source.back_up("well")
    assert run.phase is Phase.DONE, run.failure
    assert run.version_id
    machine.make_volume("third", 24 * MIB, data=noise(MIB))
    restored = machine.source.restore("well", run.version_id, "third")
    assert restored.phase is Phase.DONE, restored.failure
    assert machine.digest("third") == before
    assert machine.leftovers() == []

    assert [(grant.volume, grant.rights) for grant, _ in issued] == [("well", "write"), ("well", "read")]
    for _, credentials in issued:
        with pytest.raises(CredentialsError):
            BackupStore.open(
                with_credentials(machine.destination.location, credentials.access_key, credentials.secret_key)
            )


def test_recovery_ends_the_server_and_the_credentials_of_a_killed_run(machine: Machine) -> None:
    machine.make_volume("well", 48 * MIB, data=noise(24 * MIB))
    process = start_command(machine, "backup", "well")
    run_id = wait_for_step(machine, process, Site.DESTINATION, Step.COPY)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    grants = open_grants(machine.settings)
    assert isinstance(grants, IamGrants)
    assert user_name(run_id) in users(grants)
    recover_all(machine)
    assert machine.leftovers() == []
    assert user_name(run_id) not in users(grants)


def users(grants: IamGrants) -> set[str]:
    return {user["UserName"] for user in grants._client.list_users()["Users"]}
