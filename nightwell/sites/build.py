"""Put the sites together from the settings."""

from __future__ import annotations

from pathlib import Path

from nightwell.arrays.client import ArrayClient
from nightwell.arrays.port import Array
from nightwell.errors import SettingsError
from nightwell.mover.conversation import ProgressCallback
from nightwell.protocol.driver import OnEvent
from nightwell.server_settings import CredentialsDriver, ServerDriver
from nightwell.servers.port import VirtualServers
from nightwell.servers.process import ProcessServers
from nightwell.servers.qemu import QemuServers
from nightwell.servers.runc import RuncServers
from nightwell.settings import Settings
from nightwell.sites.destination import DestinationEffects
from nightwell.sites.destination_site import DestinationSite
from nightwell.sites.ledger import Ledger
from nightwell.sites.requests import Destination
from nightwell.sites.source import SourceEffects
from nightwell.sites.source_site import SourceSite, Wrap, as_they_are
from nightwell.store.grants.iam import IamGrants
from nightwell.store.grants.port import StoreGrants
from nightwell.store.grants.static import StaticGrants
from nightwell.store.grants.sts import StsGrants
from nightwell.store.location import StoreLocation


def open_array(settings: Settings, site: str) -> Array:
    """Return the array of one site (``source`` or ``destination``)."""
    chosen = settings.array(site)
    assert chosen.control is not None, "Settings.array fills it"
    return ArrayClient(chosen.control, name=chosen.name)


def open_servers(settings: Settings, *, directory: Path | None = None) -> VirtualServers:
    """Return the virtual-server driver of the destination site; its servers' records are in ``directory``."""
    chosen, directory = settings.destination.servers, directory or settings.servers_directory()
    if chosen.driver is ServerDriver.RUNC:
        return RuncServers(directory, cgroup=chosen.cgroup)
    if chosen.driver is ServerDriver.QEMU:
        guest_directory = settings.servers_directory() / ".guest"  # made once, whoever asks
        return QemuServers(directory, cgroup=chosen.cgroup, guest_directory=guest_directory)
    return ProcessServers(directory)


def store_location(settings: Settings) -> StoreLocation:
    """Return where the store is, with our credentials."""
    store = settings.store
    return StoreLocation(
        endpoint_url=store.endpoint_url,
        bucket=store.bucket,
        prefix=store.prefix,
        region=store.region,
        access_key=store.access_key,
        secret_key=store.secret_key.get_secret_value(),
        outage_s=store.outage_s,
    )


def open_grants(settings: Settings) -> StoreGrants:
    """Return what gives each virtual server its credentials for the store."""
    chosen, location = settings.destination.credentials, store_location(settings)
    if chosen.driver is CredentialsDriver.STS:
        return StsGrants(
            location, role_arn=chosen.role_arn, duration_s=chosen.duration_s, endpoint_url=chosen.endpoint_url
        )
    if chosen.driver is CredentialsDriver.IAM:
        return IamGrants(location, endpoint_url=chosen.endpoint_url)
    return StaticGrants(location)


def open_ledger(settings: Settings, site: str) -> Ledger:
    """Return the runs of one site.

    Raises
    ------
    SettingsError
        Both sites are set to one database: a run has a record of its own at each.
    """
    url = settings.journal_url(site)
    other = settings.journal_url("destination" if site == "source" else "source")
    if url == other:
        raise SettingsError(
            "settings 'source.journal' and 'destination.journal'",
            expected="a database for each site",
            found="the same for both",
            cause="one URL was copied to both settings",
            next_step="give each site its own database",
        )
    settings.state_directory.mkdir(parents=True, exist_ok=True)
    return Ledger.open(url, ttl_s=settings.backup.lease_ttl_s)


def destination_site(
    settings: Settings,
    *,
    wrap: Wrap = as_they_are,
    on_event: OnEvent | None = None,
    on_progress: ProgressCallback | None = None,
) -> DestinationSite:
    """Return the destination site of these settings."""
    array, servers, location = open_array(settings, "destination"), open_servers(settings), store_location(settings)

    grants = open_grants(settings)

    def make_effects() -> DestinationEffects:
        return DestinationEffects(
            array=array,
            servers=servers,
            location=location,
            grants=grants,
            settings=settings.destination.servers,
            tls=settings.array("destination").tls,
            on_progress=on_progress,
        )

    ledger = open_ledger(settings, "destination")
    return DestinationSite(array, make_effects, ledger, location, wrap=wrap, on_event=on_event)


def source_site(settings: Settings, destination: Destination) -> SourceSite:
    """Return the source site of these settings, with the other site as given."""
    effects = SourceEffects(open_array(settings, "source"), destination, settings.source)
    block_kib = settings.backup.block_kib
    return SourceSite(
        effects,
        open_ledger(settings, "source"),
        destination,
        block_bytes=None if block_kib is None else block_kib << 10,
    )
