"""A world behind a real Prefect server: its flows run in workers' processes, and the workers and the server can die."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from deployed import Deployed, deploy
from httpx import HTTPError
from kills.account import TARGET, Account, wrongs_after
from kills.cases import OUTLIVED, Case
from kills.place import PREFECT_PART, Place, worker_part
from kills.striking_flows import environment
from kills.world import Result, World
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from two_sites import BACKUP, RESTORE, Sites, running_sites

from flows.local_server import LocalPrefectServer
from flows.recover import Where, recover_runs
from nightwell.protocol import Phase, RunKind, Site
from nightwell.servers.procfs import ProcessIdentity, identify, is_running
from nightwell.settings import ArrayDriver
from nightwell.store.location import StoreLocation
from tasks.signs import has_ended

_CASE_S = 300.0
_AWAY_S = 2.0
_BETWEEN_RECOVERIES_S = 3.0
#: A flow whose worker died with it is shown as crashed within 90 s; a busy machine may take longer.
_SHOWN_S = 240.0
POOLS = {Site.SOURCE: "source-site", Site.DESTINATION: "destination-site"}


@dataclass
class PrefectWorld:
    """Both sites with a worker each."""

    sites: Sites
    world: World
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _watched: dict[str, ProcessIdentity] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return self.world.place

    @property
    def deployed(self) -> Deployed:
        return self.sites.deployed

    def try_case(self, case: Case) -> Result:
        """Trigger one run as a person does, let what the case names die, and bring it back as a supervisor does."""
        began_s = time.monotonic()
        self.world.change(case)
        machine = self.world.machine
        before = Account.of(machine)
        known = self._run_ids()
        self.place.begin_case(case)
        self._note_parts()
        asked = {"target": TARGET, "volume": case.volume} if case.kind is RunKind.RESTORE else {"volume": case.volume}
        flow_run_id = self.deployed.start(RESTORE if case.kind is RunKind.RESTORE else BACKUP, **asked)
        wrongs = []
        if not self._ends(flow_run_id):
            wrongs.append(f"flow run {flow_run_id} or its recovery has not ended after {_CASE_S:.0f} s")
        new = sorted(self._run_ids() - known)
        if len(new) != 1:
            wrongs.append(f"runs {new} of one flow run")
        for run_id in new:
            wrongs += wrongs_after(machine, case, run_id, before)
        run = machine.source.ledger.journal.find(new[0]) if new else None
        phase = None if run is None else run.phase
        if case.victim in OUTLIVED and phase is not Phase.DONE:
            wrongs.append("the run was not finished, and its flows lived")
        wrongs += [*self.place.wrongs(), *self._page_wrongs(flow_run_id, phase, lived=case.victim in OUTLIVED)]
        return Result(case, self.place.happened("struck"), phase, time.monotonic() - began_s, tuple(wrongs))

    def last_wrongs(self) -> list[str]:
        """Return what is wrong once everything has had its time: no flow run is shown as running, nothing is owed."""
        deadline_s = time.monotonic() + _SHOWN_S
        while found := [*self._shown_as_running(), *(f"obligation {name} of a worker" for name in self.sites.owed())]:
            if time.monotonic() > deadline_s:
                return found
            time.sleep(1.0)
        return []

    def _shown_as_running(self) -> list[str]:
        chosen = {
            "state": {"type": {"any_": ["RUNNING", "PENDING", "SCHEDULED", "CANCELLING"]}},
            "expected_start_time": {"after_": self.began_at.isoformat()},
        }
        runs = self.deployed.ask("flow_runs", {"flow_runs": chosen})
        return [f"flow run {run['name']} is shown as {run['state_name']}" for run in runs if not run["auto_scheduled"]]

    def _page_wrongs(self, flow_run_id: UUID, phase: Phase | None, *, lived: bool) -> Iterator[str]:
        """What the page says of a run whose flow lived is how the run ended."""
        state = self.deployed.run(flow_run_id).state
        if not lived and (state is None or not state.is_final() or state.is_crashed()):
            return  # its process died; that this is shown in the end is looked at last
        if state is None or state.is_completed() != (phase is Phase.DONE):
            yield f"the page shows {state!r}, the journal {phase}"

    # -- until all has ended -------------------------------------------------------------------------------------

    def _ends(self, flow_run_id: UUID) -> bool:
        deadline_s = time.monotonic() + _CASE_S
        while time.monotonic() < deadline_s:
            self._tend()
            with suppress(HTTPError, RuntimeError):  # as Prefect's client says that the server has just been killed
                if self._has_ended(flow_run_id) and not self._open_runs():
                    return True
                if self.place.happened("struck"):
                    time.sleep(_BETWEEN_RECOVERIES_S)
                    recover_runs(Where.BOTH)  # its schedule does it every minute
            time.sleep(0.2)
        return False

    def _has_ended(self, flow_run_id: UUID) -> bool:
        if has_ended(self.deployed.run(flow_run_id)):
            return True
        driver = identify(self.place.process(Site.SOURCE)) if self.place.happened("struck") else None
        return self.place.happened("struck") and (driver is None or not is_running(driver))

    def _open_runs(self) -> bool:
        machine = self.world.machine
        return any(site.ledger.journal.open_runs() for site in (machine.source, machine.destination))

    def _run_ids(self) -> set[str]:
        return {run.run_id for run in self.world.machine.source.ledger.journal.runs(10_000)}

    # -- bringing back -------------------------------------------------------------------------------------------

    def _note_parts(self) -> None:
        for site, pool in POOLS.items():
            self._note(worker_part(site), self.sites.workers[pool].pid)
        self._note(PREFECT_PART, self.deployed.server.process.pid)

    def _note(self, part: str, pid: int) -> None:
        identity = identify(pid)
        assert identity is not None, f"{part} runs"
        self._watched[part] = identity
        self.place.note_process(part, pid)

    def _tend(self) -> None:
        if not is_running(self._watched[PREFECT_PART]):
            time.sleep(_AWAY_S)
            self.deployed.server.process.kill()
            self.deployed.server.start()
            self._note(PREFECT_PART, self.deployed.server.process.pid)
        for site, pool in POOLS.items():
            if not is_running(self._watched[worker_part(site)]):
                self.sites.workers[pool].kill()  # its children too, and its end is heard
                self.sites.start_worker(pool)
                self._note(worker_part(site), self.sites.workers[pool].pid)


@contextmanager
def deployed_in(folder: Path) -> Iterator[Deployed]:
    """Run a Prefect server of our own, with everything deployed."""
    server = LocalPrefectServer(folder)
    try:
        with temporary_settings({PREFECT_API_URL: f"{server.url}/api", PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield deploy(server)
    finally:
        server.stop()


@contextmanager
def running_prefect_world(folder: Path, deployed: Deployed, store: StoreLocation) -> Iterator[PrefectWorld]:
    """Run a world behind a Prefect server."""
    with ExitStack() as stack:
        sites = stack.enter_context(running_sites(folder, deployed, store, environment=environment(folder)))
        world = World(sites.machine, (ArrayDriver.EMBEDDED, ArrayDriver.EMBEDDED))
        world.settle()
        yield PrefectWorld(sites, world)
