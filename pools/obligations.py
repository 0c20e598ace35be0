"""What a worker owes: a record of each flow process, written before it starts, and what is left when it has ended.

The run's journal says which virtual server was begun. This record says which flow process drove it, so that the next
worker on this host can tell a request that goes on without its worker from one whose process died with it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nightwell.servers.procfs import ProcessIdentity, identify, is_running
from nightwell.settings import Settings
from nightwell.sites.build import open_ledger, open_servers
from nightwell.sites.destination import server_id
from nightwell.whole_file import written_whole

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


@dataclass(frozen=True, slots=True)
class Obligation:
    """One flow process and who answers for it."""

    flow_run_id: str
    run_id: str  # of the request; empty when the flow produces no virtual server
    worker: ProcessIdentity
    process: ProcessIdentity | None = None


class Obligations:
    """The records of this host.

    Parameters
    ----------
    directory
        Where they are kept; made when missing.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory

    @classmethod
    def of(cls, settings: Settings) -> Obligations:
        """Return the records of the destination site that the settings name."""
        return cls(settings.state_directory.absolute() / "flow-processes")

    def begin(self, flow_run_id: str, run_id: str) -> Obligation:
        """Record that a flow process is about to be started."""
        worker = identify(os.getpid())
        assert worker is not None, "this process runs"
        obligation = Obligation(flow_run_id, run_id, worker)
        self._write(obligation)
        return obligation

    def started(self, obligation: Obligation, process: ProcessIdentity) -> Obligation:
        """Record which process it is."""
        known = replace(obligation, process=process)
        self._write(known)
        return known

    def met(self, obligation: Obligation) -> None:
        """Forget an obligation: nothing of it is left."""
        self._file(obligation.flow_run_id).unlink(missing_ok=True)

    def orphaned(self) -> list[Obligation]:
        """Return the obligations whose worker and whose process are both gone."""
        found = [self._read(file) for file in sorted(self.directory.glob("*.json"))]
        return [
            one
            for one in found
            if one is not None and not is_running(one.worker) and (one.process is None or not is_running(one.process))
        ]

    def _file(self, flow_run_id: str) -> Path:
        return self.directory / f"{flow_run_id}.json"

    def _write(self, obligation: Obligation) -> None:
        with written_whole(self._file(obligation.flow_run_id)) as draft:
            draft.write_text(json.dumps(asdict(obligation)))

    def _read(self, file: Path) -> Obligation | None:
        try:
            fields = json.loads(file.read_text())
        except FileNotFoundError:  # met meanwhile by another worker
            return None
        process = fields["process"]
        return Obligation(
            fields["flow_run_id"],
            fields["run_id"],
            ProcessIdentity(**fields["worker"]),
            None if process is None else ProcessIdentity(**process),
        )


def requested_run(parameters: Mapping[str, object]) -> str:
    """Return the run that a flow run's request names; empty when it asks for no virtual server."""
    request = parameters.get("request")
    if not isinstance(request, Mapping) or "url" not in request:  # a fence names a run too, and produces nothing
        return ""
    run_id = str(request.get("run_id", ""))
    return run_id if _RUN_ID.fullmatch(run_id) else ""


def delete_leftover(settings: Settings, run_id: str) -> bool:
    """Delete the virtual server of a request whose flow process has ended without deleting it.

    The lease decides: a driver that took the run over meanwhile has produced a server of the same name, and keeps it.
    The run itself stays open; the source's next request, or a recovery, goes on with it.

    Returns
    -------
    bool
        Whether there was one.
    """
    ledger = open_ledger(settings, "destination")
    try:
        summary = next((run for run in ledger.journal.open_runs() if run.run_id == run_id), None)
        if summary is None or ledger.take_over(summary) is None:
            return False
        servers = open_servers(settings)
        there = any(server.server_id == server_id(run_id) for server in servers.servers())
        servers.delete(server_id(run_id))
        return there
    finally:
        ledger.close()
