"""How an answer gets back over line 2: as an artifact, which both sites reach through the Prefect server.

No storage has to be shared, nothing is pickled, and a person can read the answer on the run's page.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from pydantic import BaseModel

from nightwell.errors import NightwellError, from_dict
from tasks.outage import outlast

A = TypeVar("A", bound=BaseModel)
_OPENING, _CLOSING = "```json\n", "\n```"


def answer_key(flow_run_id: object) -> str:
    """Return the key of the artifact that holds the answer of a remote flow run."""
    return f"answer-{flow_run_id}"


def recovered_key(run_id: str) -> str:
    """Return the key of the artifact that holds the answer to a request whose own flow run died."""
    return f"recovered-{run_id}"


def publish_answer(key: str, answer: BaseModel | NightwellError | None) -> None:
    """Publish an answer, or the error in its place, where the other site finds it; outlast a server that is away."""
    if isinstance(answer, NightwellError):
        document: dict[str, object] = {"error": answer.as_dict()}
    else:
        document = {"answer": None if answer is None else answer.model_dump(mode="json")}
    text = _OPENING + json.dumps(document, indent=2) + _CLOSING
    outlast(lambda: create_markdown_artifact(text, key=key, description="Answer to the source site, over line 2"))


def find_answer(key: str) -> dict[str, Any] | None:
    """Return a published answer as it was written, or ``None``."""
    chosen = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as api:  # Artifact.get leaves its connection open
        found = api.read_artifacts(artifact_filter=chosen, sort=ArtifactSort.UPDATED_DESC, limit=1)
    data = found[0].data if found else None
    if not isinstance(data, str):
        return None
    document: dict[str, Any] = json.loads(data.removeprefix(_OPENING).removesuffix(_CLOSING))
    return document


def read_answer(document: dict[str, Any], kind: type[A]) -> A | None:
    """Return the answer that a document holds, or raise the error that it holds."""
    if "error" in document:
        raise from_dict(document["error"])
    return None if document["answer"] is None else kind.model_validate(document["answer"])
