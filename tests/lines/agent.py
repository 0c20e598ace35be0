"""A program in one host that does what a test asks of it: one JSON document a line in, one out.

What it needs is imported when it is asked for, so that a host which only opens sockets starts at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


def probe(targets: list[tuple[str, int] | str], timeout_s: float) -> list[str]:
    """Try to connect to addresses and to Unix sockets, all at once; say ``connected``, or why not."""

    def attempt(target: tuple[str, int] | str) -> str:
        family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET
        with socket.socket(family) as sock:
            sock.settimeout(timeout_s)
            try:
                sock.connect(target if isinstance(target, str) else tuple(target))
            except OSError as error:
                return str(error)
        return "connected"

    with ThreadPoolExecutor(max(len(targets), 1)) as pool:
        return list(pool.map(attempt, targets))


def probe_in_virtual_server(
    targets: list[tuple[str, int] | str], reachable: list[tuple[str, int]], timeout_s: float
) -> list[str]:
    """Produce a virtual server as a request does, and probe from within it."""
    from nightwell.servers.port import Address, ServerSpec
    from nightwell.settings import load_settings
    from nightwell.sites.build import open_servers

    servers = open_servers(load_settings())
    command = (sys.executable, "-c", Path(__file__).read_text())
    allowed = tuple(Address(*address) for address in reachable)
    handle = servers.produce(ServerSpec("vs-probe", "probe", command, reachable=allowed))
    try:
        asked = {"call": "probe", "arguments": {"targets": targets, "timeout_s": timeout_s}, "environment": {}}
        handle.stdin.write(json.dumps(asked).encode() + b"\n")
        handle.stdin.flush()
        found: list[str] = json.loads(handle.stdout.readline())["result"]
        return found
    finally:
        servers.delete("vs-probe")


def listening_ports() -> list[int]:
    """Return the TCP ports that anything in this host listens on, at whatever address."""
    listening, found = "0A", set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = row.split()
            if state == listening:
                found.add(int(local.rsplit(":", 1)[1], 16))
    return sorted(found)


def write(url: str, seed: int, size_bytes: int, offset_bytes: int = 0) -> None:
    """Write noise, as a host does."""
    from nightwell.nbd.client import NbdClient

    with NbdClient.connect(url) as host:
        host.write(offset_bytes, random.Random(seed).randbytes(size_bytes))
        host.flush()


def digest(url: str) -> str:
    """Return the digest of a volume's bytes, as a host reads them."""
    from nightwell.nbd.client import NbdClient

    with NbdClient.connect(url) as host:
        return hashlib.sha256(host.read(0, host.size_bytes)).hexdigest()


def digest_version(volume: str, version_id: str) -> str:
    """Return the digest of a version's bytes, straight from the store."""
    from nightwell.settings import load_settings
    from nightwell.sites.build import store_location
    from nightwell.store.store import BackupStore

    with BackupStore.open(store_location(load_settings())) as store:
        version = store.find_version(volume, version_id)
        with store.open_version(version) as reader:
            buffer = bytearray(version.size_bytes)
            reader.read_into(0, memoryview(buffer))
    return hashlib.sha256(buffer).hexdigest()


