"""How the flows reach the two sites."""

from __future__ import annotations

from flows.remote import carry_out_backup, carry_out_restore, fence_run, look_up_version
from nightwell.settings import Settings
from nightwell.sites.build import source_site
from nightwell.sites.requests import Destination
from nightwell.sites.source_site import SourceSite
from tasks.deployed import DeployedDestination
from tasks.line2 import CalledDestination


def destination_of(settings: Settings) -> Destination:
    """Return the destination site: behind its deployments when the settings name them, else in this process."""
    if settings.flows.remote_deployment:
        set_to = settings.flows
        return DeployedDestination(set_to.remote_deployment, set_to.start_timeout_s, set_to.outage_s)
    return CalledDestination(carry_out_backup, carry_out_restore, fence_run, look_up_version)


def source_of(settings: Settings) -> SourceSite:
    """Return the source site."""
    return source_site(settings, destination_of(settings))
