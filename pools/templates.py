"""The base job templates of our pools: those of their worker types, with what our flows need in every process."""

from __future__ import annotations

from copy import deepcopy
from enum import StrEnum
from typing import Any

from prefect.workers.base import BaseWorker

from tasks.signs import HEARTBEAT_S

#: A flow run that sends no heartbeat for ``LOST_AFTER_S`` is marked as crashed: within 90 s of a kill -9.
LOST_AFTER_S = 75

SOURCE_POOL, DESTINATION_POOL = "source-site", "destination-site"


class PoolKind(StrEnum):
    """The worker types that ship with nightwell or with Prefect."""

    PROCESS = "process"
    VIRTUAL_SERVER = "virtual-server"


#: What each of the two pools is for, and of which type its workers are.
POOLS = {
    SOURCE_POOL: (PoolKind.PROCESS, "The source site: asks the array, sends requests over line 2."),
    DESTINATION_POOL: (
        PoolKind.VIRTUAL_SERVER,
        "The destination site: a fresh virtual server for every request, deleted after it.",
    ),
}


def base_job_template(kind: PoolKind) -> dict[str, Any]:
    """Return the template of a pool of this kind, as Prefect's API takes it."""
    worker = BaseWorker.get_worker_class_from_type(kind.value)
    assert worker is not None, f"worker type {kind.value} comes with what is installed"
    template = deepcopy(worker.get_default_base_job_template())
    return with_environment(template, {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)})


def with_environment(template: dict[str, Any], variables: dict[str, str]) -> dict[str, Any]:
    """Return a template whose flow runs have these environment variables, unless a deployment says otherwise."""
    template["variables"]["properties"]["env"]["default"] = variables
    return template
