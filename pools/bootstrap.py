"""``nightwell-site``: make at a Prefect server all that nightwell needs there. Repeating it changes nothing.

Pools, limits, the automation for lost flow runs and the blocks cannot stand in ``prefect.yaml``; this makes them, and
then deploys that file. What an operator has changed meanwhile (a pool's variables, a limit's slots) stays.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr

from nightwell.errors import ConflictError, NightwellError, NotFoundError, SettingsError, UnreachableError
from nightwell.settings import Settings, load_settings
from pools.automations import ensure_automation, lost_runs
from pools.choices import offer_volumes
from pools.outside import OutsideKind, outside_template
from pools.templates import POOLS, PoolKind, base_job_template
from tasks.blocks import DestinationSite, ObjectStore
from tasks.limits import array_limit, ensure_limit, volume_limit
from tasks.preflight import UNAUTHORIZED, unauthorized

Said = Callable[[str], None]
#: Where Prefect's server keeps the leases of limits unless it is told otherwise.
IN_MEMORY = "prefect.server.concurrency.lease_storage.memory"
_SHOWS_NOBODY = {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
_LOOK_AGAIN_S = 0.5
_DONE = {True: "made", False: "stands"}


def set_up(settings: Settings, *, project: Path | None, say: Said, wait_s: float = 0.0) -> None:
    """Make all of it, in an order in which each part finds what it needs.

    Parameters
    ----------
    settings
        The source site's: name of the array, store, deployments of the destination.
    project
        Folder with ``prefect.yaml``; ``None`` to deploy nothing.
    say
        Takes one line for each thing.
    wait_s
        How long to wait for a server that has just been started.

    Raises
    ------
    NightwellError
        What is missing or in the way.
    """
    _server_url()
    volumes = scheduled_volumes(project) if project is not None else ()
    with get_client(sync_client=True) as api:
        _reach(api, wait_s)
        for name, (kind, description) in POOLS.items():
            say(f"pool {name} ({kind}): {ensure_pool(api, name, kind, description)}")
        array = array_limit(settings.array("source").name)
        say(f"limit {array}: {_DONE[ensure_limit(api, array, settings.flows.array_runs)]}")
        for volume in volumes:
            say(f"limit {volume_limit(volume)}: {_DONE[ensure_limit(api, volume_limit(volume), 1)]}")
        say(f"leases of limits: {said_of_leases(lease_storage_of(api))}")
        say(f"automation for lost flow runs: {ensure_automation(api, lost_runs())}")
    for line in ensure_blocks(settings):
        say(line)
    if project is not None:
        deploy(project)
        say(f"deployments of {project / 'prefect.yaml'}: deployed")
        with get_client(sync_client=True) as api:
            say(f"volumes that forms offer: {offer_volumes(api, settings, volumes)}")


def ensure_pool(api: SyncPrefectClient, name: str, kind: PoolKind, description: str = "") -> str:
    """Make a pool, or leave the one that stands as it is; return what was done.

    Raises
    ------
    ConflictError
        A pool of that name has another type.
    """
    try:
        standing = api.read_work_pool(name)
    except ObjectNotFound:
        template = base_job_template(kind)
        api.create_work_pool(
            WorkPoolCreate(name=name, type=kind.value, description=description, base_job_template=template)
        )
        return "made"
    if standing.type != kind.value:
        raise ConflictError(
            f"work pool '{name}'",
            expected=f"type '{kind}'",
            found=f"type '{standing.type}'",
            cause="it was made by hand, or by an older release",
            next_step=f"stop its workers, run 'prefect work-pool delete {name}', then this again",
        )
    return "stands"


def lease_storage_of(api: SyncPrefectClient) -> str | None:
    """Return where a server keeps the leases of limits, or ``None`` when it shows nobody its settings."""
    try:
        settings = api.request("GET", "/admin/settings").json()
    except PrefectHTTPStatusError as error:
        if error.response.status_code in _SHOWS_NOBODY:
            return None
        raise
    return str(settings["server"]["concurrency"]["lease_storage"])


def said_of_leases(lease_storage: str | None) -> str:
    """Return what becomes of the slots that runs hold when the server is started again."""
    if lease_storage is None:
        return "this server does not say where it keeps them"
    if lease_storage != IN_MEMORY:
        return "outlive a restart of the server"
    return (
        "LOST when the server is started again, with their slots: a volume backed up at that moment never is again. "
        "Start the server with PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=" + IN_MEMORY.replace("memory", "filesystem")
    )


def ensure_blocks(settings: Settings) -> Iterator[str]:
    """Register our block types, and save the blocks that the settings name; secrets are said to nobody."""
    for kind in (ObjectStore, DestinationSite):
        kind.register_type_and_schema()
        yield f"block type {kind.get_block_type_slug()}: registered"
    if settings.flows.store_block:
        store = settings.store
        wanted = ObjectStore(
            endpoint_url=store.endpoint_url,
            bucket=store.bucket,
            prefix=store.prefix,
            region=store.region,
            access_key=SecretStr(store.access_key),
            secret_key=store.secret_key,
        )
        name = settings.flows.store_block
        yield f"block {name}: {_save(wanted, name, filled=bool(store.endpoint_url))}"
    if settings.flows.destination_block:
        site = DestinationSite(
            deployment=settings.flows.remote_deployment or "destination-site",
            start_timeout_s=settings.flows.start_timeout_s,
        )
        name = settings.flows.destination_block
        yield f"block {name}: {_save(site, name, filled=True)}"


def _save(wanted: ObjectStore | DestinationSite, name: str, *, filled: bool) -> str:
    """Save a block where it differs; one whose section is empty here was filled elsewhere, and stays."""
    try:
        standing: object = type(wanted).load(name)
    except ValueError:
        standing = None
    assert isinstance(standing, ObjectStore | DestinationSite | None), "the synchronous call returns the block"
    if standing is not None and (not filled or _values(standing) == _values(wanted)):
        return "stands"
    if not filled:
        return "not made: section [store] of the settings is empty"
    wanted.save(name, overwrite=True)
    return "made" if standing is None else "brought up to date"


def _values(block: ObjectStore | DestinationSite) -> dict[str, object]:
    return {name: getattr(block, name) for name in type(block).model_fields}


def scheduled_volumes(project: Path) -> tuple[str, ...]:
    """Return the volumes that the schedules of ``prefect.yaml`` name."""
    file = project / "prefect.yaml"
    if not file.is_file():
        raise NotFoundError(
            f"'{file}'",
            expected="the file that says what is deployed",
            found="no such file",
            cause="this is not the folder of the project",
            next_step="run this in a clone of nightwell, or give --no-deploy to deploy nothing",
        )
    deployments = yaml.safe_load(file.read_text())["deployments"]
    found = {
        str(schedule["parameters"]["volume"])
        for deployment in deployments
        for schedule in deployment.get("schedules", ())
        if "volume" in schedule.get("parameters", {})
    }
    return tuple(sorted(found))


def deploy(project: Path) -> None:
    """Deploy ``prefect.yaml`` with Prefect's own command."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NightwellError(
            f"'prefect deploy --all' in '{project}'",
            expected="every deployment to be made",
            found=f"exit status {done.returncode}: {(done.stdout + done.stderr).strip()[-600:]}",
            cause="prefect.yaml names a pool or a flow that is not there",
            next_step="correct what it says; running this again is safe",
        )


