"""What the forms of the deployments offer beside what their types say: the volumes that are known at set-up.

A form takes any other name too, because volumes are made after set-up as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate

from nightwell.arrays.port import Array
from nightwell.errors import NightwellError
from nightwell.settings import Settings
from nightwell.sites.build import open_array

#: Parameters whose value is a volume.
VOLUME_PARAMETERS = ("volume", "target")

# Of deployments with this tag the form is filled in by the other site, not by a person.
_REMOTE_TAG = "remote"


def offer_volumes(api: SyncPrefectClient, settings: Settings, promised: Collection[str]) -> str:
    """Let every form offer the known volumes; return what was done.

    Parameters
    ----------
    api
        The server, with the deployments on it.
    settings
        The source site's.
    promised
        Volumes that are to be offered although the array does not have them, or cannot be asked.
    """
    array = settings.array("source").name
    try:
        with closing(open_array(settings, "source")) as opened:
            known = {*promised, *settings.backup.rpo_hours_of, *_primaries(opened)}
        found = f"of array '{array}' and of schedules"
    except NightwellError as error:
        known = {*promised, *settings.backup.rpo_hours_of}
        found = f"of schedules; array '{array}' was not asked: {error.found}"
    if not known:
        return f"none {found}"
    for deployment in api.read_deployments():
        schema = deployment.parameter_openapi_schema
        if schema is None or _REMOTE_TAG in deployment.tags:
            continue
        properties = schema.get("properties", {})
        chosen = {
            name: with_choices(properties[name], sorted(known)) for name in VOLUME_PARAMETERS if name in properties
        }
        if chosen:
            offered = {**schema, "properties": {**properties, **chosen}}
            api.update_deployment(deployment.id, DeploymentUpdate(parameter_openapi_schema=offered))
    return f"{len(known)} {found}"


def with_choices(text: Mapping[str, Any], choices: Collection[str]) -> dict[str, Any]:
    """Return a schema of text that offers a list, and takes any other text."""
    kept = {name: value for name, value in text.items() if name not in {"type", "anyOf"}}
    listed = {"title": "known", "type": "string", "enum": list(choices)}
    return {**kept, "anyOf": [listed, {"title": "another", "type": "string"}]}


def _primaries(array: Array) -> Iterator[str]:
    """Return the volumes that a person may back up: no secondaries, and none that a run made."""
    for volume in array.volumes():
        pair = array.pair_of(volume.name)
        if volume.owner is None and (pair is None or pair.secondary != volume.name):
            yield volume.name