def make_bucket() -> None:
    """Make the store's bucket, and wait until it takes an object."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    from nightwell.settings import load_settings
    from nightwell.sites.build import store_location

    at = store_location(load_settings())
    client = boto3.client(
        "s3",
        endpoint_url=at.endpoint_url,
        aws_access_key_id=at.access_key,
        aws_secret_access_key=at.secret_key,
        region_name=at.region,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, connect_timeout=2),
    )

    def takes_objects() -> bool:
        try:
            client.create_bucket(Bucket=at.bucket)
            client.put_object(Bucket=at.bucket, Key="ready", Body=b"yes")
        except (BotoCoreError, ClientError):
            return False
        return True

    _eventually("object store", takes_objects)
    client.close()


def deploy_destination(pool: str) -> None:
    """Make the destination's pool and the automation, deploy what answers over line 2, as ``nightwell-site set-up``."""
    from prefect.client.orchestration import get_client
    from prefect.types.entrypoint import EntrypointType

    from flows import remote
    from pools.automations import ensure_automation, lost_runs
    from pools.bootstrap import ensure_pool
    from pools.templates import PoolKind

    _eventually("Prefect server", lambda: _reached(get_client))
    with get_client(sync_client=True) as api:
        ensure_pool(api, pool, PoolKind.VIRTUAL_SERVER)
        ensure_automation(api, lost_runs())
    for flow in (remote.carry_out_backup, remote.carry_out_restore, remote.fence_run, remote.look_up_version):
        deployment: Any = flow.to_deployment(pool, work_pool_name=pool, entrypoint_type=EntrypointType.MODULE_PATH)
        deployment.apply()


def wait_for_worker(pool: str) -> None:
    """Wait until a worker of the pool has said that it is there."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as api:
        _eventually("worker", lambda: bool(api.read_workers_for_work_pool(pool)))


def _reached(get_client: Callable[..., Any]) -> bool:
    with get_client(sync_client=True) as api:
        return api.api_healthcheck() is None


def _eventually(what: str, holds: Callable[[], bool], *, timeout_s: float = 120.0) -> None:
    until_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > until_s:
            raise TimeoutError(f"no {what} after {timeout_s:.0f} s")
        time.sleep(0.1)


def carry_requests(address: str) -> None:
    """Answer requests of the source site at this address, without a Prefect server."""
    from lines.carrier import carry

    carry(address)


def back_up(volume: str, destination: str | None) -> str:
    """Back a volume up: by the flow, or through the carrier at an address; return what came of it."""
    if destination is None:
        from flows.backup import backup_volume

        return _said(backup_volume(volume, return_state=True))
    with _source(destination) as site:
        return _verdict(site.back_up(volume))


def restore(volume: str, target: str, destination: str | None) -> str:
    """Restore the newest version to a volume, likewise."""
    if destination is None:
        from flows.restore import restore_volume

        return _said(restore_volume(volume, target, return_state=True))
    with _source(destination) as site:
        return _verdict(site.restore(volume, "latest", target))


def recover() -> list[str]:
    """Run the flow that recovers the source's runs; return its lines."""
    from flows.recover import Where, recover_runs

    return recover_runs(Where.SOURCE)


def states_of_request(run_id: str) -> list[list[str]]:
    """Return, for every flow run that was asked to carry a backup out, what it was shown as, in order."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as api:
        runs = [run for run in api.read_flow_runs() if run.parameters.get("request", {}).get("run_id") == run_id]
        answers = [api._client.get("/flow_run_states/", params={"flow_run_id": str(run.id)}) for run in runs]
        return [[state["name"] for state in answer.raise_for_status().json()] for answer in answers]


def _source(destination: str) -> Any:
    from lines.carrier import CarriedDestination

    from nightwell.settings import load_settings
    from nightwell.sites.build import source_site

    return source_site(load_settings(), CarriedDestination(destination))


def _verdict(run: Any) -> str:
    from nightwell.protocol import verdict

    return f"{run.phase}: {verdict(run)}"


def _said(state: Any) -> str:
    return f"{state.name}: {state.message}"


_ALL: tuple[Callable[..., Any], ...] = (
    probe,
    probe_in_virtual_server,
    listening_ports,
    write,
    digest,
    digest_version,
    make_bucket,
    deploy_destination,
    wait_for_worker,
    carry_requests,
    back_up,
    restore,
    recover,
    states_of_request,
)


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    known = {function.__name__: function for function in _ALL}
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            os.environ.update(asked["environment"])
            answer: dict[str, object] = {"result": known[asked["call"]](**asked["arguments"])}
        except Exception as error:  # noqa: BLE001  the test that asked is to read it
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