def _server_url() -> str:
    url = PREFECT_API_URL.value()
    if not url:
        raise SettingsError(
            "PREFECT_API_URL",
            expected="the address of the Prefect server that both sites use, such as http://prefect.lan:4200/api",
            found="nothing",
            cause="this shell, or its Prefect profile, names no server",
            next_step="run 'prefect config set PREFECT_API_URL=...', then this again",
        )
    return str(url)


def _reach(api: SyncPrefectClient, wait_s: float) -> None:
    until_s = time.monotonic() + wait_s
    while (error := _health(api)) is not None and time.monotonic() < until_s:
        time.sleep(_LOOK_AGAIN_S)
    if error is not None:
        raise UnreachableError(
            f"Prefect server at {_server_url()}",
            expected="an answer",
            found=f"{type(error).__name__}: {error}",
            cause="it does not run, or this host does not reach it",
            next_step="start it, or correct PREFECT_API_URL",
        )


def _health(api: SyncPrefectClient) -> Exception | None:
    try:
        return api.api_healthcheck()
    except httpx.HTTPError as error:
        return error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="nightwell-site", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    chosen = commands.add_parser("set-up", help="make pools, limits, automation, blocks; deploy prefect.yaml")
    chosen.add_argument("--project", type=Path, default=Path(), help="folder with prefect.yaml (default: this one)")
    chosen.add_argument("--no-deploy", action="store_true", help="deploy nothing")
    chosen.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="for a server that is just starting")
    shown = commands.add_parser("template", help="print the base job template of a pool of containers")
    shown.add_argument("kind", type=OutsideKind, choices=list(OutsideKind), metavar="docker|kubernetes")
    given = parser.parse_args(arguments)
    if "kind" in given:
        print(json.dumps(outside_template(given.kind), indent=2))  # noqa: T201  what was asked for
        return 0
    try:
        project = None if given.no_deploy else given.project.resolve()
        set_up(
            load_settings(),
            project=project,
            say=lambda line: print(line, flush=True),  # noqa: T201
            wait_s=given.wait,
        )
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in UNAUTHORIZED:
            raise
        print(f"error: {unauthorized('what nightwell-site sets up')}", file=sys.stderr)  # noqa: T201  as below
        return 1
    except NightwellError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  what a command says
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
