"""The protocol against every schedule of up to two faults, in a model of both sites."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from protocol.machines import Before, Case
from protocol.mutants import MUTANTS, Mutant
from protocol.schedules import CASES, Ending, finish, schedules
from protocol.world import Kind

from nightwell.protocol import BackupMode, Facts, Phase, RunKind
from nightwell.protocol.tables import PAIR_GOES, PAIR_STAYS, SECONDARY_GOES

CORE = (Kind.CRASH_BEFORE, Kind.CRASH_BETWEEN, Kind.CRASH_AFTER, Kind.ERROR_BEFORE, Kind.ERROR_AFTER)

# The short protocols take every kind of fault twice.
SHORT_CASES = tuple(case for case in CASES if case.mode is BackupMode.DIRECT or case.kind is RunKind.RESTORE)

# `keep` changes nothing when the pair existed, which a test below shows; so two faults need not be tried on both.
LONG_CASES = tuple(
    case for case in CASES if case not in SHORT_CASES and not (case.keep and case.before is not Before.NOTHING)
)


def account(endings: Iterable[Ending]) -> Counter[str]:
    """Check every schedule and count how they ended."""
    ended: Counter[str] = Counter()
    for ending in endings:
        wrongs = ending.wrongs()
        plan = [(str(ending.world.points[index]), str(kind)) for index, kind in ending.plan.items()]
        assert wrongs == [], f"{ending.case}: {plan}"
        assert ending.source is not None
        ended[ending.source.phase] += 1
    return ended


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_fault_of_any_kind_leaves_everything_accounted_for(case: Case) -> None:
    ended = account(schedules(case, faults=1))
    assert ended.total() > 70, "the model offers fewer places for a fault than the protocol has"


@pytest.mark.parametrize("case", LONG_CASES, ids=str)
def test_two_crashes_or_errors_leave_everything_accounted_for(case: Case) -> None:
    ended = account(schedules(case, faults=2, kinds=CORE))
    assert ended.total() > 1_400, "the model offers fewer pairs of places than the protocol has"
    assert ended.keys() == {Phase.DONE, Phase.REVERTED, Phase.STUCK}


@pytest.mark.parametrize("case", SHORT_CASES, ids=str)
def test_two_faults_of_any_kind_leave_everything_accounted_for(case: Case) -> None:
    ended = account(schedules(case, faults=2))
    assert ended.total() > 3_000


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mistake_in_the_protocol_is_found(mutant: Mutant) -> None:
    with mutant.patched():
        tried = (ending for case in mutant.cases for ending in schedules(case, mutant.tables, faults=mutant.faults))
        assert any(ending.wrongs() for ending in tried), "no schedule shows the mistake"


def test_keeping_the_pair_changes_nothing_when_it_existed() -> None:
    for guard in (PAIR_STAYS, PAIR_GOES, SECONDARY_GOES):
        kept, not_kept = (Facts(pair_existed=True, secondary_existed=True, keep_pair=keep) for keep in (True, False))
        assert guard.holds(kept) == guard.holds(not_kept)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_without_faults_every_case_is_done_and_nothing_is_undone(case: Case) -> None:
    ending = finish(case, {})
    assert ending.wrongs() == []
    assert ending.source is not None
    assert ending.source.phase is Phase.DONE
    assert not any(point.undo for point in ending.world.points)
