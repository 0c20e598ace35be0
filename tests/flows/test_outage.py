"""A Prefect server that is away: what is told to it waits or is dropped, and what is under way goes on."""

from __future__ import annotations

import threading
from uuid import uuid4

import httpx
import pytest

from tasks import artifacts
from tasks.artifacts import CopyProgress
from tasks.outage import outlast


def test_a_server_that_comes_back_is_told_in_the_end() -> None:
    asked = iter([httpx.ConnectError("refused"), httpx.ReadTimeout("silence"), None])

    def tell() -> str:
        error = next(asked)
        if error is not None:
            raise error
        return "told"

    assert outlast(tell) == "told"


def test_a_server_that_stays_away_is_given_up() -> None:
    def tell() -> None:
        raise httpx.ConnectError("refused")

    with pytest.raises(httpx.ConnectError):
        outlast(tell, outage_s=0.0)


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("refused"), RuntimeError("Cannot send a request, as the client has been closed.")]
)
def test_a_copy_goes_on_when_nobody_takes_its_progress(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    told = threading.Event()

    def fail(*_: object, **__: object) -> None:
        told.set()
        raise error

    monkeypatch.setattr(artifacts, "create_progress_artifact", fail)
    progress = CopyProgress("a volume")
    progress(1, 2)
    assert told.wait(30)
    for thread in threading.enumerate():  # what it does not catch is an error of this test
        if thread.name == "progress":
            thread.join(30)


def test_a_copy_does_not_wait_for_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    told: list[float] = []

    def block(percent: float, **_: object) -> object:
        told.append(percent)
        answer.wait(60)
        return uuid4()

    monkeypatch.setattr(artifacts, "create_progress_artifact", block)
    progress = CopyProgress("a volume")
    for done in range(1, 101):
        progress(done, 100)  # returns at once, or the test's time is over
    answer.set()
    assert told == [1.0]
