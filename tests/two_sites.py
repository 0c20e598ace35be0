"""A machine whose two sites only meet at a Prefect server and on line 1: each has a worker of its own."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from uuid import UUID

import pytest
import tomli_w
from deployed import Deployed, eventually
from machine import MIB, Machine, running_machine
from prefect.client.schemas.objects import FlowRun

from nightwell.local.process import LocalProcess
from nightwell.protocol import Run, Site, Step, UndoStarted
from nightwell.settings import FILE_VARIABLE
from nightwell.store.location import StoreLocation

SIZE_BYTES = 8 * MIB
_said = logging.getLogger(__name__)
BACKUP, RESTORE = "backup-volume/source-site", "restore-volume/source-site"


def hold_mover(machine: Machine) -> int:
    """Wait for a virtual server and hold its mover still, in the middle of its work; return the mover."""

    def look() -> int | None:
        for record in machine.settings.servers_directory().glob("vs-*/record.json"):
            process = json.loads(record.read_text())["process"]
            if process is not None:
                os.kill(process["pid"], signal.SIGSTOP)
                return int(process["pid"])
        return None

    return eventually("virtual server", look, timeout_s=150.0, pause_s=0.005)


@dataclass(frozen=True, slots=True)
class Sites:
    """Both sites, their workers, and what a test looks at."""

    machine: Machine
    deployed: Deployed
    workers: dict[str, LocalProcess] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def host_is_there(self) -> Path:
        """The file without which the host cannot be quiesced."""
        return self.machine.folder / "host-is-there"

    def ended(self, run_id: UUID, *, timeout_s: float = 150.0) -> tuple[FlowRun, str]:
        """Wait until a flow run has ended; return it and what it says."""
        try:
            run = self.deployed.ended(run_id, timeout_s=timeout_s)
        except AssertionError:
            _said.warning("log of flow run %s:\n%s", run_id, self.log_of(str(run_id)))
            for pool, worker in self.workers.items():
                _said.warning("log of the worker of %s:\n%s", pool, worker.log.read_text(errors="replace")[-20_000:])
            raise
        return run, str(run.state.message if run.state else None)

    def hold_mover(self) -> int:
        """Hold the mover still, as :func:`hold_mover`."""
        return hold_mover(self.machine)

    def log_of(self, flow_run_id: str) -> str:
        """Return what a flow run has logged."""
        chosen = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}}
        return "\n".join(str(line["message"]) for line in self.deployed.ask("logs", chosen))

    def owed(self) -> list[str]:
        """Return what the destination's worker has on record."""
        return [file.name for file in (self.machine.settings.state_directory / "flow-processes").glob("*.json")]

    def start_worker(self, pool: str) -> None:
        """Start a worker that was stopped or killed again."""
        self.workers[pool] = self.deployed.worker(self.machine.folder, self.environment, pool)

    def driver(self, site: Site) -> int:
        """Return the process that drives the open run at a site."""
        ledger = (self.machine.source if site is Site.SOURCE else self.machine.destination).ledger
        (run,) = ledger.journal.open_runs()
        return int(str(run.lease_owner).rsplit(":", 3)[1])

    def run_of(self, volume: str) -> Run:
        """Return the newest run of a volume at the source."""
        journal = self.machine.source.ledger.journal
        return journal.load(next(run.run_id for run in journal.runs() if run.volume == volume))

    def put_back_too_early(self, volume: str) -> list[str]:
        """Name what the source put back before the run had ended at the destination; empty when it was fenced."""
        run_id = self.run_of(volume).run_id
        journals = (self.machine.source.ledger.journal, self.machine.destination.ledger.journal)
        here, there = (journal.events(run_id) for journal in journals)
        ended_at = there[-1].at
        puts_back = {Step.RESYNC, Step.DELETE_PAIR, Step.SPLIT, Step.CREATE_PAIR}
        return [
            f"{one.event} at {one.at}, the destination ended at {ended_at}"
            for one in here
            if isinstance(one.event, UndoStarted) and one.event.step in puts_back and one.at < ended_at
        ]


@contextmanager
def running_sites(
    folder: Path,
    deployed: Deployed,
    store: StoreLocation,
    *,
    schedules: bool = False,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Sites]:
    """Run both sites.

    Parameters
    ----------
    schedules
        Whether the deployments' own schedules run, as they do for an operator.
    environment
        What the workers find in theirs besides the settings.
    """
    with ExitStack() as stack:
        machine = stack.enter_context(running_machine(folder, store))
        sites = Sites(machine, deployed, environment={**environment, FILE_VARIABLE: str(machine.settings_file)})
        text = tomli_w.dumps({"flows": {"remote_deployment": "destination-site"}})
        quiesce = f'quiesce = ["test", "-f", "{sites.host_is_there}"]\n'
        settings = machine.settings_file.read_text().replace("[source]\n", f"[source]\n{quiesce}")
        machine.settings_file.write_text(settings + text)
        assert machine.settings.source.quiesce
        sites.host_is_there.touch()
        if not schedules:
            stack.enter_context(deployed.without_schedules())
        sites.workers.update(stack.enter_context(deployed.workers(folder, sites.environment)))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv(FILE_VARIABLE, str(machine.settings_file))
        try:
            yield sites
        finally:
            for worker in sites.workers.values():
                worker.stop()
