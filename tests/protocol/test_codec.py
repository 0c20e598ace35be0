from __future__ import annotations

import json
from pathlib import Path
from typing import cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.samples import EVERY_EVENT, OPENED

from nightwell.errors import FormatError
from nightwell.protocol import Event, Facts, Finished, Step
from nightwell.protocol.codec import decode, encode

GOLDEN = Path(__file__).with_name("events-v1.jsonl")


def test_every_kind_of_event_is_in_the_golden_file() -> None:
    assert {type(event) for event in EVERY_EVENT} == set(get_args(Event))


def test_journals_of_format_1_are_read_as_they_were_written() -> None:
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    assert tuple(decode(line) for line in lines) == EVERY_EVENT
    assert [encode(event) for event in EVERY_EVENT] == lines


@given(
    st.dictionaries(st.text(), st.one_of(st.none(), st.booleans(), st.integers(), st.text())),
    st.sampled_from(list(Step)),
)
def test_facts_survive(values: dict[str, str | int | bool | None], step: Step) -> None:
    event = Finished(step, Facts(values))
    back = decode(encode(event))
    assert back == event
    assert isinstance(back, Finished)
    assert {name: type(value) for name, value in back.facts.items()} == {n: type(v) for n, v in values.items()}


def test_a_newer_format_is_refused() -> None:
    newer = json.dumps({**json.loads(encode(OPENED)), "v": 2})
    with pytest.raises(FormatError, match="newer release") as refused:
        decode(newer)
    assert "version 2" in refused.value.found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"v":1}',
        '{"v":1,"event":"teleported"}',
        '{"v":1,"event":"started"}',
        '{"v":1,"event":"started","step":"fly"}',
        '{"v":1,"event":"started","step":"split","extra":1}',
        '{"v":1,"event":"resumed","token":"7","owner":"x"}',
        '{"v":1,"event":"finished","step":"split","facts":{"size":1.5}}',
        '{"v":1,"event":"failed","step":"split","problem":{"error":"x"}}',
    ],
)
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(FormatError) as refused:
        decode(text)
    assert refused.value.next_step


def test_facts_are_plain_values_only() -> None:
    with pytest.raises(TypeError, match="'when' is a float"):
        Facts(cast("dict[str, str]", {"when": 1.5}))
    facts = Facts(size=1, name="x", yes=True)
    with pytest.raises(TypeError):
        facts.text("size")
    with pytest.raises(TypeError):
        facts.number("yes")
    with pytest.raises(TypeError):
        facts.flag("name")
    assert (facts.text("name"), facts.number("size"), facts.flag("yes"), facts.flag("no")) == ("x", 1, True, False)
