"""How long a request over line 2 takes until the other site's flow begins: our worker type beside Prefect's defaults.

Real parts: a Prefect server, a worker for each pool, an array and an S3 server (moto, SIMULATED). Each request is what
every backup begins with, a look-up of the volume's newest version at the destination site.

    python benchmarks/line2.py [--requests 5] [--pause-s 2] [--postgres] [--only ours]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from postgres import postgres

from flows.local_server import LocalPrefectServer
from nightwell.local.parts import start_array, start_object_store
from nightwell.local.process import LocalProcess, python
from nightwell.settings import FILE_VARIABLE

FLOW, ENTRY_POINT = "look-up-version", "flows.remote.look_up_version"
#: Pool, worker type, and the settings of its worker.
CANDIDATES = {
    "ours": ("virtual-server", {"PREFECT_WORKER_QUERY_SECONDS": "0.5"}),
    "defaults": ("process", {}),
}


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds from just before a request is made."""

    begun_s: float
    answered_s: float


@contextmanager
def site(folder: Path, *, on_postgres: bool) -> Iterator[LocalPrefectServer]:
    """Run a Prefect server and the parts of a destination site; this process becomes their client."""
    with ExitStack() as stack:
        url = stack.enter_context(postgres()).url("asyncpg", "prefect") if on_postgres else None
        server = LocalPrefectServer(folder, database_url=url)
        stack.callback(server.stop)
        os.environ.update(server.environment)
        array, chosen = start_array("destination", folder / "arrays" / "destination")
        stack.callback(array.stop)
        s3, store = start_object_store(folder)
        stack.callback(s3.stop)
        document = {
            "state_directory": str(folder / "state"),
            "destination": {"array": {"name": chosen.name, "control": str(chosen.control)}},
            "store": {
                "endpoint_url": store.endpoint_url,
                "bucket": store.bucket,
                "access_key": store.access_key,
                "secret_key": store.secret_key.get_secret_value(),
            },
        }
        settings = folder / "nightwell.toml"
        settings.write_text(tomli_w.dumps(document))
        os.environ[FILE_VARIABLE] = str(settings)
        yield server


@contextmanager
def worker(folder: Path, pool: str) -> Iterator[None]:
    """Make a pool with a deployment and run its worker."""
    from prefect.client.orchestration import get_client  # after the environment names the server

    from flows.remote import look_up_version
    from pools.bootstrap import ensure_pool
    from pools.templates import PoolKind

    kind, settings = CANDIDATES[pool]
    with get_client(sync_client=True) as api:
        ensure_pool(api, pool, PoolKind(kind))
        flow_id = api.create_flow_from_name(look_up_version.name)
        api.create_deployment(flow_id=flow_id, name=pool, entrypoint=ENTRY_POINT, work_pool_name=pool, pull_steps=[])
    command = python("-m", "prefect", "worker", "start", "--type", kind, "--pool", pool)
    with LocalProcess(command, log=folder / f"worker-{pool}.log", environment=settings, name=f"worker of {pool}"):
        with get_client(sync_client=True) as api:
            until_s = time.monotonic() + 120
            while not api.read_workers_for_work_pool(pool):
                assert time.monotonic() < until_s, f"no worker of {pool}"
                time.sleep(0.2)
        yield


def measure(pool: str) -> Times:
    """Make one request."""
    from prefect.client.orchestration import get_client

    from tasks.deployed import DeployedDestination

    volume = f"volume-{time.monotonic_ns()}"
    asked_at, asked_s = time.time(), time.monotonic()
    assert DeployedDestination(pool).look_up(volume, "latest") is None
    answered_s = time.monotonic() - asked_s
    with get_client(sync_client=True) as api:
        (run,) = [run for run in api.read_flow_runs(limit=20) if run.parameters.get("volume") == volume]
    assert run.start_time is not None
    return Times(run.start_time.timestamp() - asked_at, answered_s)


def compare(pools: list[str], requests: int, pause_s: float, *, on_postgres: bool) -> dict[str, list[Times]]:
    """Measure each; the first request, for which nothing is warm, is left out."""
    found: dict[str, list[Times]] = {}
    with tempfile.TemporaryDirectory(prefix="nightwell-line2-") as name:
        folder = Path(name)
        with site(folder, on_postgres=on_postgres):
            for pool in pools:
                with worker(folder, pool):
                    measure(pool)
                    found[pool] = []
                    for _ in range(requests):
                        time.sleep(pause_s)
                        found[pool].append(measure(pool))
                        print(f"{pool}: {found[pool][-1]}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5)
    parser.add_argument("--pause-s", type=float, default=2.0, help="between an answer and the next request")
    parser.add_argument("--postgres", action="store_true", help="the Prefect server on PostgreSQL, not on SQLite")
    parser.add_argument("--only", choices=CANDIDATES, nargs="*", help="measure only these")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    found = compare(given.only or list(CANDIDATES), given.requests, given.pause_s, on_postgres=given.postgres)
    print(f"{given.requests} requests each, load of this machine {load:.1f} before and {os.getloadavg()[0]:.1f} after")
    print(f"{'worker':<12}{'flow begins: median':>20}{'least':>8}{'most':>8}{'answer: median':>17}")
    for pool, times in found.items():
        begun = [one.begun_s for one in times]
        answered = statistics.median(one.answered_s for one in times)
        print(f"{pool:<12}{statistics.median(begun):>18.2f} s{min(begun):>8.2f}{max(begun):>8.2f}{answered:>15.2f} s")


if __name__ == "__main__":
    main()
