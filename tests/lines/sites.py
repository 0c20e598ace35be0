"""Two sites on the road: every program of the product in the host where it belongs."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w
from lines.asked import AGENT, Agent, AgentProcess
from lines.network import IN_MEMORY, LINES, SITES, Host, Line, Network
from machine import Machine
from s3 import ACCESS_KEY, BUCKET, SEAWEED_PARTS, SECRET_KEY, seaweed_command

from flows.local_server import QUIET
from nightwell.local.process import LocalProcess, python
from nightwell.protocol import Run
from nightwell.settings import FILE_VARIABLE

#: How long the destination array waits for line 1: longer than an array takes to start on a busy machine.
STALL_S = 50.0
NBD_PORT, PREFECT_PORT = 10_809, 4_200
#: Each part of SeaweedFS needs a second port 10000 above its own. Drawn by lot although nobody else is in its host: it
#: names sockets in /tmp by them, which another one on this machine would take for its own.
_FIRST_STORE_PORT = 11_000 + secrets.randbelow(10_000)
STORE_PORTS = {name: _FIRST_STORE_PORT + number for number, name in enumerate(SEAWEED_PARTS)}
PREFECT_URL = f"http://{LINES[Line.TWO][Host.SOURCE_SERVER]}:{PREFECT_PORT}/api"
POOL = "destination-site"
_GREETING_S = 180.0


@dataclass
class Sites:
    """Both sites while they run; what runs in a host can be killed and started again.

    Parameters
    ----------
    network
        Hosts and lines.
    source, destination
        Agents in the two servers.
    carrier
        Address at which the destination answers without a Prefect server; ``None`` with one.
    machine
        Both sites as their operators see them from outside: control sockets and journals.
    running
        What runs, by name.
    """

    network: Network
    stack: ExitStack
    machine: Machine
    source: Agent
    destination: Agent
    carrier: str | None
    running: dict[str, LocalProcess] = field(default_factory=dict)
    said: str = ""

    def folder(self, host: Host) -> Path:
        return self.network.folder / SITES[host]

    def start_array(self, host: Host, *, stall_s: float = STALL_S) -> None:
        """Start an array; its clients find it where they left it."""
        at_source = host is Host.SOURCE_ARRAY
        name = SITES[host]
        line = Line.ONE if at_source else Line.DESTINATION_FABRIC
        words = [f"--name={name}", f"--directory={self.folder(host) / 'array'}"]
        # The source array has a hosts' side and a line's side; only the line's is written into its exports.
        words += [f"--host={'0.0.0.0' if at_source else LINES[line][host]}", f"--port={NBD_PORT}"]
        words += [f"--advertise={LINES[line][host]}", f"--stall={stall_s}"]
        said_before = len(self._log(name).read_bytes()) if self._log(name).exists() else 0
        process = self.start(name, host, python("-m", "nightwell", "array", "serve", *words))
        process.wait_ready(lambda: b'"ready": true' in self._log(name).read_bytes()[said_before:])

    def start_store(self) -> None:
        """Start the S3 server on what it kept."""
        folder = self.folder(Host.OBJECT_STORE)
        address = LINES[Line.STORE][Host.OBJECT_STORE]
        self.start("weed", Host.OBJECT_STORE, seaweed_command(folder, address, STORE_PORTS))

    def start_prefect(self) -> None:
        """Start the Prefect server, on line 2 at the source's end."""
        words = ("server", "start", "--host", "0.0.0.0", "--port", str(PREFECT_PORT))
        self.start("prefect", Host.SOURCE_SERVER, python("-m", "prefect", *words), QUIET)

    def start_worker(self) -> None:
        """Start the destination's worker."""
        words = ("worker", "start", "--type", "virtual-server", "--pool", POOL)
        self.start("worker", Host.DESTINATION_SERVER, python("-m", "prefect", *words))

    def start(
        self, name: str, host: Host, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> LocalProcess:
        process = LocalProcess(
            self.network.inside(host, command),
            log=self._log(name),
            environment={**site_environment(self.folder(host)), **(environment or {})},
            name=f"{name} in {host}",
        )
        self.stack.callback(process.kill)
        self.running[name] = process
        return process

    def host_url(self, volume: str) -> str:
        """Return where the source server reaches a volume of its own, over its own fabric."""
        return f"nbd://{LINES[Line.SOURCE_FABRIC][Host.SOURCE_ARRAY]}:{NBD_PORT}/{volume}"

    def make_volume(self, name: str, size_bytes: int) -> None:
        self.machine.source_array.create_volume(name, size_bytes)
        self.machine.source_array.export(name, writable=True)

    def fill(self, name: str, seed: int, size_bytes: int, offset_bytes: int = 0) -> str:
        """Have the host write noise; return the digest of the whole volume."""
        url = self.host_url(name)
        self.source.do("write", url=url, seed=seed, size_bytes=size_bytes, offset_bytes=offset_bytes)
        return str(self.source.do("digest", url=url))

    def begin_backup(self, volume: str) -> None:
        """Ask the source site for a backup; :meth:`ended` gives what came of it."""
        self.source.ask("back_up", volume=volume, destination=self.carrier)

    def back_up(self, volume: str) -> Run:
        self.begin_backup(volume)
        return self.ended()

    def restore(self, volume: str, target: str) -> Run:
        self.source.ask("restore", volume=volume, target=target, destination=self.carrier)
        return self.ended()

    def ended(self) -> Run:
        """Wait until what the source does has ended; return its newest run."""
        self.said = str(self.source.answer(timeout_s=240.0))
        return self.newest_run("source")

    def digest_version(self, volume: str, run: Run) -> str:
        return str(self.destination.do("digest_version", volume=volume, version_id=run.version_id))

    def agent_in(self, host: Host) -> AgentProcess:
        return agent_in(self.network, host)

    def newest_run(self, site: str) -> Run:
        """Return the run that began last at a site."""
        ledger = (self.machine.source if site == "source" else self.machine.destination).ledger
        (summary,) = ledger.journal.runs(1)
        return ledger.journal.load(summary.run_id)

    def _log(self, name: str) -> Path:
        return self.network.folder / f"{name}.log"


def site_environment(folder: Path) -> dict[str, str]:
    """Return what every program of a site finds in its environment."""
    return {
        **QUIET,
        "PREFECT_HOME": str(folder / IN_MEMORY / "prefect"),
        "PREFECT_API_URL": PREFECT_URL,
        FILE_VARIABLE: str(folder / "nightwell.toml"),
        # What Prefect takes for minutes has to be seconds here.
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "1",
        "PREFECT_API_REQUEST_TIMEOUT": "5",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
    }


def write_settings(folder: Path) -> Path:
    """Write the settings of each site, and those of an operator who sees both; return the latter."""
    source, destination = folder / "source", folder / "destination"
    source_array = {"name": "source", "control": str(source / "array" / "control.sock")}
    destination_array = {"name": "destination", "control": str(destination / "array" / "control.sock")}
    store = {
        "endpoint_url": f"http://{LINES[Line.STORE][Host.OBJECT_STORE]}:{STORE_PORTS['s3']}",
        "bucket": BUCKET,
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
    }
    journals = {
        site: f"sqlite:///{folder / site / 'state' / f'{site}-journal.sqlite'}" for site in ("source", "destination")
    }
    documents = {
        source: {
            "state_directory": str(source / "state"),
            "source": {"array": source_array, "poll_s": 0.05},
            "flows": {"remote_deployment": POOL},
            # The agent that asks lives on after its flow, so its lease has to lapse before a recovery may take over.
            "backup": {"lease_ttl_s": 15.0},
        },
        destination: {
            "state_directory": str(destination / "state"),
            "destination": {"array": destination_array},
            "store": store,
        },
        folder: {
            "state_directory": str(destination / "state"),
            "source": {"array": source_array, "journal": journals["source"]},
            "destination": {"array": destination_array, "journal": journals["destination"]},
            "store": store,
        },
    }
    for place, document in documents.items():
        (place / "state").mkdir(parents=True, exist_ok=True)
        (place / "nightwell.toml").write_text(tomli_w.dumps(document))
    return folder / "nightwell.toml"


def agent_in(network: Network, host: Host) -> AgentProcess:
    """Start an agent in a host."""
    here = {"PYTHONPATH": str(Path(__file__).parents[1])}
    environment = {**os.environ, **site_environment(network.folder / SITES[host]), **here}
    return AgentProcess(network.inside(host, AGENT), network.folder / f"agent-{host}.log", environment)


@contextmanager
def running_sites(network: Network, *, prefect: bool) -> Iterator[Sites]:
    """Start everything, all at once where one part does not need the other."""
    with ExitStack() as stack:
        settings = write_settings(network.folder)

        source = stack.enter_context(agent_in(network, Host.SOURCE_SERVER))
        destination = stack.enter_context(agent_in(network, Host.DESTINATION_SERVER))
        nobody: LocalProcess | None = None
        machine = Machine(network.folder, settings, nobody, nobody)  # type: ignore[arg-type]  # we start and end them
        stack.callback(machine.close)
        carrier = None if prefect else LINES[Line.TWO][Host.DESTINATION_SERVER]
        sites = Sites(network, stack, machine, source, destination, carrier)
        if prefect:
            sites.start_prefect()
            source.ask("deploy_destination", pool=POOL)
        sites.start_store()
        destination.ask("make_bucket")
        sites.start_array(Host.SOURCE_ARRAY)
        sites.start_array(Host.DESTINATION_ARRAY)
        destination.answer(timeout_s=_GREETING_S)
        if prefect:
            source.answer(timeout_s=_GREETING_S)
            sites.start_worker()
            source.do("wait_for_worker", pool=POOL)
        else:
            destination.do("carry_requests", address=carrier)
        yield sites
