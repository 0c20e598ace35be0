"""How an answer gets back over line 2: as an artifact of the remote flow run, which both sites reach.

No storage has to be shared and nothing is pickled. An answer has no key, so it is in no list of the pages, and it stays
with its flow run: whoever asks again, after whatever died, finds it there as before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort
from prefect.exceptions import ObjectNotFound
from pydantic import BaseModel

from nightwell.errors import NightwellError, from_dict
from tasks.outage import outlast

A = TypeVar("A", bound=BaseModel)
_OPENING, _CLOSING = "```json\n", "\n```"
_ANSWER = "Answer to the source site, over line 2"


def publish_answer(answer: BaseModel | NightwellError | None) -> None:
    """Publish the answer of the flow run under way, or the error in its place; outlast a server that is away."""
    _publish(answer, key=None)


def publish_recovered(run_id: str, answer: BaseModel | NightwellError) -> None:
    """Publish the answer to a request whose own flow run died, under a key that its source knows."""
    _publish(answer, key=_recovered_key(run_id))


def find_answer(flow_run_id: UUID) -> dict[str, Any] | None:
    """Return what a remote flow run answered, as it was written, or ``None``."""
    return _newest(ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id])))


def find_recovered(run_id: str) -> dict[str, Any] | None:
    """Return what a recovery answered in the place of a flow run that died, or ``None``."""
    return _newest(_recovered(run_id))


def withdraw_recovered(run_id: str) -> None:
    """Delete what a recovery answered: its source has it, or has ended the run without it."""
    with get_client(sync_client=True) as api:
        for artifact in api.read_artifacts(artifact_filter=_recovered(run_id)):
            with suppress(ObjectNotFound):
                api.delete_artifact(artifact.id)


def read_answer(document: dict[str, Any], kind: type[A]) -> A | None:
    """Return the answer that a document holds, or raise the error that it holds."""
    if "error" in document:
        raise from_dict(document["error"])
    return None if document["answer"] is None else kind.model_validate(document["answer"])


def _publish(answer: BaseModel | NightwellError | None, *, key: str | None) -> None:
    if isinstance(answer, NightwellError):
        document: dict[str, object] = {"error": answer.as_dict()}
    else:
        document = {"answer": None if answer is None else answer.model_dump(mode="json")}
    text = _OPENING + json.dumps(document, indent=2) + _CLOSING
    outlast(lambda: create_markdown_artifact(text, key=key, description=_ANSWER))


def _newest(chosen: ArtifactFilter) -> dict[str, Any] | None:
    with get_client(sync_client=True) as api:  # Artifact.get leaves its connection open
        found: Sequence[Artifact] = api.read_artifacts(artifact_filter=chosen, sort=ArtifactSort.UPDATED_DESC)
    texts = [artifact.data for artifact in found if artifact.description == _ANSWER]
    if not texts or not isinstance(texts[0], str):
        return None
    document: dict[str, Any] = json.loads(texts[0].removeprefix(_OPENING).removesuffix(_CLOSING))
    return document


def _recovered(run_id: str) -> ArtifactFilter:
    return ArtifactFilter(key=ArtifactFilterKey(any_=[_recovered_key(run_id)]))


def _recovered_key(run_id: str) -> str:
    return f"recovered-{run_id}"
