from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.samples import OPENED, FakeClock

from nightwell.errors import BusyError, FencedError, NotFoundError, UnreachableError
from nightwell.protocol import CancelRequested, Journal, Keeper, Lease, Leases, keep_alive


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal.db", clock=clock) as opened:
        yield opened


@pytest.fixture
def leases(journal: Journal, clock: FakeClock) -> Leases:
    return Leases(journal.database, clock=clock)


def acquire(leases: Leases, run_id: str = "run-1", volume: str = "well-7") -> Lease:
    return leases.acquire(volume, run_id, owner="host-1/1", ttl_s=30)


def test_a_busy_volume_names_its_run_and_until_when(leases: Leases) -> None:
    acquire(leases)
    with pytest.raises(BusyError) as busy:
        acquire(leases, "run-2")
    assert "run 'run-1' of host-1/1" in busy.value.found
    assert "until 2026-01-01T00:00:30+00:00" in busy.value.found
    assert acquire(leases, "run-2", "well-8").token == 1


def test_the_same_run_is_not_driven_twice(leases: Leases) -> None:
    acquire(leases)
    with pytest.raises(BusyError):
        acquire(leases)


def test_tokens_only_go_up_also_over_a_release(leases: Leases, clock: FakeClock) -> None:
    tokens = []
    for number in range(4):
        lease = acquire(leases, f"run-{number}")
        tokens.append(lease.token)
        leases.release(lease)
        leases.release(lease)
    lease = acquire(leases, "run-9")
    tokens.append(lease.token)
    clock.advance(31)
    claimed = leases.claim_lapsed("well-7", owner="recovery", ttl_s=30)
    assert claimed is not None
    tokens += [claimed.token, leases.seize("well-7", "run-9", owner="fence", ttl_s=30).token]
    assert tokens == sorted(set(tokens))


def test_renewing_holds_the_volume(leases: Leases, clock: FakeClock) -> None:
    lease = acquire(leases)
    for _ in range(5):
        clock.advance(20)
        lease = leases.renew(lease)
    assert leases.lapsed() == ()
    assert leases.holder("well-7").run_id == "run-1"


def test_only_a_lapsed_lease_is_claimed_and_only_once(leases: Leases, clock: FakeClock) -> None:
    lease = acquire(leases)
    assert leases.claim_lapsed("well-7", owner="early", ttl_s=30) is None
    clock.advance(31)
    assert [(lapsed.volume, lapsed.run_id) for lapsed in leases.lapsed()] == [("well-7", "run-1")]
    claimed = leases.claim_lapsed("well-7", owner="recovery", ttl_s=30)
    assert claimed is not None
    assert (claimed.run_id, claimed.token) == ("run-1", lease.token + 1)
    assert leases.claim_lapsed("well-7", owner="late", ttl_s=30) is None
    with pytest.raises(FencedError):
        leases.renew(lease)
    leases.release(lease)  # the old holder cannot give away what it no longer has
    assert leases.holder("well-7").owner == "recovery"


def test_a_dead_holders_lease_is_claimed_before_it_lapses_and_only_once(leases: Leases) -> None:
    lease = acquire(leases)
    assert leases.claim_lapsed("well-7", owner="early", ttl_s=30, dead_owner="somebody else") is None
    claimed = leases.claim_lapsed("well-7", owner="recovery", ttl_s=30, dead_owner=lease.owner)
    assert claimed is not None
    # The other recovery looked at the same moment, and still believes that the dead one has it.
    assert leases.claim_lapsed("well-7", owner="late", ttl_s=30, dead_owner=lease.owner) is None
    assert leases.holder("well-7").owner == "recovery"


def test_a_lapsed_lease_does_not_free_a_volume_whose_run_is_open(
    journal: Journal, leases: Leases, clock: FakeClock
) -> None:
    run = journal.open_run(OPENED, token=acquire(leases).token)
    clock.advance(31)
    with pytest.raises(BusyError, match="nightwell recover"):
        acquire(leases, "run-2")
    recovered = acquire(leases)  # a recovery takes it up under its own id
    journal.append(run, CancelRequested("x"), token=recovered.token)
    clock.advance(31)
    assert acquire(leases, "run-2").token == recovered.token + 1


