"""Both sites with a worker each: requests cross line 2 as deployment runs, and what is cut short leaves nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from deployed import Deployed, eventually
from machine import MIB, noise
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed
from two_sites import BACKUP, RESTORE, SIZE_BYTES, Sites, running_sites

from flows.recover import Where, recover_runs
from nightwell import __version__
from nightwell.errors import ConflictError, NotFoundError, UnreachableError
from nightwell.protocol import BackupMode, Site
from nightwell.sites.requests import BackupRequest, RestoreRequest
from nightwell.store.location import StoreLocation
from tasks.deployed import DeployedDestination
from tasks.signs import LOST, is_lost

#: How long the Prefect server stays away; at least until the destination has done its work.
OUTAGE_S = float(os.environ.get("NIGHTWELL_TEST_OUTAGE_S", "0"))

# The first test's time holds the start of a server, its deployments and two workers.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def sites(deployed: Deployed, moto_server: StoreLocation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with running_sites(tmp_path_factory.mktemp("sites"), deployed, moto_server) as sites:
        yield sites


@pytest.fixture(scope="module")
def unheard() -> dict[UUID, datetime]:
    """Flow runs whose processes died without a word, and when; looked after at the end, for it takes a while."""
    return {}


def test_a_backup_and_its_restore_cross_line_2_as_deployment_runs(sites: Sites) -> None:
    machine, deployed = sites.machine, sites.deployed
    machine.make_volume("disk", SIZE_BYTES, data=noise(2 * MIB))
    machine.make_volume("third", SIZE_BYTES)
    run, message = sites.ended(deployed.start(BACKUP, volume="disk"))
    assert run.state is not None
    assert run.state.is_completed(), message
    assert run.name == "back up disk (split) at source-site"
    assert message.startswith("backup safe as version ")
    steps = [task.name for task in deployed.tasks(run.id)]
    assert {"check pair", "split pair", "request over line 2", "delete secondary"} <= set(steps)
    (remote,) = deployed.named("copy disk to the store at destination-site")
    log = sites.log_of(remote["id"])
    assert "is produced for this request: engine process, 2 vCPUs, 512 MiB" in log
    eventually("word of its end", lambda: "is deleted, by its own flow" in sites.log_of(remote["id"]) or None)
    assert machine.settings.store.secret_key.get_secret_value() not in log + str(remote["parameters"])
    assert remote["work_pool_name"] == "destination-site"
    assert remote["state_type"] == "COMPLETED"
    assert machine.leftovers() == []
    version_id = message.rsplit(" ", 1)[1]
    machine.write("disk", 0, noise(MIB))
    before = machine.digest("disk")
    run, message = sites.ended(deployed.start(RESTORE, volume="disk", target="third", version=version_id))
    assert run.state is not None
    assert run.state.is_completed(), message
    assert machine.digest("third") != before
    assert machine.read("third")[MIB:] == machine.read("disk")[MIB:]
    assert machine.leftovers() == []


def test_what_fails_at_the_destination_reads_at_the_source_as_it_was_raised_there(sites: Sites) -> None:
    machine, deployed = sites.machine, sites.deployed
    machine.make_volume("target", SIZE_BYTES)
    run, message = sites.ended(deployed.start(RESTORE, volume="disk", target="target", version="nope"))
    assert run.state is not None
    assert run.state.is_failed()
    assert "'nope'" in message
    assert "Next step:" in message
    request = RestoreRequest(
        run_id="20260101-000000-000000",
        fencing_token=1,
        volume="disk",
        version_id="nope",
        target="source/target",
        url=machine.source_array.export("target", name="by-hand", writable=True).url,
    )
    with pytest.raises(NotFoundError, match="nope") as raised:
        DeployedDestination("destination-site").restore(request)
    assert raised.value.next_step
    machine.source_array.withdraw("by-hand")
    assert machine.leftovers() == []


def test_a_source_flow_that_dies_with_its_worker_loses_no_backup(sites: Sites, unheard: dict[UUID, datetime]) -> None:
    """As with their host: nobody is left to tell Prefect."""
    machine, deployed = sites.machine, sites.deployed
    machine.make_volume("unheard", SIZE_BYTES, data=noise(4 * MIB))
    run_id = deployed.start(BACKUP, volume="unheard")
    mover = sites.hold_mover()
    sites.workers["source-site"].kill()
    os.kill(sites.driver(Site.SOURCE), signal.SIGKILL)
    unheard[run_id] = datetime.now(UTC)
    os.kill(mover, signal.SIGCONT)  # the request goes on without the one who asked
    sites.start_worker("source-site")
    recover_runs(Where.SOURCE)
    assert sites.put_back_too_early("unheard") == []
    assert machine.leftovers() == []
    assert sites.run_of("unheard").committed
    assert machine.destination.look_up("unheard", "latest") is not None


def test_a_retry_in_the_ui_is_a_new_run_that_does_every_step_again(sites: Sites) -> None:
    machine, deployed = sites.machine, sites.deployed
    machine.make_volume("later", SIZE_BYTES, data=noise(MIB))
    sites.host_is_there.unlink()
    first, message = sites.ended(deployed.start(BACKUP, volume="later"))
    sites.host_is_there.touch()
    assert first.state is not None
    assert first.state.is_failed()
    assert "quiesce" in message
    assert machine.leftovers() == []
    deployed.set_state(first.id, StateType.SCHEDULED, "AwaitingRetry")
    deployed.until(first.id, lambda run: run.run_count == 2)
    again, message = sites.ended(first.id)
    assert again.state is not None
    assert again.state.is_completed(), message
    tasks = deployed.tasks(first.id)
    assert len([task for task in tasks if task.name == "check pair"]) == 2
    assert "Cached" not in {task.state_name for task in tasks}
    journal = machine.source.ledger.journal
    assert len({run.run_id for run in journal.runs(100) if run.volume == "later"}) == 2
    assert machine.leftovers() == []


@pytest.mark.parametrize("by", ["page", "command"])
def test_a_cancelled_backup_is_taken_back_at_both_sites(sites: Sites, by: str) -> None:
    machine, deployed = sites.machine, sites.deployed
    volume = f"slow-{by}"
    machine.make_volume(volume, SIZE_BYTES, data=noise(4 * MIB))
    run_id = deployed.start(BACKUP, volume=volume)
    sites.hold_mover()
    if by == "page":
        deployed.set_state(run_id, StateType.CANCELLING, "Cancelling")
    else:
        deployed.command("flow-run", "cancel", str(run_id))
    run, _ = sites.ended(run_id)
    assert run.state is not None
    assert run.state.is_cancelled()
    # Cancelling leaves 30 s for the way back. What a busy machine did not get done in that time, the recovery does.
    recover_runs(Where.BOTH)
    assert sites.put_back_too_early(volume) == []
    assert machine.leftovers() == []
    assert machine.source_array.pair_of(volume) is None
    assert machine.destination.look_up(volume, "latest") is None


def test_the_destinations_work_outlives_a_prefect_server_that_goes_and_comes_back(sites: Sites) -> None:
    machine, deployed = sites.machine, sites.deployed
    machine.make_volume("offline", SIZE_BYTES, data=noise(4 * MIB))
    run_id = deployed.start(BACKUP, volume="offline")
    mover = sites.hold_mover()
    deployed.server.process.kill()
    os.kill(mover, signal.SIGCONT)
    journal = machine.destination.ledger.journal
    back_s = time.monotonic() + OUTAGE_S
    eventually("end of the copy without a server", lambda: None if journal.open_runs() else True, timeout_s=150.0)
    eventually("end of the outage", lambda: time.monotonic() > back_s or None, timeout_s=OUTAGE_S + 1)
    version = machine.destination.look_up("offline", "latest")
    assert version is not None
    deployed.server.start()
    run, message = sites.ended(run_id)
    assert run.state is not None
    assert run.state.is_completed(), message
    assert version.version_id in message, "the version that was made meanwhile is the run's"
    assert machine.leftovers() == []


def test_a_request_whose_flow_is_killed_is_made_again(sites: Sites) -> None:
    machine, deployed = sites.machine, sites.deployed
    machine.make_volume("orphan", SIZE_BYTES, data=noise(4 * MIB))
    run_id = deployed.start(BACKUP, volume="orphan")
    sites.hold_mover()
    os.kill(sites.driver(Site.DESTINATION), signal.SIGKILL)
    run, message = sites.ended(run_id)
    assert run.state is not None
    assert run.state.is_completed(), message
    copies = deployed.named("copy orphan to the store")
    assert sorted(copy["state_type"] for copy in copies) == ["COMPLETED", "CRASHED"]
    assert machine.leftovers() == []


@pytest.mark.parametrize("site", Site, ids=lambda site: site.value)
def test_a_run_that_is_shown_as_crashed_and_lives_is_shown_as_it_ends(sites: Sites, site: Site) -> None:
    """As when line 2 is cut for a while, or the server itself was held up."""
    machine, deployed = sites.machine, sites.deployed
    volume = f"alive-{site}"
    machine.make_volume(volume, SIZE_BYTES, data=noise(4 * MIB))
    run_id = deployed.start(BACKUP, volume=volume)
    mover = sites.hold_mover()
    (remote,) = deployed.named(f"copy {volume} to the store")
    marked = run_id if site is Site.SOURCE else UUID(remote["id"])
    with deployed.client() as api:
        api.set_flow_run_state(marked, Crashed(message=LOST))
    time.sleep(15)  # whoever waits for it has seen it
    os.kill(mover, signal.SIGCONT)
    run = deployed.until(run_id, lambda run: run.state is not None and run.state.is_completed())
    version = machine.destination.look_up(volume, "latest")
    assert version is not None
    assert version.version_id in str(run.state and run.state.message)
    assert [copy["state_type"] for copy in deployed.named(f"copy {volume} to the store")] == ["COMPLETED"]
    assert machine.leftovers() == []


def test_a_request_that_no_worker_takes_up_is_withdrawn(sites: Sites) -> None:
    request = BackupRequest(
        run_id="20260101-000000-000001", fencing_token=1, volume="v", source="s/v", url="nbd://x/", mode=BackupMode.PAIR
    )
    with pytest.raises(UnreachableError, match="worker") as raised:
        DeployedDestination("destination-site", start_timeout_s=0.0).back_up(request)
    assert "prefect worker start" in raised.value.next_step
    # Withdrawn at the moment a worker takes it up, that one may have begun: its source fences it. This one may not.
    request = request.model_copy(update={"run_id": "20260101-000000-000003"})
    with pytest.raises(ConflictError) as differing:
        DeployedDestination("destination-site").back_up(request.model_copy(update={"nightwell_version": "9.9.0"}))
    assert str(differing.value) == (
        f"a request for 'v': expected both sites on one release of nightwell; the destination has {__version__}; "
        "found the source has 9.9.0. Likely cause: one site was upgraded and the other was not. Next step: "
        "install the same release at both sites, restart their workers and run 'nightwell-site set-up'."
    )
    assert sites.machine.destination.ledger.journal.find(request.run_id) is None, "refused before it was recorded"


def test_a_worker_that_is_stopped_takes_its_request_back_and_leaves_no_virtual_server(sites: Sites) -> None:
    machine, deployed = sites.machine, sites.deployed
    machine.make_volume("moved", SIZE_BYTES, data=noise(4 * MIB))
    run_id = deployed.start(BACKUP, volume="moved")
    sites.hold_mover()
    sites.workers["destination-site"].stop(timeout_s=60.0)
    (remote,) = deployed.named("copy moved to the store")
    assert remote["state_type"] == "CRASHED"
    assert list(machine.settings.servers_directory().glob("vs-*")) == []
    assert sites.owed() == []
    sites.start_worker("destination-site")
    run, message = sites.ended(run_id)
    assert run.state is not None
    assert run.state.is_failed(), message
    assert "a run that was cancelled" in message
    assert "Next step: start a new run" in message
    assert machine.leftovers() == []
    assert machine.destination.look_up("moved", "latest") is None


def test_a_request_whose_flow_and_worker_die_is_answered_by_the_recovery(sites: Sites) -> None:
    """Nobody tells Prefect of such an end: for the server the remote flow runs for ever."""
    machine, deployed = sites.machine, sites.deployed
    machine.make_volume("lost", SIZE_BYTES, data=noise(4 * MIB))
    run_id = deployed.start(BACKUP, volume="lost")
    sites.hold_mover()
    sites.workers["destination-site"].kill()
    os.kill(sites.driver(Site.DESTINATION), signal.SIGKILL)
    (remote,) = deployed.named("copy lost to the store")
    assert remote["state_type"] == "RUNNING"
    (said,) = recover_runs(Where.DESTINATION)
    assert "backup safe as version" in said
    run, message = sites.ended(run_id)
    assert run.state is not None
    assert run.state.is_completed(), message
    assert deployed.run(UUID(remote["id"])).state_name == "Crashed"
    keys = [str(one["key"]) for one in deployed.ask("artifacts/latest", {"limit": 200})]
    assert "backup-lost" in keys
    assert [key for key in keys if key.startswith(("answer", "recovered"))] == [], "the page lists what people read"
    assert machine.leftovers() == []
    record = f"{remote['id']}.json"
    assert record in sites.owed(), "nobody has looked after it yet"
    sites.start_worker("destination-site")
    eventually("worker that tidies up", lambda: record not in sites.owed() or None, timeout_s=120.0)


def test_a_source_worker_that_is_stopped_leaves_nothing(sites: Sites) -> None:
    machine, deployed = sites.machine, sites.deployed
    machine.make_volume("ended", SIZE_BYTES, data=noise(4 * MIB))
    deployed.start(BACKUP, volume="ended")
    sites.hold_mover()
    sites.workers["source-site"].stop(timeout_s=60.0)
    recover_runs(Where.BOTH)
    assert sites.put_back_too_early("ended") == []
    assert machine.leftovers() == []


def test_flows_that_were_killed_are_shown_as_crashed_within_90_s(
    sites: Sites, unheard: dict[UUID, datetime], record_testsuite_property: Callable[[str, object], None]
) -> None:
    assert unheard, "a test above has killed one"
    for run_id, killed_at in unheard.items():
        state = sites.deployed.until(run_id, is_lost).state
        assert state is not None
        seconds = (state.timestamp - killed_at).total_seconds()
        record_testsuite_property(f"seconds until {run_id} was shown as crashed", seconds)
        assert seconds < 90
