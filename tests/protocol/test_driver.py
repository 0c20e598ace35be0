"""The driver's own manners: what it journals when, and what it does with each way an effect can end."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from protocol.samples import OPENED, PROBLEM, FakeClock, succeed

from nightwell.errors import ConflictError, FencedError, UnknownOutcomeError, UnreachableError
from nightwell.protocol import (
    NO_FACTS,
    BackupMode,
    CancelRequested,
    Effect,
    EffectContext,
    Event,
    Facts,
    FoundCommitted,
    Journal,
    Keeper,
    Leases,
    Opened,
    Phase,
    Run,
    Started,
    Step,
    UndoFailed,
    UndoStarted,
    cancel,
    drive,
    fence_outcome,
    remedies,
    replay,
    request_outcome,
    verdict,
)
from nightwell.protocol.shield import shielded


class Site:
    """One site's journal, a lease on the volume, and effects that succeed unless a test replaces them."""

    def __init__(self, journal: Journal, clock: FakeClock) -> None:
        self.journal = journal
        self.clock = clock
        self.leases = Leases(journal.database, clock=clock)
        self.keeper = Keeper(self.leases, self.leases.acquire("well-7", "run-1", owner="driver", ttl_s=30))
        self.effects: dict[Step, Effect] = dict.fromkeys(Step, succeed)
        self.called: list[Step] = []

    def open(self, opened: Opened = OPENED) -> None:
        self.journal.open_run(opened, token=self.keeper.token)

    def drive(self, **given: Callable[[EffectContext], Facts]) -> Run:
        self.effects.update({Step(name): effect for name, effect in given.items()})
        return drive(self.journal, "run-1", self.effects, lease=self.keeper)

    def events(self) -> list[Event]:
        return [recorded.event for recorded in self.journal.events("run-1")]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    clock = FakeClock()
    with Journal.open(tmp_path / "journal.db", clock=clock) as journal:
        opened = Site(journal, clock)
        opened.open()
        yield opened


def unreachable(_: EffectContext) -> Facts:
    raise UnreachableError(
        "destination", expected="an answer", found="silence", cause="line 2 is cut", next_step="wait"
    )


def unknown(_: EffectContext) -> Facts:
    raise UnknownOutcomeError("destination", expected="a reply", found="none", cause="line 2 is cut", next_step="wait")


def conflict(_: EffectContext) -> Facts:
    raise ConflictError("export", expected="none", found="one", cause="another run", next_step="withdraw it")


def test_started_is_durable_before_the_effect_begins(site: Site) -> None:
    seen: list[Event] = []

    def look(context: EffectContext) -> Facts:
        with Journal.open(site.journal.database.url) as another:
            seen.append(another.events("run-1")[-1].event)
        return succeed(context)

    site.drive(export=look)
    assert seen == [Started(Step.EXPORT)]


def test_facts_are_handed_on(site: Site) -> None:
    handed: list[Facts] = []

    def request(context: EffectContext) -> Facts:
        handed.append(context.facts)
        assert (context.token, context.attempt, context.undo, context.run_id) == (1, 1, False, "run-1")
        return Facts(version_id="V")

    run = site.drive(export=lambda _: Facts(url="nbd://a/b"), request=request)
    assert handed == [Facts(keep_pair=False, url="nbd://a/b")]
    assert (run.phase, run.version_id) == (Phase.DONE, "V")


def test_an_error_takes_the_run_back_and_keeps_its_words(site: Site) -> None:
    run = site.drive(request=conflict)
    assert run.phase is Phase.REVERTED
    assert run.failure is not None
    assert isinstance(run.failure.as_error(), ConflictError)
    assert "failed (one); no version was made" in verdict(run)


