"""What is asked of the Prefect server before a request is made: the request would only wait for what is missing."""

from __future__ import annotations

from http import HTTPStatus

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import PREFECT_API_URL

from nightwell import __version__
from nightwell.errors import ConflictError, CredentialsError, NightwellError, UnreachableError

UNAUTHORIZED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


def refuse_without_worker(deployment: str, subject: str) -> None:
    """Raise when nobody would take a run of this deployment up.

    A worker counts as there until it has missed three heartbeats, some 90 s; one that died since then is met by the
    time that a request may wait.

    Raises
    ------
    UnreachableError
        The deployment's pool is paused, or no worker of it is there.
    ObjectNotFound
        There is no such deployment.
    """
    with get_client(sync_client=True) as api:
        found = api.read_deployment_by_name(deployment)
        pool_name = found.work_pool_name
        if pool_name is None:
            raise _no_worker(subject, found, "it belongs to no work pool", "deploy it again from prefect.yaml")
        if api.read_work_pool(pool_name).is_paused:
            raise _no_worker(
                subject, found, f"pool '{pool_name}' is paused", f"run 'prefect work-pool resume {pool_name}'"
            )
        workers = api.read_workers_for_work_pool(pool_name)
    if all(worker.status != WorkerStatus.ONLINE for worker in workers):
        seen = [worker.last_heartbeat_time for worker in workers if worker.last_heartbeat_time is not None]
        last = f"the last was seen at {max(seen):%F %T} UTC" if seen else "none was ever seen"
        raise _no_worker(
            subject,
            found,
            f"pool '{pool_name}' has no worker: {last}",
            f"run 'prefect worker start --pool {pool_name}' at the destination site, as a service",
        )


def refuse_other_release(asked_by: str, subject: str) -> None:
    """Raise when the site that asks runs another release of nightwell; patch releases go together.

    Raises
    ------
    ConflictError
        The two sites differ.
    """
    if _release(asked_by) != _release(__version__):
        raise other_release(subject, here=__version__, there=asked_by or "one that does not say its version")


def other_release(subject: str, *, here: str, there: str) -> NightwellError:
    """Return the error for two sites of different releases."""
    return ConflictError(
        subject,
        expected=f"both sites on one release of nightwell; the destination has {here}",
        found=f"the source has {there}",
        cause="one site was upgraded and the other was not",
        next_step="install the same release at both sites, restart their workers and run 'nightwell-site set-up'",
    )


def unauthorized(subject: str) -> NightwellError:
    """Return the error for a Prefect server that does not know who asks."""
    return CredentialsError(
        subject,
        expected=f"the Prefect server at {PREFECT_API_URL.value()} to take our credentials",
        found="a refusal",
        cause="PREFECT_API_AUTH_STRING or PREFECT_API_KEY is missing here, mistyped, or was changed at the server",
        next_step="set it as the server has it, by 'prefect config set' or in the worker's environment",
    )


def _release(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _no_worker(subject: str, deployment: DeploymentResponse, found: str, next_step: str) -> NightwellError:
    return UnreachableError(
        subject,
        expected=f"a worker that takes up a run of deployment '{deployment.name}'",
        found=found,
        cause="the destination's worker was not started, or its host is down",
        next_step=next_step,
    )
