"""Typed blocks of the Prefect server: where a site's credentials and its other site may stand, instead of in its file.

A block is read by the flow's own process; nothing of it becomes a parameter, a log line or an artifact.
"""

from __future__ import annotations

from typing import TypeVar

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from nightwell.errors import SettingsError
from nightwell.settings import Settings, StoreSettings, load_settings
from tasks.logs import log_to_flow_runs

B = TypeVar("B", bound=Block)


class ObjectStore(Block):
    """The S3-compatible store, with the credentials of the site that reads this block."""

    _block_type_name = "Nightwell object store"
    _block_type_slug = "nightwell-object-store"
    _description = "The S3-compatible store that keeps the versions, with one site's credentials."

    endpoint_url: str = Field(description="Address of the store, such as https://s3.example.org.")
    bucket: str = Field(min_length=3, description="Bucket; it must exist.")
    prefix: str = Field(default="", description="Prefix of every object's name within the bucket.")
    region: str = Field(default="us-east-1", description="Region of the bucket.")
    access_key: SecretStr = Field(default=SecretStr(""), description="Access key id.")
    secret_key: SecretStr = Field(default=SecretStr(""), description="Secret access key.")

    def section(self) -> StoreSettings:
        """Return the block as the section ``[store]`` of the settings."""
        return StoreSettings(
            endpoint_url=self.endpoint_url,
            bucket=self.bucket,
            prefix=self.prefix,
            region=self.region,
            access_key=self.access_key.get_secret_value(),
            secret_key=self.secret_key,
        )


class DestinationSite(Block):
    """The destination site, as the source site's flows reach it."""

    _block_type_name = "Nightwell destination site"
    _block_type_slug = "nightwell-destination-site"
    _description = "Which deployments carry out requests at the destination site."

    deployment: str = Field(min_length=1, description="Name of its deployments, such as destination-site.")
    start_timeout_s: float = Field(default=300.0, gt=0, description="How long a request may wait for a worker.")


def load_site_settings() -> Settings:
    """Return this site's settings, with what its blocks hold in place of the file's; log as they say from here on.

    Raises
    ------
    SettingsError
        A block that the settings name does not exist, or is of another type.
    """
    settings = load_settings()
    log_to_flow_runs(settings.log)
    flows = settings.flows
    if flows.store_block:
        store = _load(ObjectStore, flows.store_block, "flows.store_block")
        settings = settings.model_copy(update={"store": store.section()})
    if flows.destination_block:
        site = _load(DestinationSite, flows.destination_block, "flows.destination_block")
        update = {"remote_deployment": site.deployment, "start_timeout_s": site.start_timeout_s}
        settings = settings.model_copy(update={"flows": flows.model_copy(update=update)})
    return settings


def _load(kind: type[B], name: str, setting: str) -> B:
    try:
        found = kind.load(name)
    except ValueError as error:  # what Prefect raises for a block that is not there
        raise SettingsError(
            f"setting '{setting}'",
            expected=f"a block '{name}' of type '{kind.get_block_type_slug()}' at the Prefect server",
            found="none",
            cause="it was not made at this server, or its name is misspelled",
            next_step="run 'nightwell-site set-up' with the settings that it is made from, or make it in the UI",
        ) from error
    assert isinstance(found, kind), "the synchronous call returns the block"
    return found
