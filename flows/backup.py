"""Back a volume up without loading the server that owns it."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.events import emit_event

from flows.outcome import conclude
from flows.sites import source_of
from nightwell.protocol import BackupMode, Run
from tasks.blocks import load_site_settings
from tasks.effects import as_tasks
from tasks.limits import holding
from tasks.names import at_its_site
from tasks.watch import on_event


@flow(name="backup-volume", flow_run_name=at_its_site("back up {volume} ({mode})"), persist_result=False)
def backup_volume(volume: str, mode: BackupMode = BackupMode.SPLIT, keep_pair: bool = False) -> State[Any]:  # noqa: FBT001, FBT002  a toggle of the form
    """Back a volume up: copy pair, split, virtual server, store, resync.

    Args:
        volume: The primary volume on the source array.
        mode: split reads a secondary that stands still, pair one in step with its primary, direct the volume itself.
        keep_pair: Keep a pair that this run makes, so that the next run copies only what changed.
    """
    settings = load_site_settings()
    array = settings.array("source").name
    with holding(array, volume, array_runs=settings.flows.array_runs), source_of(settings) as site:
        run = site.back_up(volume, mode=mode, keep_pair=keep_pair, wrap=as_tasks, on_event=on_event)
        if run.committed:
            _tell(run)
        return conclude(site, run)


def _tell(run: Run) -> None:
    """Emit the event that a re-analysis waits for."""
    emit_event(
        event="nightwell.version.committed",
        resource={"prefect.resource.id": f"nightwell.volume.{run.volume}", "prefect.resource.name": run.volume},
        payload={"version_id": run.version_id, "run_id": run.run_id},
    )
