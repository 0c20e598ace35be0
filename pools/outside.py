"""Templates for pools whose flow runs are containers: Docker and Kubernetes, for sites that outgrow one machine.

Built from the templates that Prefect's server itself carries for these worker types, so that they have exactly the
fields that prefect-docker and prefect-kubernetes read. Those workers are not installed with nightwell, and **these
templates have been checked against Prefect's schemas, not run**. A site's arrays and journal have to be reached from
the containers: the journal by a PostgreSQL URL, since a container keeps no file.
"""

from __future__ import annotations

import json
from copy import deepcopy
from enum import StrEnum
from importlib.resources import files
from typing import Any

from nightwell import __version__
from tasks.signs import HEARTBEAT_S

IMAGE = f"nightwell:{'.'.join(__version__.split('.')[:2])}"
#: The settings of the site, as a folder of the host (Docker) or as a ConfigMap (Kubernetes).
SETTINGS_FOLDER = "/etc/nightwell"


class OutsideKind(StrEnum):
    """Worker types that come in packages of their own."""

    DOCKER = "docker"
    KUBERNETES = "kubernetes"


def outside_template(kind: OutsideKind) -> dict[str, Any]:
    """Return the base job template for a pool of containers."""
    template = _of_prefect(kind)
    defaults: dict[str, object] = {
        "image": IMAGE,
        "image_pull_policy": "IfNotPresent",
        "env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)},
    }
    if kind is OutsideKind.DOCKER:
        defaults |= {
            "auto_remove": True,
            "mem_limit": "2g",
            "volumes": [f"{SETTINGS_FOLDER}:{SETTINGS_FOLDER}:ro", "/run/nightwell:/run/nightwell"],
        }
    else:
        defaults |= {"namespace": "nightwell", "finished_job_ttl": 3600, "memory_limit": "2Gi"}
        _mount_settings(template["job_configuration"]["job_manifest"])
    for name, value in defaults.items():
        template["variables"]["properties"][name]["default"] = value
    return template


def _mount_settings(manifest: dict[str, Any]) -> None:
    """Give the pod the ConfigMap ``nightwell``, and no right to become root."""
    pod = manifest["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": "settings", "configMap": {"name": "nightwell"}}]
    pod["containers"][0]["volumeMounts"] = [{"name": "settings", "mountPath": SETTINGS_FOLDER, "readOnly": True}]
    pod["containers"][0]["securityContext"] = {"runAsNonRoot": True, "allowPrivilegeEscalation": False}


def _of_prefect(kind: OutsideKind) -> dict[str, Any]:
    carried = files("prefect.server.api").joinpath("collections_data/views/aggregate-worker-metadata.json")
    known = json.loads(carried.read_text())
    template: dict[str, Any] = known[f"prefect-{kind}"][kind.value]["default_base_job_configuration"]
    return deepcopy(template)
