"""Properties of the transitions, over random histories of every protocol."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightwell.protocol import (
    TABLES,
    CancelRequested,
    Do,
    Doubted,
    Event,
    Facts,
    Failed,
    Finished,
    FoundCommitted,
    Opened,
    Phase,
    Problem,
    ProtocolViolation,
    Reopened,
    Resolved,
    Resumed,
    Run,
    Started,
    Step,
    Undo,
    UndoFailed,
    Undone,
    UndoStarted,
    begin,
    evolve,
    replay,
)

PROBLEM = Problem("NightwellError", "subject", "expected", "found", "cause", "next")
OUTCOME = Facts(
    pair_existed=False, secondary_existed=False, secondary="S", pair_state="SMPL", version_id="v", committed=False
)
OPENINGS = [Opened("run", *key, "volume", mode) for key, table in TABLES.items() for mode in table.modes]
steps = st.sampled_from(list(Step))
events: st.SearchStrategy[Event] = st.one_of(
    steps.map(Started),
    steps.map(lambda step: Finished(step, OUTCOME)),
    steps.map(lambda step: Failed(step, PROBLEM)),
    steps.map(lambda step: Doubted(step, PROBLEM)),
    steps.map(UndoStarted),
    steps.map(lambda step: Undone(step, Facts(committed=False))),
    steps.map(lambda step: UndoFailed(step, PROBLEM)),
    st.just(FoundCommitted("v", Facts(committed=True))),
    st.just(Resumed(2, "driver")),
    st.just(CancelRequested("reason")),
    st.just(Reopened("person")),
    st.just(Resolved("person", "note")),
)


def sensible(run: Run) -> list[Event]:
    """What a correct driver may journal now, besides a cancellation or a resumption."""
    match run.next():
        case Do(step) if run.open is None:
            return [Started(step)]
        case Do(step):
            return [Finished(step, OUTCOME), Failed(step, PROBLEM), Doubted(step, PROBLEM)]
        case Undo(step) if run.open is None:
            return [] if run.waiting else [UndoStarted(step)]
        case Undo(step):
            found: list[Event] = [FoundCommitted("v", Facts(committed=True))] if step is run.table.pivot else []
            return [Undone(step, Facts(committed=False)), UndoFailed(step, PROBLEM), Doubted(step, PROBLEM), *found]
    return [Reopened("person"), Resolved("person", "note")] if run.phase is Phase.STUCK else []


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    opened = draw(st.sampled_from(OPENINGS))
    history: list[Event] = [opened]
    run = begin(opened)
    for _ in range(draw(st.integers(0, 60))):
        choices = sensible(run)
        if run.is_open:
            choices = [*choices * 4, Resumed(2, "driver"), CancelRequested("reason")]
        if not choices:
            break
        history.append(draw(st.sampled_from(choices)))
        run = evolve(run, history[-1])
    return history


@given(histories())
def test_replaying_a_history_gives_the_run_that_made_it(history: list[Event]) -> None:
    assert isinstance(history[0], Opened)
    run = begin(history[0])
    for event in history[1:]:
        run = evolve(run, event)
    assert replay(history) == run
    assert run.sequence == len(history)


@given(histories(), events)
def test_what_is_not_next_is_refused_by_name(history: list[Event], event: Event) -> None:
    run = replay(history)
    outside: tuple[type, ...] = (Resumed, CancelRequested) if run.is_open else ()
    if event in sensible(run) or isinstance(event, outside):
        assert evolve(run, event).sequence == run.sequence + 1
        return
    with pytest.raises(ProtocolViolation) as refused:
        evolve(run, event)
    assert repr(event)[:40] in refused.value.found
    assert run.phase in refused.value.expected
    action = run.next()
    if action is not None:
        assert action.step in refused.value.expected


@given(histories())
def test_after_the_pivot_nothing_is_undone(history: list[Event]) -> None:
    run = replay(history)
    assert not (run.committed and run.phase in (Phase.REVERTING, Phase.REVERTED))
    assert not (run.phase is Phase.DONE and not run.committed)
    assert bool(run.to_undo) == (run.phase is Phase.REVERTING)


@given(histories())
def test_an_ended_run_stays_ended(history: list[Event]) -> None:
    run = replay(history)
    if run.phase not in (Phase.DONE, Phase.REVERTED):
        return
    assert run.next() is None
    for event in (Resumed(3, "x"), CancelRequested("x"), Reopened("x"), Resolved("x", "y"), Started(Step.SPLIT)):
        with pytest.raises(ProtocolViolation):
            evolve(run, event)


def test_an_opening_comes_first_and_once() -> None:
    with pytest.raises(ProtocolViolation):
        evolve(begin(OPENINGS[0]), OPENINGS[0])
    with pytest.raises(ValueError, match="begins with Opened"):
        replay([Started(Step.SPLIT)])
    with pytest.raises(ValueError, match="at least Opened"):
        replay([])


def test_a_mode_that_the_protocol_lacks_is_refused() -> None:
    with pytest.raises(KeyError):
        begin(replace(OPENINGS[0], mode=OPENINGS[-1].mode))


def test_an_answer_that_was_recorded_cannot_change() -> None:
    checked = (Started(Step.CHECK_PAIR), Finished(Step.CHECK_PAIR, OUTCOME))
    run = replay([OPENINGS[0], *checked, Started(Step.CREATE_SECONDARY)])
    with pytest.raises(ProtocolViolation, match="'pair_existed' was recorded as False and cannot become True"):
        evolve(run, Finished(Step.CREATE_SECONDARY, Facts(pair_existed=True)))


def test_nothing_is_created_before_the_answers_are_recorded() -> None:
    run = replay([OPENINGS[0], Started(Step.CHECK_PAIR)])
    for missing in ("pair_existed", "secondary_existed", "secondary", "pair_state"):
        facts = Facts({name: value for name, value in OUTCOME.items() if name != missing})
        with pytest.raises(ProtocolViolation, match=f"must record '{missing}'"):
            evolve(run, Finished(Step.CHECK_PAIR, facts))


def test_a_stuck_cleanup_is_tried_again_alone() -> None:
    opened = next(o for o in OPENINGS if o.mode == "direct" and o.site == "source")
    history: list[Event] = [opened]
    for step in (Step.EXPORT, Step.REQUEST):
        history += [Started(step), Finished(step, OUTCOME)]
    history += [Started(Step.WITHDRAW_EXPORT), Failed(Step.WITHDRAW_EXPORT, PROBLEM)]
    stuck = replay(history)
    assert (stuck.phase, stuck.committed, stuck.next()) == (Phase.STUCK, True, None)
    again = evolve(stuck, Reopened("person"))
    assert again.next() == Do(Step.WITHDRAW_EXPORT)
    done = evolve(evolve(again, Started(Step.WITHDRAW_EXPORT)), Finished(Step.WITHDRAW_EXPORT))
    assert (done.phase, done.leftovers) == (Phase.DONE, ())


def test_a_stuck_undo_is_tried_again_in_order() -> None:
    opened = next(o for o in OPENINGS if o.site == "destination" and o.kind == "backup")
    history: list[Event] = [opened]
    for step in (Step.IMPORT, Step.PRODUCE):
        history += [Started(step), Finished(step)]
    history += [CancelRequested("x"), UndoStarted(Step.PRODUCE), UndoFailed(Step.PRODUCE, PROBLEM)]
    history += [UndoStarted(Step.IMPORT), UndoFailed(Step.IMPORT, PROBLEM)]
    stuck = replay(history)
    assert [leftover.by for leftover in stuck.leftovers] == [Step.DELETE_SERVER, Step.RELEASE_IMPORT]
    assert evolve(stuck, Reopened("person")).to_undo == (Step.PRODUCE, Step.IMPORT)
    resolved = evolve(stuck, Resolved("person", "by hand"))
    assert (resolved.phase, resolved.resolved_by) == (Phase.REVERTED, "person")
