"""The processes that are killed: the source's flow, the destination's, and a recovery; without Prefect.

A request over line 2 is a process of its own, as it is a flow run of its own behind a Prefect server: it goes on when
the source dies, and the source learns nothing when it dies. An importable module, so that a fork server can start it.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from killed_backup import INHERITED
from kills.cases import Case
from kills.place import Place
from kills.strikes import Strikes
from pydantic import BaseModel

from nightwell.errors import NightwellError, UnknownOutcomeError, from_dict
from nightwell.protocol import BackupMode, RunKind, Site
from nightwell.sites.build import destination_site, source_site
from nightwell.sites.destination_site import DestinationSite
from nightwell.sites.requests import (
    BackupAnswer,
    BackupRequest,
    FenceAnswer,
    FenceRequest,
    RestoreAnswer,
    RestoreRequest,
    VersionAnswer,
)

PRELOADED = INHERITED
A = TypeVar("A", bound=BaseModel)
Answer = BaseModel | None

_CARRIED_OUT: dict[str, Callable[[DestinationSite, str], Answer]] = {
    "back_up": lambda site, text: site.back_up(BackupRequest.model_validate_json(text)),
    "restore": lambda site, text: site.restore(RestoreRequest.model_validate_json(text)),
    "fence": lambda site, text: site.fence(FenceRequest.model_validate_json(text)),
    "look_up": lambda site, text: site.look_up(*json.loads(text)),
}


def play_source(place: Place, case: Case, run_id: str, target: str) -> None:
    """Back the case's volume up, or restore its newest version."""
    place.note_process("source", os.getpid())
    strikes = Strikes(place, case, Site.SOURCE)
    with source_site(place.settings, ForkedDestination(place, case)) as site:
        if case.kind is RunKind.BACKUP:
            site.back_up(case.volume, mode=BackupMode(case.mode.value), run_id=run_id, wrap=strikes.wrap)
        else:
            site.restore(case.volume, "latest", target, run_id=run_id, wrap=strikes.wrap)


def play_recovery(place: Place, case: Case) -> None:
    """Recover both sites once, as the command does."""
    there = Strikes(place, case, Site.DESTINATION, recovering=True)
    with destination_site(place.settings, wrap=there.wrap) as site:
        site.recover()
    here = Strikes(place, case, Site.SOURCE, recovering=True)
    with source_site(place.settings, ForkedDestination(place, case, recovering=True)) as site:
        site.recover(wrap=here.wrap)


def play_destination(place: Place, case: Case, call: str, text: str, answer_key: str, *, recovering: bool) -> None:
    """Carry one request out, and leave the answer where the source looks for it."""
    if call in {"back_up", "restore"}:
        place.note_process("destination", os.getpid())
    strikes = Strikes(place, case, Site.DESTINATION, recovering=recovering)
    document: dict[str, object]
    with destination_site(place.settings, wrap=strikes.wrap) as site:
        try:
            answer = _CARRIED_OUT[call](site, text)
        except NightwellError as error:
            document = {"error": error.as_dict()}
        else:
            document = {"answer": None if answer is None else answer.model_dump(mode="json")}
    file = place.folder / "case" / answer_key
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps(document))
    draft.rename(file)


@dataclass(frozen=True, slots=True)
class ForkedDestination:
    """The destination site as processes of its own."""

    place: Place
    case: Case
    recovering: bool = False

    def back_up(self, request: BackupRequest) -> BackupAnswer:
        return _present(self._ask("back_up", request.model_dump_json(), BackupAnswer))

    def restore(self, request: RestoreRequest) -> RestoreAnswer:
        return _present(self._ask("restore", request.model_dump_json(), RestoreAnswer))

    def fence(self, request: FenceRequest) -> FenceAnswer:
        return _present(self._ask("fence", request.model_dump_json(), FenceAnswer))

    def look_up(self, volume: str, selector: str) -> VersionAnswer | None:
        return self._ask("look_up", json.dumps([volume, selector]), VersionAnswer)

    def _ask(self, call: str, text: str, kind: type[A]) -> A | None:
        from kills.forks import start

        key = f"answer-{uuid.uuid4().hex}.json"
        process = start(play_destination, self.place, self.case, call, text, key, recovering=self.recovering)
        process.join()
        file = self.place.folder / "case" / key
        if not file.exists():
            raise UnknownOutcomeError(
                f"call {call} over line 2",
                expected="an answer",
                found=f"the end of the destination's process, with status {process.exitcode}",
                cause="it was killed",
                next_step="ask again",
            )
        document = json.loads(file.read_text())
        if "error" in document:
            raise from_dict(document["error"])
        return None if document["answer"] is None else kind.model_validate(document["answer"])


def _present(answer: A | None) -> A:
    assert answer is not None
    return answer