def test_an_error_of_no_known_kind_is_described_as_a_defect(site: Site) -> None:
    run = site.drive(export=lambda _: Facts(version_id=1 // 0))
    assert run.failure is not None
    assert (run.failure.error, run.failure.found) == ("ZeroDivisionError", "integer division or modulo by zero")


def test_an_effect_that_does_not_answer_as_it_must_has_failed(site: Site) -> None:
    run = site.drive(request=lambda _: NO_FACTS)
    assert run.phase is Phase.REVERTED
    assert run.failure is not None
    assert run.failure.found == "request must record 'version_id' as str"


def test_a_lost_reply_is_asked_for_again_and_then_fenced(site: Site) -> None:
    pauses: list[int] = []
    site.effects[Step.REQUEST] = unknown
    run = drive(site.journal, "run-1", site.effects, lease=site.keeper, pause=pauses.append)
    assert (run.attempts(Step.REQUEST), pauses, run.phase) == (3, [1, 2], Phase.REVERTED)


def test_a_version_that_the_fence_finds_turns_the_run_forward(site: Site) -> None:
    run = site.drive(request=unknown, fence=lambda _: Facts(committed=True, version_id="V"))
    assert (run.phase, run.version_id, run.failure) == (Phase.DONE, "V", None)
    assert FoundCommitted("V", Facts(committed=True, version_id="V")) in site.events()
    assert verdict(run) == "backup safe as version V"


@pytest.mark.parametrize("silent", [unreachable, unknown])
def test_a_fence_without_an_answer_waits_with_everything_in_place(site: Site, silent: Effect) -> None:
    run = site.drive(request=conflict, fence=silent)
    assert (run.phase, run.waiting, run.to_undo) == (Phase.REVERTING, True, (Step.REQUEST, Step.EXPORT))
    assert "recovery goes on by itself" in verdict(run)
    for _ in range(5):
        run = site.drive()
        assert run.waiting
    run = site.drive(fence=lambda _: Facts(committed=False))
    assert run.phase is Phase.REVERTED


def test_a_fence_that_is_refused_leaves_the_question_to_a_person(site: Site) -> None:
    run = site.drive(request=unknown, fence=conflict)
    assert run.phase is Phase.STUCK
    assert remedies(run) == ("end run run-1 at the destination, and see whether it committed a version of well-7",)


def test_a_cleanup_that_fails_names_the_version_and_what_is_owed(site: Site) -> None:
    run = site.drive(withdraw_export=conflict)
    assert (run.phase, run.committed) == (Phase.STUCK, True)
    assert verdict(run) == (
        "backup safe as version V, cleanup owed: withdraw the export that run run-1 made at the source array"
    )


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interruption_takes_the_run_back_and_goes_on_up(site: Site, kind: type[BaseException]) -> None:
    def interrupted(_: EffectContext) -> Facts:
        raise kind

    with pytest.raises(kind):
        site.drive(request=interrupted)
    run = site.journal.load("run-1")
    assert (run.phase, run.cancelled) == (Phase.REVERTED, True)
    assert CancelRequested(kind.__name__) in site.events()
    assert verdict(run) == "cancelled; no version was made"


def test_an_interruption_after_the_pivot_still_cleans_up(site: Site) -> None:
    calls: list[int] = []

    def interrupted_once(_: EffectContext) -> Facts:
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return NO_FACTS

    with pytest.raises(KeyboardInterrupt):
        site.drive(withdraw_export=interrupted_once)
    assert (len(calls), site.journal.load("run-1").phase) == (2, Phase.DONE)


def test_a_second_interruption_leaves_the_rest_to_recovery(site: Site) -> None:
    def interrupted(_: EffectContext) -> Facts:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site.drive(request=interrupted, fence=interrupted)
    assert site.events()[-1] == UndoStarted(Step.REQUEST)
    assert site.drive(fence=lambda _: Facts(committed=False)).phase is Phase.REVERTED


def test_a_signal_during_the_undoing_is_delivered_after_it(site: Site) -> None:
    def terminated(_: EffectContext) -> Facts:
        os.kill(os.getpid(), signal.SIGINT)
        return Facts(committed=False)

    def interrupted(_: EffectContext) -> Facts:
        raise SystemExit(3)

    with pytest.raises(KeyboardInterrupt):
        site.drive(request=interrupted, fence=terminated)
    assert site.journal.load("run-1").phase is Phase.REVERTED


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with shielded():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=10)
    assert seen == [before]
    with shielded():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_lost_lease_stops_before_the_next_effect(site: Site) -> None:
    def fenced_meanwhile(_: EffectContext) -> Facts:
        site.leases.seize("well-7", "run-1", owner="fence", ttl_s=30)
        return NO_FACTS

    with pytest.raises(FencedError):
        site.drive(export=fenced_meanwhile, request=conflict)
    assert site.events()[-1] == Started(Step.EXPORT)


def test_a_lapsed_lease_stops_before_the_next_effect(site: Site) -> None:
    def slow(_: EffectContext) -> Facts:
        site.clock.advance(31)
        return NO_FACTS

    with pytest.raises(FencedError, match="lapsed"):
        site.drive(export=slow, request=conflict)
    assert not any(isinstance(event, Started) and event.step is Step.REQUEST for event in site.events())


def test_a_store_that_fences_a_run_with_a_valid_lease_fails_it(site: Site) -> None:
    def fenced(_: EffectContext) -> Facts:
        raise FencedError("version", expected="token 9", found="token 1", cause="a later run", next_step="none")

    run = site.drive(request=fenced)
    assert run.phase is Phase.REVERTED
    assert run.failure is not None
    assert run.failure.error == "FencedError"


def test_a_missing_effect_is_refused_before_anything_is_journaled(site: Site) -> None:
    del site.effects[Step.FENCE]
    with pytest.raises(ValueError, match="no effect given for fence of backup/source"):
        site.drive()
    assert site.events() == [OPENED]


def test_a_watcher_that_fails_changes_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    def broken(run: Run, event: Event) -> None:
        raise RuntimeError("display")

    run = drive(site.journal, "run-1", site.effects, lease=site.keeper, on_event=broken)
    assert run.phase is Phase.DONE
    assert "what watches run 'run-1' failed" in caplog.text


def test_an_undo_that_fails_lets_the_others_run(site: Site, tmp_path: Path) -> None:
    clock = FakeClock()
    with Journal.open(tmp_path / "split.db", clock=clock) as journal:
        split = Site(journal, clock)
        split.open(replace(OPENED, mode=BackupMode.SPLIT))
        run = split.drive(export=conflict, delete_pair=conflict)
        assert run.phase is Phase.STUCK
        assert [leftover.by for leftover in run.leftovers] == [Step.DELETE_PAIR]
        undone = [event.step for event in split.events() if isinstance(event, UndoStarted)]
        assert undone == [Step.EXPORT, Step.CREATE_PAIR, Step.CREATE_SECONDARY]
        assert sum(isinstance(event, UndoFailed) for event in split.events()) == 1


def test_cancelling_a_run_that_never_began_refuses_its_request(site: Site) -> None:
    run = cancel(site.journal, site.journal.load("run-1"), "fenced", lease=site.keeper)
    assert run.phase is Phase.REVERTED
    assert cancel(site.journal, run, "again", lease=site.keeper) == run
    assert fence_outcome(run) == Facts(committed=False)
    with pytest.raises(ConflictError, match="was cancelled"):
        request_outcome(run)


def test_a_run_under_way_answers_that_it_cannot_tell_yet(site: Site) -> None:
    run = site.journal.load("run-1")
    for ask in (request_outcome, fence_outcome):
        with pytest.raises(UnknownOutcomeError, match="has ended"):
            ask(run)


def test_a_failed_request_comes_back_with_its_own_error() -> None:
    failed = replace(replay([OPENED]), phase=Phase.REVERTED, failure=PROBLEM)
    with pytest.raises(UnreachableError, match="switch it on"):
        request_outcome(failed)


def test_a_run_can_be_handed_to_another_process(site: Site) -> None:
    facts = site.drive().facts
    assert pickle.loads(pickle.dumps(facts)) == facts
