"""Bring a version back to a third volume, over the same road."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.outcome import conclude
from flows.sites import source_of
from tasks.blocks import load_site_settings
from tasks.effects import as_tasks
from tasks.limits import holding
from tasks.names import at_its_site
from tasks.watch import on_event


@flow(name="restore-volume", flow_run_name=at_its_site("restore {volume} {version} to {target}"), persist_result=False)
def restore_volume(volume: str, target: str, version: str = "latest") -> State[Any]:
    """Write a version to a third volume, read it back and compare.

    Args:
        volume: The volume whose version is restored.
        target: The volume on the source array that is overwritten. It is in no pair, and no host is attached to it.
        version: "latest", a version's id, or the beginning of one.
    """
    settings = load_site_settings()
    array = settings.array("source").name
    with holding(array, target, array_runs=settings.flows.array_runs), source_of(settings) as site:
        return conclude(site, site.restore(volume, version, target, wrap=as_tasks, on_event=on_event))
