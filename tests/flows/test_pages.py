"""Prefect's own pages: they ask their own server, advertise nothing, and show what a run publishes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.request import urlopen

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.local_server import LocalPrefectServer
from tasks.artifacts import publish_picture

_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_the_page_of_a_local_server_asks_that_server_and_is_the_older_one(prefect_server: LocalPrefectServer) -> None:
    with urlopen(f"{prefect_server.url}/ui-settings", timeout=10) as answer:
        settings = json.load(answer)
    assert settings["api_url"] == prefect_server.environment["PREFECT_API_URL"]
    assert settings["default_ui"] == "v1"
    with urlopen(prefect_server.url, timeout=10) as page:
        assert b"<html" in page.read()


def test_a_depth_log_is_shown_as_a_picture_under_the_name_of_its_well(
    prefect_server: LocalPrefectServer, tmp_path: Path
) -> None:
    picture = tmp_path / "log.png"
    picture.write_bytes(_PNG)

    @flow(name="draw")
    def draw() -> None:
        publish_picture(picture, "Depth log", "Well 7/Ä")

    draw()
    with get_client(sync_client=True) as api:
        (shown,) = api.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["depth-log-well-7-a"]))
        )
    assert shown.type == "markdown"
    assert shown.description == "Depth log of Well 7/Ä"
    text = str(shown.data)
    assert text.startswith("![Depth log of Well 7/Ä](data:image/png;base64,")
    assert base64.b64decode(text.split("base64,")[1].removesuffix(")")) == _PNG
