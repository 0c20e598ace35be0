"""A commit's outcome is never guessed, runs are fenced, and a commit is one step."""

from __future__ import annotations

from collections.abc import Iterator

import icechunk
import pytest
from backups import BLOCK_BYTES, VOLUME, back_up, contents, draft, random_bytes
from fault_proxy import Fault, FaultProxy, Request, fault_proxy
from memory_volume import MemoryVolume

from nightwell.errors import ConflictError, FencedError, UnknownOutcomeError
from nightwell.store import BackupStore, StoreLocation
from nightwell.store.engine import Engine
from nightwell.store.pipeline import ingest

_DATA = random_bytes(6 * BLOCK_BYTES)


@pytest.fixture
def proxy(location: StoreLocation) -> Iterator[FaultProxy]:
    with fault_proxy(location) as running:
        yield running


@pytest.fixture
def proxied(proxy: FaultProxy) -> Iterator[BackupStore]:
    with BackupStore.open(proxy.location, create=True) as store:
        back_up(store, _DATA, draft(len(_DATA), "run-0", block_bytes=BLOCK_BYTES))
        yield store


def _moves_branch(request: Request) -> bool:
    return request.method == "PUT" and "branch.main" in request.path


@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.DONE_500, Fault.DONE_400])
def test_a_commit_answered_by_an_error_although_it_succeeded_is_a_success(
    proxied: BackupStore, proxy: FaultProxy, fault: Fault
) -> None:
    hits: list[Request] = []

    def once(request: Request) -> Fault:
        if _moves_branch(request) and not hits:
            hits.append(request)
            return fault
        return Fault.NONE

    proxy.plan = once
    version = back_up(proxied, _DATA[::-1].copy(), draft(len(_DATA), "run-1"))
    assert len(hits) == 1
    assert [known.run_id for known in proxied.versions(VOLUME)] == ["run-0", "run-1"]
    assert proxied.find_version(VOLUME, "latest") == version
    assert (contents(proxied, version) == _DATA[::-1]).all()


def test_a_commit_that_never_arrives_is_unknown_and_the_run_can_ask_again(
    proxied: BackupStore, proxy: FaultProxy, location: StoreLocation
) -> None:
    def dead_from_the_commit_on(request: Request) -> Fault:
        dead.extend([request] if _moves_branch(request) else [])
        return Fault.UNDONE_400 if dead else Fault.NONE

    dead: list[Request] = []
    writer = proxied.begin(draft(len(_DATA), "run-1"))
    statistics = ingest(MemoryVolume(_DATA[::-1].copy()), writer)
    proxy.plan = dead_from_the_commit_on
    with pytest.raises(UnknownOutcomeError, match="run 'run-1'"):
        writer.commit(statistics)
    writer.abort()  # keeps the packs: the commit may yet have happened
    proxy.plan = lambda _request: Fault.NONE
    with BackupStore.open(location) as direct:
        assert direct.version_of_run(VOLUME, "run-1") is None
        assert len(direct.orphans(VOLUME)) == 1
        version = writer.commit(statistics)
        assert direct.version_of_run(VOLUME, "run-1") == version
        assert direct.verify(version).ok
        assert direct.orphans(VOLUME) == ()


def test_a_commit_done_and_then_silence_is_unknown_and_reads_back_as_done(
    proxied: BackupStore, proxy: FaultProxy, location: StoreLocation
) -> None:
    done: list[Request] = []

    def done_then_dead(request: Request) -> Fault:
        if _moves_branch(request) and not done:
            done.append(request)
            return Fault.DONE_400
        return Fault.UNDONE_400 if done else Fault.NONE

    writer = proxied.begin(draft(len(_DATA), "run-1"))
    statistics = ingest(MemoryVolume(_DATA[::-1].copy()), writer)
    proxy.plan = done_then_dead
    with pytest.raises(UnknownOutcomeError):
        writer.commit(statistics)
    proxy.plan = lambda _request: Fault.NONE
    with BackupStore.open(location) as direct:
        version = direct.version_of_run(VOLUME, "run-1")
        assert version is not None
        assert writer.commit(statistics) == version
        assert [known.run_id for known in direct.versions(VOLUME)] == ["run-0", "run-1"]


def test_the_same_run_commits_once(store: BackupStore) -> None:
    made_of = draft(len(_DATA), "run-1", block_bytes=BLOCK_BYTES)
    writer = store.begin(made_of)
    statistics = ingest(MemoryVolume(_DATA), writer)
    first = writer.commit(statistics)
    assert writer.commit(statistics) == first
    assert back_up(store, _DATA, made_of) == first
    assert len(store.versions(VOLUME)) == 1


def test_a_run_that_lost_its_lease_is_fenced_at_begin_and_at_commit(store: BackupStore) -> None:
    size = len(_DATA)
    slow = store.begin(draft(size, "slow", token=1, block_bytes=BLOCK_BYTES))
    statistics = ingest(MemoryVolume(_DATA), slow)
    newer = back_up(store, _DATA, draft(size, "newer", token=2, block_bytes=BLOCK_BYTES))
    with pytest.raises(FencedError, match="token 2"):
        slow.commit(statistics)
    with pytest.raises(FencedError, match="lost its lease"):
        store.begin(draft(size, "slow", token=1))
    assert store.versions(VOLUME) == (newer,)


def test_two_runs_that_race_to_commit_leave_one_version(store: BackupStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run commits between the first one's last look and its conditional write."""
    size = len(_DATA)
    first = store.begin(draft(size, "first", token=1))
    statistics = ingest(MemoryVolume(_DATA), first)
    original = icechunk.Session.commit
    rivals = [2]

    def overtaken(session: icechunk.Session, *args: object, **kwargs: object) -> str:
        if rivals:
            token = rivals.pop()
            back_up(store, _DATA[::-1].copy(), draft(size, f"rival-{token}", token=token))
        return str(original(session, *args, **kwargs))  # type: ignore[arg-type]  # passed through as it came

    monkeypatch.setattr(icechunk.Session, "commit", overtaken)
    with pytest.raises(FencedError):
        first.commit(statistics)
    second = store.begin(draft(size, "second", token=3))
    rivals.append(3)
    statistics = ingest(MemoryVolume(_DATA), second)
    with pytest.raises(ConflictError, match="another run committed"):
        second.commit(statistics)
    runs = [version.run_id for version in store.versions(VOLUME)]
    assert runs == ["rival-2", "rival-3"]


def test_a_tag_that_a_crash_left_out_is_completed(store: BackupStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "ensure_tag", lambda _engine, _version: None)
        version = back_up(store, _DATA, draft(len(_DATA), "run-1", block_bytes=BLOCK_BYTES))
    engine = Engine(store._objects, VOLUME)
    engine.open()
    assert engine.tags() == set()
    with BackupStore.open(store.location) as again:
        assert again.versions(VOLUME) == (version,)
    assert engine.tags() == {version.tag}


def test_abort_deletes_the_attempts_own_packs_and_no_others(store: BackupStore) -> None:
    size = len(_DATA)
    kept = back_up(store, _DATA, draft(size, "run-1", block_bytes=BLOCK_BYTES))
    writer = store.begin(draft(size, "run-2"))
    ingest(MemoryVolume(_DATA[::-1].copy()), writer)
    assert len(store.orphans(VOLUME)) == 1
    writer.abort()
    assert store.orphans(VOLUME) == ()
    assert store.verify(kept).ok
