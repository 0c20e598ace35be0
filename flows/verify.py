"""Read a version back and check every block, so that damage is found before it is needed."""

from __future__ import annotations

from prefect import flow

from nightwell.sites.build import store_location
from nightwell.store.store import BackupStore
from nightwell.store.verify import damage_of
from tasks.artifacts import publish_verification
from tasks.blocks import load_site_settings
from tasks.names import at_its_site


@flow(name="verify-volume", flow_run_name=at_its_site("verify {volume} {version}"), persist_result=False)
def verify_volume(volume: str, version: str = "latest") -> str:
    """Read a whole version back from the store and check every block's digest.

    What was found is noted in the store: a version that failed is no good recovery point.

    Args:
        volume: The volume whose version is read.
        version: "latest", a version's id, or the beginning of one.
    """
    with BackupStore.open(store_location(load_site_settings())) as store:
        chosen = store.find_version(volume, version)
        report = store.verify(chosen)
    publish_verification(volume, report)
    if not report.ok:
        raise damage_of(volume, report)
    return f"version {report.version_id}: {report.found}"
