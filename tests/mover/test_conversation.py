"""The host's side against programs that behave badly, in real virtual servers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightwell.errors import FencedError, FormatError, NightwellError, UnknownOutcomeError, UnreachableError
from nightwell.mover.conversation import MoverConversation
from nightwell.mover.events import Committed, Copied, Event, Failed, Phase, Progressed, encode_event, failed
from nightwell.mover.job import BackupJob, StoreAddress
from nightwell.servers.port import ServerSpec
from nightwell.servers.process import ProcessServers
from nightwell.store import BlockStatistics, Version

Play = Callable[..., MoverConversation]

JOB = BackupJob("run-1", 1, "well-7", "array-a/well-7", "nbd://127.0.0.1/well-7", StoreAddress("http://x", "b"))
VERSION = Version(
    version_id="1",
    volume="well-7",
    size_bytes=1,
    block_bytes=4096,
    run_id="run-1",
    fencing_token=1,
    source="array-a/well-7",
    mode="split",
    split_at=None,
    split_id=None,
    committed_at=datetime(2026, 5, 1, tzinfo=UTC),
    parents=(),
    point_in_time=True,
    statistics=BlockStatistics(blocks_total=1),
    snapshot_id="s",
    fingerprint="f",
)
COPIED = Copied(VERSION.statistics, point_in_time=True)
FENCED = failed(
    FencedError("run 1", expected="the lease", found="run 2", cause="it was slow", next_step="let run 2 finish")
)
SILENT = "import time; time.sleep(600)"


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    """Run a program that reads the job, tells these events, and then does what its text says."""
    servers = ProcessServers(tmp_path)
    made: list[MoverConversation] = []

    def start(*events: Event, then: str = "", stall_timeout_s: float = 20.0) -> MoverConversation:
        lines = b"".join(encode_event(event) for event in events).decode()
        text = f"import os, sys\nsys.stdin.readline()\nsys.stdout.write({lines!r})\nsys.stdout.flush()\n{then}"
        handle = servers.produce(ServerSpec(f"vs-{len(made)}", "run-1", (sys.executable, "-c", text)))
        made.append(
            MoverConversation(handle, stall_timeout_s=stall_timeout_s, commit_timeout_s=min(stall_timeout_s, 20.0))
        )
        made[-1].start(JOB)
        return made[-1]

    yield start
    for info in servers.servers():
        servers.delete(info.server_id)
    for conversation in made:
        conversation.close()


def test_a_backup_that_goes_well(play: Play) -> None:
    seen: list[tuple[int, int]] = []
    committed = encode_event(Committed(VERSION)).decode()
    mover = play(
        Progressed(Phase.COPY, 1, 2),
        Progressed(Phase.COPY, 2, 2),
        COPIED,
        then=f"assert sys.stdin.readline() == 'commit\\n'\nsys.stdout.write({committed!r})",
    )
    assert mover.wait_copied(lambda done, total: seen.append((done, total))) == VERSION.statistics
    assert mover.commit() == VERSION
    assert seen == [(1, 2), (2, 2)]


def test_the_longest_time_without_progress_is_known_and_its_start_does_not_count(play: Play) -> None:
    words = [
        encode_event(event).decode() for event in (Progressed(Phase.COPY, 0, 2), Progressed(Phase.COPY, 1, 2), COPIED)
    ]
    pauses = (0.8, 0.4, 0.1)
    mover = play(
        then="import time\n"
        + "\n".join(
            f"time.sleep({pause_s}); sys.stdout.write({word!r}); sys.stdout.flush()"
            for pause_s, word in zip(pauses, words, strict=True)
        )
    )
    mover.wait_copied()
    assert mover.longest_stall_s >= 0.3
    quick = play(Progressed(Phase.COPY, 0, 2), COPIED)
    quick.wait_copied()
    assert quick.longest_stall_s < mover.longest_stall_s


def test_the_movers_own_error_comes_through_as_its_class(play: Play) -> None:
    with pytest.raises(FencedError) as raised:
        play(FENCED).wait_copied()
    assert raised.value.cause == "it was slow"


def test_silence_is_unreachable_before_leave_and_unknown_after_it(play: Play) -> None:
    with pytest.raises(UnreachableError, match="silence for 0 s"):
        play(then=SILENT, stall_timeout_s=0.3).wait_copied()
    mover = play(COPIED, then=SILENT, stall_timeout_s=1.0)
    mover.wait_copied()
    with pytest.raises(UnknownOutcomeError, match="silence"):
        mover.commit()


def test_an_end_without_a_word_is_told_with_its_last_words(play: Play) -> None:
    with pytest.raises(NightwellError, match=r"exit status 9; its last words: .*no such library") as raised:
        play(then="sys.stderr.write('no such library'); sys.exit(9)").wait_copied()
    assert type(raised.value) is NightwellError
    with pytest.raises(NightwellError, match="killed by signal 9") as raised:
        play(then="os.kill(os.getpid(), 9)").wait_copied()
    assert "memory" in raised.value.cause


@pytest.mark.parametrize("end", ["sys.exit(9)", "os.kill(os.getpid(), 9)"])
def test_an_end_after_leave_was_given_is_unknown(play: Play, end: str) -> None:
    mover = play(COPIED, then=f"sys.stdin.readline(); {end}")
    mover.wait_copied()
    with pytest.raises(UnknownOutcomeError):
        mover.commit()


def test_an_end_before_leave_could_be_given_is_not_unknown(play: Play) -> None:
    mover = play(COPIED, then="sys.stdin.close(); sys.exit(9)")
    mover.wait_copied()
    assert mover._handle.wait(20) == 9
    with pytest.raises(NightwellError, match="exit status 9") as raised:
        mover.commit()
    assert not isinstance(raised.value, UnknownOutcomeError)


def test_an_error_told_before_leave_could_be_given_is_that_error(play: Play) -> None:
    mover = play(COPIED, FENCED, then="sys.exit(1)")
    mover.wait_copied()
    mover._handle.wait(20)
    with pytest.raises(FencedError):
        mover.commit()


@pytest.mark.parametrize("line", ["not json", '{"event": "applause"}', '{"event": "progress", "phase": "copy"}'])
def test_what_is_no_event_is_refused(play: Play, line: str) -> None:
    with pytest.raises(FormatError, match="an event of the mover"):
        play(then=f"print({line!r}, flush=True)").wait_copied()


def test_an_event_out_of_turn_is_refused(play: Play) -> None:
    with pytest.raises(FormatError, match="expected the event Copied; found Committed"):
        play(Committed(VERSION)).wait_copied()


def test_an_error_of_an_unknown_class_is_still_an_error(play: Play) -> None:
    fields = FENCED.error.__class__("MartianError", "s", "e", "f", "c", "n")
    with pytest.raises(NightwellError, match="Likely cause: c") as raised:
        play(Failed(fields)).wait_copied()
    assert type(raised.value) is NightwellError


def test_abort_closes_the_lifeline(play: Play) -> None:
    mover = play(then="sys.stdin.read(); sys.exit(3)")
    mover.abort()
    mover.abort()
    assert mover._handle.wait(20) == 3
