"""Things that several tests of the protocol need."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from nightwell.protocol import (
    NO_FACTS,
    BackupMode,
    CancelRequested,
    Doubted,
    EffectContext,
    Event,
    Facts,
    Failed,
    Finished,
    FoundCommitted,
    Opened,
    Problem,
    Reopened,
    Resolved,
    RestoreMode,
    Resumed,
    RunKind,
    Site,
    Started,
    Step,
    UndoFailed,
    Undone,
    UndoStarted,
)

PROBLEM = Problem("UnreachableError", "array 'a'", "an answer", "silence", "it is off", "switch it on")
OPENED = Opened("run-1", RunKind.BACKUP, Site.SOURCE, "well-7", BackupMode.DIRECT, Facts(keep_pair=False))

EVERY_EVENT: tuple[Event, ...] = (
    OPENED,
    Opened(
        "run-2", RunKind.RESTORE, Site.DESTINATION, "third", RestoreMode.VOLUME, Facts(version_id="V", size=1 << 40)
    ),
    Resumed(7, "host-1/4711"),
    Started(Step.CHECK_PAIR),
    Finished(Step.CHECK_PAIR, Facts(pair_existed=True, secondary="well-7.S", split_id=None)),
    Failed(Step.SPLIT, PROBLEM),
    Doubted(Step.REQUEST, PROBLEM),
    UndoStarted(Step.QUIESCE),
    Undone(Step.QUIESCE),
    UndoFailed(Step.EXPORT, PROBLEM),
    FoundCommitted("V", Facts(committed=True, version_id="V")),
    CancelRequested("KeyboardInterrupt"),
    Reopened("a person"),
    Resolved("a person", "withdrew the export by hand"),
)


class FakeClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class FreeHold:
    """A lease that is always held and that no journal checks."""

    owner = "test"

    def __init__(self, token: int = 1) -> None:
        self.token = token

    def check(self) -> None:
        pass


def succeed(context: EffectContext) -> Facts:
    """Succeed at every step, with the facts the tables ask for."""
    action = context.run.next()
    assert action is not None
    if action.effect is Step.CHECK_PAIR:
        return Facts(pair_existed=False, secondary_existed=False, secondary="S", pair_state="SMPL")
    if action.effect in (Step.REQUEST, Step.COMMIT):
        return Facts(version_id="V")
    return Facts(committed=False) if action.effect is Step.FENCE else NO_FACTS
