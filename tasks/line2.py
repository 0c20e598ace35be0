"""How a request crosses line 2: as a flow in this process, or as a run of a deployment at the other site."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from prefect.artifacts import Artifact, create_markdown_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from pydantic import BaseModel

from nightwell.errors import NightwellError, UnknownOutcomeError, from_dict
from nightwell.sites.requests import (
    BackupAnswer,
    BackupRequest,
    FenceAnswer,
    FenceRequest,
    RestoreAnswer,
    RestoreRequest,
    VersionAnswer,
)

A = TypeVar("A", bound=BaseModel)
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class CalledDestination:
    """The destination site in this process: its flows are called as subflows.

    Parameters
    ----------
    back_up_flow, restore_flow, fence_flow, look_up_flow
        The flows of :mod:`flows.remote`.
    """

    back_up_flow: Callable[[BackupRequest], BackupAnswer]
    restore_flow: Callable[[RestoreRequest], RestoreAnswer]
    fence_flow: Callable[[FenceRequest], FenceAnswer]
    look_up_flow: Callable[[str, str], VersionAnswer | None]

    def back_up(self, request: BackupRequest) -> BackupAnswer:
        """Carry a backup out."""
        return self.back_up_flow(request)

    def restore(self, request: RestoreRequest) -> RestoreAnswer:
        """Carry a restore out."""
        return self.restore_flow(request)

    def fence(self, request: FenceRequest) -> FenceAnswer:
        """End all work of a run."""
        return self.fence_flow(request)

    def look_up(self, volume: str, selector: str) -> VersionAnswer | None:
        """Return a version, or ``None``."""
        return self.look_up_flow(volume, selector)


@dataclass(frozen=True, slots=True)
class DeployedDestination:
    """The destination site behind a Prefect server: its flows run as deployments in its own work pool.

    The answer comes back as an artifact, which both sites reach through the server: no storage has to be shared.

    Parameters
    ----------
    name
        Name of the deployments of :mod:`flows.remote`, such as ``destination-site``.
    """

    name: str

    def back_up(self, request: BackupRequest) -> BackupAnswer:
        """Carry a backup out."""
        return _present(self._ask("carry-out-backup", *_run(request), BackupAnswer))

    def restore(self, request: RestoreRequest) -> RestoreAnswer:
        """Carry a restore out."""
        return _present(self._ask("carry-out-restore", *_run(request), RestoreAnswer))

    def fence(self, request: FenceRequest) -> FenceAnswer:
        """End all work of a run."""
        return _present(self._ask("fence-run", *_run(request), FenceAnswer))

    def look_up(self, volume: str, selector: str) -> VersionAnswer | None:
        """Return a version, or ``None``."""
        parameters = {"volume": volume, "selector": selector}
        return self._ask("look-up-version", f"version '{selector}' of '{volume}'", parameters, VersionAnswer)

    def _ask(self, flow: str, subject: str, parameters: Mapping[str, object], kind: type[A]) -> A | None:
        run = run_deployment(f"{flow}/{self.name}", parameters=dict(parameters), poll_interval=_POLL_S)
        assert isinstance(run, FlowRun), "the synchronous call returns the flow run"
        return _read_answer(subject, run, kind)


def answer_key(flow_run_id: UUID) -> str:
    """Return the key of the artifact that holds a remote flow run's answer."""
    return f"answer-{flow_run_id}"


def publish_answer(flow_run_id: UUID, answer: BaseModel | NightwellError | None) -> None:
    """Publish a remote flow run's answer, or its error, where the asking site finds it."""
    if isinstance(answer, NightwellError):
        document: dict[str, object] = {"error": answer.as_dict()}
    else:
        document = {"answer": None if answer is None else answer.model_dump(mode="json")}
    create_markdown_artifact(json.dumps(document), key=answer_key(flow_run_id), description="Answer over line 2")


def _read_answer(subject: str, run: FlowRun, kind: type[A]) -> A | None:
    artifact: Any = Artifact.get(answer_key(run.id))  # typed as if it might be awaited
    data = None if artifact is None else artifact.data
    if not isinstance(data, str):
        raise UnknownOutcomeError(
            f"{subject} at the destination site",
            expected="an answer",
            found=f"state {run.state.name}: {run.state.message}" if run.state else "no state",
            cause="the remote flow died before it could answer",
            next_step="look at its run in the UI; the source asks the destination again before it takes anything back",
        )
    document = json.loads(data)
    if "error" in document:
        raise from_dict(document["error"])
    return None if document["answer"] is None else kind.model_validate(document["answer"])


def _run(request: BackupRequest | RestoreRequest | FenceRequest) -> tuple[str, dict[str, object]]:
    return f"run '{request.run_id}'", {"request": request.model_dump(mode="json")}


def _present(answer: A | None) -> A:
    assert answer is not None, "a request that was carried out has an answer"
    return answer
