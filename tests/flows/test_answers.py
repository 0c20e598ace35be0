"""An answer is where its asker looks for it, however often, and in no list that people read."""

from __future__ import annotations

from uuid import UUID

import pytest
from deployed import Deployed
from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run

from flows.local_server import LocalPrefectServer
from nightwell.errors import ConflictError
from nightwell.sites.requests import VersionAnswer
from tasks.answers import (
    find_answer,
    find_recovered,
    publish_answer,
    publish_recovered,
    read_answer,
    withdraw_recovered,
)

RUN = "20260101-000000-00000a"


def version(version_id: str) -> VersionAnswer:
    return VersionAnswer(version_id=version_id, size_bytes=1, fencing_token=1)


@flow(persist_result=False)
def answer_beside_others(answers: list[str]) -> UUID:
    create_table_artifact([{"step": "copy"}], key="copy-disk-timeline")
    for version_id in answers:
        publish_answer(version(version_id))
    create_markdown_artifact("# no answer", key="words")
    return UUID(str(flow_run.id))


@flow(persist_result=False)
def refuse() -> UUID:
    publish_answer(ConflictError("volume", expected="a", found="b", cause="c", next_step="d"))
    return UUID(str(flow_run.id))


@flow(persist_result=False)
def recover(run_id: str, version_id: str) -> None:
    publish_recovered(run_id, version(version_id))


def listed(server: LocalPrefectServer) -> set[str]:
    """Return the keys of the page of artifacts."""
    return {str(one["key"]) for one in Deployed(server).ask("artifacts/latest", {"limit": 200})}


def test_each_flow_run_has_its_own_answer_and_no_page_lists_it(prefect_server: LocalPrefectServer) -> None:
    first, second, silent = answer_beside_others(["1"]), answer_beside_others(["2", "3"]), answer_beside_others([])
    for _ in range(2):  # whoever asked may die before it reads, and another asks again
        found = [find_answer(run_id) for run_id in (first, second)]
        read = [read_answer(document, VersionAnswer) for document in found if document is not None]
        assert read == [version("1"), version("3")]  # the newest: a flow run may be retried
    assert find_answer(silent) is None
    refused = find_answer(refuse())
    assert refused is not None
    with pytest.raises(ConflictError, match="expected a; found b"):
        read_answer(refused, VersionAnswer)
    keys = listed(prefect_server)
    assert {"copy-disk-timeline", "words"} <= keys
    assert {key for key in keys if key.startswith("answer") or key == "None"} == set()


def test_what_a_recovery_answers_is_found_until_its_source_has_it(prefect_server: LocalPrefectServer) -> None:
    assert find_recovered(RUN) is None
    for version_id in ("1", "2"):  # of two recoveries both may answer
        recover(RUN, version_id)
    recover("20260101-000000-00000b", "other")
    for _ in range(2):
        found = find_recovered(RUN)
        assert found is not None
        assert read_answer(found, VersionAnswer) == version("2")
    for _ in range(2):  # also where it is gone already
        withdraw_recovered(RUN)
        assert find_recovered(RUN) is None
    assert [key for key in listed(prefect_server) if key.startswith("recovered-")] == [
        "recovered-20260101-000000-00000b"
    ]
    withdraw_recovered("20260101-000000-00000b")
