"""The destination site behind a Prefect server: a request is a run of a deployment in the other site's work pool."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelled, Crashed
from pydantic import BaseModel

from nightwell import __version__
from nightwell.errors import ConflictError, NightwellError, NotFoundError, UnknownOutcomeError, UnreachableError
from nightwell.sites.requests import (
    BackupAnswer,
    BackupRequest,
    FenceAnswer,
    FenceRequest,
    RestoreAnswer,
    RestoreRequest,
    VersionAnswer,
)
from tasks.answers import find_answer, find_recovered, read_answer, withdraw_recovered
from tasks.outage import OUTAGE_S, outlast
from tasks.preflight import UNAUTHORIZED, refuse_without_worker, unauthorized
from tasks.signs import Silence, gives_sign, has_ended, is_lost

A = TypeVar("A", bound=BaseModel)
T = TypeVar("T")
_POLL_S = 0.2
_ASK_RECOVERY_S = 10.0
_LOOK_S = 10.0
# How the server refuses parameters that the deployment's schema does not allow.
_BAD_PARAMETERS = frozenset({HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY})


@dataclass(frozen=True, slots=True)
class DeployedDestination:
    """The destination site as its deployments.

    Parameters
    ----------
    name
        Name of the deployments of :mod:`flows.remote`, such as ``destination-site``.
    start_timeout_s
        How long a request may wait for a worker before it is withdrawn.
    outage_s
        How long line 2 may be cut while an answer is awaited: the Prefect server is away, or nothing is heard there of
        the other site. The remote work goes on meanwhile.
    """

    name: str
    start_timeout_s: float = 300.0
    outage_s: float = OUTAGE_S

    def back_up(self, request: BackupRequest) -> BackupAnswer:
        """Carry a backup out."""
        return _present(self._ask("carry-out-backup", request, BackupAnswer))

    def restore(self, request: RestoreRequest) -> RestoreAnswer:
        """Carry a restore out."""
        return _present(self._ask("carry-out-restore", request, RestoreAnswer))

    def fence(self, request: FenceRequest) -> FenceAnswer:
        """End all work of a run."""
        return _present(self._ask("fence-run", request, FenceAnswer))

    def look_up(self, volume: str, selector: str) -> VersionAnswer | None:
        """Return a version, or ``None``."""
        question = _Question(
            f"look-up-version/{self.name}",
            f"version '{selector}' of '{volume}' at the destination site",
            {"volume": volume, "selector": selector, "nightwell_version": __version__},
            UnreachableError,
        )
        return self._answer(question, VersionAnswer)

    def _ask(self, flow: str, request: BackupRequest | RestoreRequest | FenceRequest, kind: type[A]) -> A | None:
        question = _Question(
            f"{flow}/{self.name}",
            f"run '{request.run_id}' at the destination site",
            {"request": request.model_dump(mode="json")},
            UnknownOutcomeError,
            # A fence that died is asked again; only the request itself is finished by the other site's recovery.
            None if isinstance(request, FenceRequest) else request.run_id,
        )
        return self._answer(question, kind)

    def _answer(self, question: _Question, kind: type[A]) -> A | None:
        # A key of its own for every call: a POST that the client repeats starts nothing twice, and a flow run that is
        # retried in the UI, with a new run of the protocol, does not meet its old request.
        key = uuid.uuid4().hex
        self._patiently(question, lambda: refuse_without_worker(question.deployment, question.subject))
        started = self._patiently(question, lambda: _start(question, key))
        document = self._await(question, started.id)
        if document is None:
            raise question.lost(
                "a flow run that ended without one",
                "it was cancelled, or its process died",
                "look at its run in the UI",
            )
        return read_answer(document, kind)

    def _await(self, question: _Question, flow_run_id: UUID) -> dict[str, Any] | None:
        """Return what the remote flow run answered, or what a recovery at its site answered in its place."""
        began_s = time.monotonic()
        recovery_s = began_s + _ASK_RECOVERY_S
        look_s, heard_s = began_s + self._look_every_s, began_s
        silence = Silence(self._look_every_s)
        while True:
            run = self._patiently(question, lambda: _read(flow_run_id))
            # While a lost run may live, its work is not thrown away.
            if has_ended(run) or (is_lost(run) and self._patiently(question, lambda: silence.is_its_end(run))):  # noqa: B023
                return self._patiently(question, lambda: find_answer(flow_run_id))
            now_s = time.monotonic()
            waits = run.state is None or run.state.is_scheduled() or run.state.is_pending()
            if waits and now_s > began_s + self.start_timeout_s:
                self._patiently(question, lambda: _withdraw(flow_run_id))
                raise question.not_started(self.start_timeout_s)
            if question.recovered is not None and not waits and now_s > recovery_s:
                recovery_s = now_s + _ASK_RECOVERY_S
                found = self._patiently(question, lambda: find_recovered(str(question.recovered)))
                if found is not None:
                    self._patiently(question, lambda: _bury(flow_run_id))
                    self._patiently(question, lambda: withdraw_recovered(str(question.recovered)))
                    return found
            if not waits and now_s > look_s:
                look_s = now_s + self._look_every_s
                if self._patiently(question, lambda: gives_sign(run, within_s=self.outage_s)):  # noqa: B023  called here
                    heard_s = time.monotonic()
                elif now_s > heard_s + self.outage_s:
                    raise question.lost(
                        f"no sign of life of its worker or its flow run for {self.outage_s:.0f} s",
                        "line 2 is cut between the other site and the Prefect server, or that site's host is down",
                        "mend line 2, or start the destination's worker",
                    )
            time.sleep(_POLL_S)

    @property
    def _look_every_s(self) -> float:
        return min(_LOOK_S, self.outage_s / 4)

    def _patiently(self, question: _Question, call: Callable[[], T]) -> T:
        """Call the Prefect server until it answers: work that is under way does not need it."""
        try:
            return outlast(call, outage_s=self.outage_s)
        except ObjectNotFound as error:
            raise question.unknown() from error
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            if isinstance(error, PrefectHTTPStatusError) and error.response.status_code in _BAD_PARAMETERS:
                raise question.other_form(error.response.text) from error
            if _is_unauthorized(error) and question.undecided is UnreachableError:
                raise unauthorized(question.subject) from error  # nothing was asked yet
            raise question.lost(
                f"{type(error).__name__}: {str(error).splitlines()[0]}",
                "the Prefect server does not answer, or refuses the request",
                "see that the Prefect server runs and is reached",
            ) from error


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of which deployment, how it is called in errors, and which run's recovery may answer instead."""

    deployment: str
    subject: str
    parameters: Mapping[str, object]
    undecided: type[NightwellError]
    recovered: str | None = None

    def lost(self, found: str, cause: str, next_step: str) -> NightwellError:
        return self.undecided(
            self.subject,
            expected=f"an answer of deployment '{self.deployment}'",
            found=found,
            cause=cause,
            next_step=f"{next_step}; the source asks the destination again before it takes anything back",
        )

    def unknown(self) -> NightwellError:
        return NotFoundError(
            f"deployment '{self.deployment}'",
            expected="it at the Prefect server",
            found="no such deployment or flow run",
            cause="the flows were not deployed, or setting 'flows.remote_deployment' is misspelled",
            next_step="run 'prefect --no-prompt deploy --all', and compare the names with the setting",
        )

    def other_form(self, said: str) -> NightwellError:
        return ConflictError(
            self.subject,
            expected=f"deployment '{self.deployment}' to take what nightwell {__version__} asks",
            found=f"a refusal of its parameters: {said[:300]}",
            cause="the destination's flows were deployed from another release of nightwell",
            next_step="install the same release at both sites, restart their workers and run 'nightwell-site set-up'",
        )

    def not_started(self, timeout_s: float) -> NightwellError:
        return UnreachableError(
            self.subject,
            expected=f"a worker that takes up a run of deployment '{self.deployment}' within {timeout_s:.0f} s",
            found="none; the request was withdrawn",
            cause="no worker of its work pool runs, or all of its slots are taken",
            next_step="start one at the destination site with 'prefect worker start --pool ...'",
        )


def _is_unauthorized(error: Exception) -> bool:
    return isinstance(error, PrefectHTTPStatusError) and error.response.status_code in UNAUTHORIZED


def _start(question: _Question, key: str) -> FlowRun:
    run = run_deployment(question.deployment, parameters=dict(question.parameters), timeout=0, idempotency_key=key)
    assert isinstance(run, FlowRun), "the synchronous call returns the flow run"
    return run


def _read(flow_run_id: UUID) -> FlowRun:
    with get_client(sync_client=True) as api:
        return api.read_flow_run(flow_run_id)


def _withdraw(flow_run_id: UUID) -> None:
    with get_client(sync_client=True) as api:
        api.set_flow_run_state(flow_run_id, Cancelled(message="No worker took it up in time."), force=True)


def _bury(flow_run_id: UUID) -> None:
    """Mark a flow run whose process died without a word, so that nobody takes it for work under way."""
    with get_client(sync_client=True) as api:
        dead: State[None] = Crashed(message="Its process died; the site's recovery finished or undid its work.")
        api.set_flow_run_state(flow_run_id, dead, force=True)


def _present(answer: A | None) -> A:
    assert answer is not None, "a request that was carried out has an answer"
    return answer
