"""The age of the newest good version of each volume against its target, from real versions in a real store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from backups import Data, back_up, draft, random_bytes
from s3 import fresh_prefix

from nightwell.errors import UnreachableError
from nightwell.settings import BackupSettings, Settings, StoreSettings
from nightwell.sites.recovery_points import Timeliness, in_words, points_of, recovery_points
from nightwell.store import BackupStore, StoreLocation, Version
from nightwell.store.layout import VOLUMES_KEY, packs_key

DATA = random_bytes(8192)
BACKUP = BackupSettings(rpo_hours=26, rpo_hours_of={"busy": 4})
HOUR = timedelta(hours=1)


@pytest.fixture
def location(moto_server: StoreLocation) -> StoreLocation:
    return fresh_prefix(moto_server)


@pytest.fixture
def store(location: StoreLocation) -> Iterator[BackupStore]:
    with BackupStore.open(location, create=True) as opened:
        yield opened


def version(
    store: BackupStore,
    volume: str,
    run_id: str,
    *,
    split_at: datetime | None = None,
    point_in_time: bool = True,
    data: Data = DATA,
) -> Version:
    made_of = draft(len(data), run_id, volume=volume, block_bytes=4096)
    return back_up(store, data, replace(made_of, split_at=split_at, point_in_time=point_in_time))


def test_each_volume_stands_against_its_own_target_and_the_worst_comes_first(store: BackupStore) -> None:
    now = datetime.now(UTC)
    for volume in ("busy", "calm"):
        version(store, volume, "run-1", split_at=now - 30 * HOUR)
        newest = version(store, volume, "run-2", split_at=now - 5 * HOUR)
    points = points_of(store, BACKUP, volumes={"calm", "promised"}, now=now)
    assert [(p.volume, p.timeliness) for p in points] == [
        ("promised", Timeliness.NEVER),
        ("busy", Timeliness.LATE),
        ("calm", Timeliness.IN_TIME),
    ]
    calm = points[-1]
    assert (calm.version_id, calm.target_s) == (newest.version_id, 26 * 3600)
    assert calm.taken_at == now - 5 * HOUR
    assert calm.age_s == 5 * 3600
    assert points[1].target_s == 4 * 3600
    (late, _) = points_of(store, BACKUP, now=now + 30 * HOUR)[:2]
    assert late.age_s == 35 * 3600


def test_a_version_that_the_host_wrote_into_is_passed_over(store: BackupStore) -> None:
    good = version(store, "disk", "run-1")
    version(store, "disk", "run-2", point_in_time=False)
    version(store, "torn", "run-1", point_in_time=False)
    torn, disk = points_of(store, BACKUP, now=datetime.now(UTC))
    assert (disk.version_id, disk.torn) == (good.version_id, 1)
    assert (torn.version_id, torn.torn, torn.timeliness) == ("", 1, Timeliness.NONE_GOOD)


def test_a_version_that_failed_its_verification_ages_the_recovery_point(store: BackupStore) -> None:
    now = datetime.now(UTC)
    good = version(store, "disk", "run-1", split_at=now - 30 * HOUR)
    bad = version(store, "disk", "run-2", split_at=now - HOUR, data=random_bytes(8192, 2))
    (pack,) = (one.key for one in store._objects.list(packs_key("disk")) if "run-2" in one.key)
    held = store._objects.get(pack) or b""
    assert points_of(store, BACKUP, now=now)[0].version_id == bad.version_id  # nobody has looked yet
    for lies_there, found, timeliness, damaged in (
        (bytes(len(held)), good, Timeliness.LATE, 1),
        (held, bad, Timeliness.IN_TIME, 0),  # brought back, and verified again
    ):
        store._objects.put(pack, lies_there)
        store.verify(bad)
        (point,) = points_of(store, BACKUP, now=now)
        assert (point.version_id, point.timeliness) == (found.version_id, timeliness)
        assert (point.damaged, point.torn) == (damaged, 0)
    for one in store._objects.list(packs_key("disk")):
        store._objects.put(one.key, bytes(one.size_bytes))
    for each in (good, bad):
        store.verify(each)
    (point,) = points_of(store, BACKUP, now=now)
    assert (point.timeliness, point.age_s, point.damaged) == (Timeliness.NONE_GOOD, None, 2)


def test_no_version_is_younger_than_its_commit_whatever_the_sources_clock_says(store: BackupStore) -> None:
    made = version(store, "disk", "run-1", split_at=datetime.now(UTC) + 1000 * HOUR)
    (point,) = points_of(store, BACKUP, now=datetime.now(UTC) + 27 * HOUR)
    assert point.taken_at == made.committed_at
    assert point.timeliness is Timeliness.LATE
    (behind,) = points_of(store, BACKUP, now=made.committed_at - HOUR)
    assert behind.age_s == 0


def test_a_damaged_repository_hides_no_other_volume(store: BackupStore) -> None:
    for volume in ("broken", "whole"):
        version(store, volume, "run-1")
    for one in store._objects.list(f"{VOLUMES_KEY}broken/"):
        if "/snapshots/" in one.key:
            store._objects.delete(one.key)
    with BackupStore.open(store.location) as again:
        broken, whole = points_of(again, BACKUP, now=datetime.now(UTC))
    assert broken.timeliness is Timeliness.UNKNOWN
    assert "Next step: " in broken.problem
    assert whole.timeliness is Timeliness.IN_TIME


def test_a_site_without_a_store_has_never_backed_up_what_it_promised(location: StoreLocation) -> None:
    section = StoreSettings(
        endpoint_url=location.endpoint_url,
        bucket=location.bucket,
        prefix=location.prefix,
        access_key=location.access_key,
        secret_key=location.secret_key,  # type: ignore[arg-type]
    )
    settings = Settings(store=section, backup=BACKUP)
    points = recovery_points(settings, volumes=["well"])
    assert [(p.volume, p.timeliness) for p in points] == [("busy", Timeliness.NEVER), ("well", Timeliness.NEVER)]
    gone = Settings(store=section.model_copy(update={"endpoint_url": "http://127.0.0.1:9"}))
    with pytest.raises(UnreachableError):
        recovery_points(gone)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.2, "59 s"),
        (61, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (11_520, "3 h 12 min"),
        (26 * 3600, "1 d 2 h"),
        (48 * 3600 + 59, "2 d"),
    ],
)
def test_an_age_is_said_as_a_person_says_it(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
