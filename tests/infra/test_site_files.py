"""What runs elsewhere (image, compose files, pools of containers) is checked by schema here: it cannot be run here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.utilities.templating import find_placeholders

from pools.outside import IMAGE, OutsideKind, outside_template

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "infra" / "site"
COMPOSE = sorted(SITE.glob("compose.*.yaml"))


@pytest.mark.parametrize("kind", list(OutsideKind))
def test_a_template_of_containers_is_one_that_prefect_takes(kind: OutsideKind) -> None:
    template = outside_template(kind)
    pool = WorkPoolCreate(name="outside", type=kind.value, base_job_template=template)
    variables = pool.base_job_template["variables"]
    jsonschema.Draft202012Validator.check_schema(variables)
    defaults = {name: field["default"] for name, field in variables["properties"].items() if field.get("default")}
    jsonschema.validate(defaults, {**variables, "required": []})
    assert defaults["image"] == IMAGE
    assert defaults["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    used = {placeholder.name for placeholder in find_placeholders(template["job_configuration"])}
    assert used <= variables["properties"].keys()


def test_a_default_of_the_wrong_type_would_be_found() -> None:
    variables = outside_template(OutsideKind.DOCKER)["variables"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"auto_remove": "perhaps"}, {**variables, "required": []})


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_a_compose_file_refers_only_to_what_it_has(file: Path) -> None:
    document: dict[str, Any] = yaml.safe_load(file.read_text())
    assert document.keys() <= {"name", "services", "volumes"}
    for name, service in document["services"].items():
        assert service["image"] in {IMAGE, "postgres:15-bookworm"}, name
        for other in service.get("depends_on", {}):
            assert other in document["services"]
            assert document["services"][other]["healthcheck"]["test"]
        for mount in service.get("volumes", ()):
            source = re.sub(r"\$\{[^}]*\}", "/x", mount).split(":")[0]
            assert source.startswith((".", "/")) or source in document["volumes"], mount
        for variable, value in service.get("environment", {}).items():
            secret = re.search("PASSWORD|SECRET", variable)
            assert not secret or str(value).startswith("${"), f"{variable} stands in the file"


def test_every_file_that_the_image_takes_is_there() -> None:
    lines = (SITE / "Dockerfile").read_text().splitlines()
    taken = [word for line in lines if line.startswith("COPY") for word in shlex.split(line)[1:-1]]
    assert {"flows", "pools", "tasks", "nightwell"} <= set(taken)
    assert [name for name in taken if not (ROOT / name).exists()] == []
