"""A Prefect server with everything deployed, as an operator does it, and its API as a test asks it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType, TaskRun

from flows.local_server import LocalPrefectServer
from nightwell.local.process import LocalProcess, python
from tasks.signs import has_ended

ROOT = Path(__file__).parents[1]
POOLS = {"source-site": "process", "destination-site": "virtual-server"}
T = TypeVar("T")


def eventually(what: str, find: Callable[[], T | None], *, timeout_s: float = 150.0, pause_s: float = 0.2) -> T:
    """Return what is found as soon as it is there; a server with SQLite can hold still for a minute."""
    deadline_s = time.monotonic() + timeout_s
    while (found := find()) is None:
        assert time.monotonic() < deadline_s, f"no {what} after {timeout_s:.0f} s"
        time.sleep(pause_s)
    return found


@dataclass(frozen=True, slots=True)
class Deployed:
    """A server whose pools and deployments stand."""

    server: LocalPrefectServer

    def client(self) -> SyncPrefectClient:
        return get_client(sync_client=True)

    def ask(self, path: str, document: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Return what a filter of the API finds."""
        with self.client() as api:
            answer = api._client.post(f"/{path}/filter", json=dict(document or {}))
        found: list[dict[str, Any]] = answer.json()
        return found

    def start(self, deployment: str, **parameters: object) -> UUID:
        """Ask for a run of a deployment, as the button in the UI does."""
        with self.client() as api:
            target = api.read_deployment_by_name(deployment)
            # With a key: the client repeats what a server with SQLite refuses, though it may have been done.
            key = uuid4().hex
            return api.create_flow_run_from_deployment(target.id, parameters=parameters, idempotency_key=key).id

    def run(self, run_id: UUID) -> FlowRun:
        with self.client() as api:
            return api.read_flow_run(run_id)

    def ended(self, run_id: UUID, *, timeout_s: float = 150.0) -> FlowRun:
        """Wait until a run has ended, which a lost one may not have."""
        return self.until(run_id, has_ended, timeout_s=timeout_s)

    def until(self, run_id: UUID, holds: Callable[[FlowRun], bool], *, timeout_s: float = 150.0) -> FlowRun:
        """Wait until something holds of a run."""

        def look() -> FlowRun | None:
            run = self.run(run_id)
            return run if holds(run) else None

        return eventually(f"such state of flow run {run_id}", look, timeout_s=timeout_s)

    def tasks(self, run_id: UUID) -> list[TaskRun]:
        """Return the task runs of a flow run in the order of their begin."""
        with self.client() as api:
            runs = api.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])))
        return sorted(runs, key=lambda task: str(task.start_time))

    def named(self, flow_run_name: str) -> list[dict[str, Any]]:
        """Return the flow runs of a name, with any site behind it, newest first."""
        chosen = {"flow_runs": {"name": {"like_": flow_run_name}}, "sort": "EXPECTED_START_TIME_DESC"}
        return self.ask("flow_runs", chosen)

    def set_state(self, run_id: UUID, kind: StateType, name: str) -> None:
        """Set a run's state as the UI does, with the server's rules."""
        with self.client() as api:
            answer = api._client.post(
                f"/flow_runs/{run_id}/set_state", json={"state": {"type": kind.value, "name": name}, "force": False}
            )
        assert answer.json()["status"] == "ACCEPT", answer.text

    def command(self, *words: str) -> str:
        """Give a command of Prefect's, as a person does; return what it says."""
        done = subprocess.run(
            python("-m", "prefect", *words),
            env={**os.environ, **self.server.environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def without_schedules(self) -> Iterator[None]:
        """Hold the schedules, whose runs a worker that comes late would take up first, and drop the runs they made."""
        held = [found["id"] for found in self.ask("deployments") if found["schedules"] and not found["paused"]]
        self._each(held, "pause_deployment")
        try:
            yield
        finally:
            self._each(held, "resume_deployment")

    def _each(self, deployments: list[str], action: str) -> None:
        with self.client() as api:
            for deployment in deployments:
                api._client.post(f"/deployments/{deployment}/{action}").raise_for_status()

    @contextmanager
    def workers(self, folder: Path, environment: Mapping[str, str]) -> Iterator[dict[str, LocalProcess]]:
        """Run a worker for each pool, as an operator does at each site."""
        with ExitStack() as stack:
            started = {pool: stack.enter_context(self.worker(folder, environment, pool)) for pool in POOLS}
            for pool in POOLS:
                eventually(f"worker of {pool}", partial(self._workers_of, pool), timeout_s=150.0)
            yield started

    def _workers_of(self, pool: str) -> list[dict[str, Any]] | None:
        return self.ask(f"work_pools/{pool}/workers") or None

    def worker(self, folder: Path, environment: Mapping[str, str], pool: str) -> LocalProcess:
        """Start one worker."""
        quick = {**self.server.environment, "PREFECT_WORKER_QUERY_SECONDS": "1", **environment}
        return LocalProcess(
            python("-m", "prefect", "worker", "start", "--type", POOLS[pool], "--pool", pool),
            log=folder / f"worker-{pool}.log",
            environment=quick,
            name=f"worker of {pool}",
        )


def deploy(server: LocalPrefectServer) -> Deployed:
    """Make the pools and deploy everything with the command of the documentation."""
    done = subprocess.run(
        python("-m", "pools.bootstrap", "set-up", "--project", str(ROOT)),
        cwd=ROOT,
        env={**os.environ, **server.environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Deployed(server)