def test_an_open_run_keeps_its_volume_without_a_lease(journal: Journal, leases: Leases) -> None:
    lease = acquire(leases)
    journal.open_run(OPENED, token=lease.token)
    leases.release(lease)  # as after a run that waits for the other site
    with pytest.raises(BusyError, match="run-1"):
        acquire(leases, "run-2")
    assert acquire(leases).token == 2


def test_seizing_takes_a_run_from_its_live_driver_but_not_another_run(leases: Leases) -> None:
    lease = acquire(leases)
    with pytest.raises(BusyError):
        leases.seize("well-7", "run-2", owner="fence", ttl_s=30)
    seized = leases.seize("well-7", "run-1", owner="fence", ttl_s=30)
    assert seized.token == lease.token + 1
    with pytest.raises(FencedError):
        leases.renew(lease)
    assert leases.seize("well-8", "run-2", owner="fence", ttl_s=30).token == 1


def test_a_volume_that_nobody_holds_has_no_holder(leases: Leases) -> None:
    with pytest.raises(NotFoundError):
        leases.holder("well-7")
    leases.release(acquire(leases))
    with pytest.raises(NotFoundError):
        leases.holder("well-7")


RACER = """
import sys
from nightwell.errors import BusyError
from nightwell.protocol import Database, Leases

leases = Leases(Database(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
won = []
for volume in range(40):
    try:
        won.append(f"{volume}:{leases.acquire(f'well-{volume}', sys.argv[2], owner=sys.argv[2], ttl_s=60).token}")
    except BusyError:
        pass
print(" ".join(won), flush=True)
"""


def test_of_two_processes_one_gets_each_volume(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for name in ("run-a", "run-b")
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"  # both have prepared the same new database
    won: list[set[str]] = []
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        won.append(set(racer.communicate(timeout=60)[0].split()))
        assert racer.returncode == 0
    assert not won[0] & won[1]
    assert won[0] | won[1] == {f"{volume}:1" for volume in range(40)}


def test_threads_racing_for_one_lapsed_lease_give_one_winner(leases: Leases, clock: FakeClock) -> None:
    acquire(leases)
    clock.advance(31)
    claimed: list[Lease | None] = []
    start = threading.Barrier(4)

    def claim(name: str) -> None:
        start.wait()
        claimed.append(leases.claim_lapsed("well-7", owner=name, ttl_s=30))

    threads = [threading.Thread(target=claim, args=(f"recovery-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len([lease for lease in claimed if lease is not None]) == 1


def test_keeping_alive_renews_and_stops(leases: Leases, clock: FakeClock) -> None:
    lease = acquire(leases)
    with keep_alive(leases, lease, interval_s=0.01) as keeper:
        clock.advance(20)
        for _ in range(500):
            if keeper.lease.expires_at > lease.expires_at:
                break
            threading.Event().wait(0.01)
        clock.advance(15)  # past the first lease's end
        keeper.check()
    assert not any(thread.name == "lease-well-7" for thread in threading.enumerate())
    assert leases.holder("well-7").run_id == "run-1"


def test_a_lost_lease_is_told(leases: Leases) -> None:
    lease = acquire(leases)
    with keep_alive(leases, lease, interval_s=0.01) as keeper:
        leases.seize("well-7", "run-1", owner="fence", ttl_s=30)
        assert keeper.lost.wait(timeout=10)
        with pytest.raises(FencedError, match="another holder"):
            keeper.check()


def test_a_lease_that_was_not_renewed_in_time_stops_its_driver(
    leases: Leases, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(leases, acquire(leases))

    def silent(_: Lease) -> Lease:
        raise UnreachableError("journal", expected="", found="", cause="", next_step="")

    monkeypatch.setattr(leases, "renew", silent)
    assert keeper.renew()  # the database may come back
    keeper.check()
    clock.advance(31)
    with pytest.raises(FencedError, match="lapsed at"):
        keeper.check()
