"""Analyse every well that needs it, on Dask, once a night."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from nightwell.reanalysis import SCANS_PATH
from nightwell.settings import MethodSettings
from nightwell.wells.fleet.well_task import Ending
from tasks.blocks import load_site_settings
from tasks.names import at_its_site
from tasks.wells import NightRequest, analyse_wells, publish_night


@flow(name="reanalyse-wells", flow_run_name=at_its_site("re-analyse wells"), persist_result=False)
def reanalyse_wells(
    scans: str | None = None,
    volumes: list[str] | None = None,
    path: str = SCANS_PATH,
    cluster: str | None = None,
    workers: int | None = None,
    library: str | None = None,
    method: MethodSettings | None = None,
) -> State[Any]:
    """Find the wells whose newest analysis is not that of today's scans and method, and analyse them in parallel.

    Args:
        scans: Place of raw scans of many wells, a folder or s3://bucket/prefix; by default the setting wells.scans.
        volumes: Volumes of the store that hold wells, by name or pattern; by default the setting wells.volumes.
        path: Folder of the raw scans on a volume's file system.
        cluster: Address of a Dask cluster, tcp://host:8786; by default the setting wells.cluster, or workers here.
        workers: Worker processes here, one well at a time each; by default the setting wells.workers.
        library: Folder with a species library of your own; by default the setting wells.library.
        method: Numbers that stand above the settings wells.method, such as recycled_share; those left out stay.
    """
    settings = load_site_settings()
    wells = settings.wells
    named = scans is not None or volumes is not None
    request = NightRequest(
        scans=(scans or "") if named else wells.scans,
        volumes=tuple(volumes or ()) if named else wells.volumes,
        path=path,
        cluster=wells.cluster if cluster is None else cluster,
        workers=wells.workers if workers is None else workers,
        memory_bytes=wells.worker_memory_mib << 20,
        library=None if library is None else Path(library),
        method=method,
    )
    night = analyse_wells(settings, request)
    publish_night(night)
    if night.that_ended(Ending.FAILED):
        return Failed(message=night.summary)
    return Completed(message=night.summary, data={"night": night.night_id})
