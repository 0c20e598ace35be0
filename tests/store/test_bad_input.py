"""Each mistake has one clear error of its own, and changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from backups import BLOCK_BYTES, VOLUME, back_up, draft, random_bytes
from s3 import fresh_prefix

from nightwell.errors import (
    CredentialsError,
    FormatError,
    InputError,
    NotFoundError,
    SettingsError,
    UnreachableError,
)
from nightwell.local.process import free_port
from nightwell.store import BackupStore, StoreLocation
from nightwell.store.conditional import check_conditional_writes
from nightwell.store.objects import Objects


def test_nobody_answers_at_the_endpoint(location: StoreLocation) -> None:
    with pytest.raises(UnreachableError, match="could not look at the bucket"):
        BackupStore.open(replace(location, endpoint_url=f"http://127.0.0.1:{free_port()}"))


def test_a_bucket_that_is_missing(location: StoreLocation) -> None:
    with pytest.raises(NotFoundError, match="bucket 'no-such-bucket'"):
        BackupStore.open(replace(location, bucket="no-such-bucket"))


def test_a_store_that_is_missing_is_not_made_by_a_reader(location: StoreLocation) -> None:
    with pytest.raises(NotFoundError, match=r"store\.json"):
        BackupStore.open(location)
    BackupStore.open(location, create=True).close()
    BackupStore.open(location).close()


@pytest.mark.parametrize("wrong", [{"access_key": "nobody"}, {"secret_key": "wrong"}])
def test_credentials_that_the_server_refuses(seaweed: StoreLocation, wrong: dict[str, Any]) -> None:
    """Not on moto, which accepts any secret."""
    location = fresh_prefix(seaweed)
    with pytest.raises(CredentialsError, match="HTTP 403"):
        BackupStore.open(replace(location, **wrong), create=True)


@pytest.mark.parametrize(
    "document",
    [
        {"format": "nightwell-store", "version": 2, "store_id": "x", "created_at": "2024-01-01T00:00:00+00:00"},
        {"format": "nightwell-store", "version": 2},
        {"format": "something-else", "version": 1, "store_id": "x", "created_at": "2024-01-01T00:00:00+00:00"},
    ],
)
def test_a_store_of_a_newer_or_other_format(location: StoreLocation, document: dict[str, object]) -> None:
    objects = Objects(location)
    objects.put("store.json", json.dumps(document).encode())
    with pytest.raises(FormatError, match="expected nightwell-store version 1; found"):
        BackupStore.open(location, create=True)
    assert json.loads(objects.get("store.json") or b"") == document
    objects.close()


def test_a_volume_and_a_version_that_do_not_exist(store: BackupStore) -> None:
    data = random_bytes(2 * BLOCK_BYTES)
    first = back_up(store, data, draft(len(data), "run-1", block_bytes=BLOCK_BYTES))
    assert store.volumes() == (VOLUME,)
    with pytest.raises(NotFoundError, match=VOLUME):
        store.versions("well-8")
    assert store.version_of_run("well-8", "run-1") is None
    assert store.version_of_run(VOLUME, "run-9") is None
    for selector in ("1999", "", "latest-but-one"):
        with pytest.raises(NotFoundError, match=first.version_id):
            store.find_version(VOLUME, selector)


def test_a_version_is_found_by_the_beginning_of_its_id_if_that_is_one(store: BackupStore) -> None:
    data = random_bytes(2 * BLOCK_BYTES)
    made = [back_up(store, data, draft(len(data), f"run-{i}", block_bytes=BLOCK_BYTES)) for i in range(2)]
    for version in made:
        assert store.find_version(VOLUME, version.version_id) == version
        assert store.find_version(VOLUME, version.version_id[:-1]) == version
    with pytest.raises(NotFoundError, match="2 versions"):
        store.find_version(VOLUME, "2")


@pytest.mark.parametrize("name", ["", "a/b", "-x", ".hidden", "well 7", "x" * 129, "../up"])
def test_names_that_cannot_stand_in_a_key(store: BackupStore, name: str) -> None:
    with pytest.raises(InputError, match="letters, digits"):
        store.begin(draft(BLOCK_BYTES, "run", volume=name))
    with pytest.raises(InputError, match="letters, digits"):
        store.begin(draft(BLOCK_BYTES, name))
    with pytest.raises(InputError, match="letters, digits"):
        store.versions(name)


@pytest.mark.parametrize(
    "wrong", [{"endpoint_url": "127.0.0.1:9000"}, {"endpoint_url": "s3://bucket"}, {"bucket": ""}, {"bucket": "a/b"}]
)
def test_a_location_that_cannot_be_one(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"endpoint_url": "http://host:1", "bucket": "b", "access_key": "a", "secret_key": "hidden"}
    with pytest.raises(SettingsError):
        StoreLocation(**(right | wrong))


def test_a_secret_does_not_show() -> None:
    location = StoreLocation(
        endpoint_url="http://host:1/", bucket="b", access_key="a", secret_key="hidden", prefix="/p/"
    )
    assert "hidden" not in repr(location) + str(location)
    assert (location.endpoint_url, location.prefix, location.allow_http) == ("http://host:1", "p", True)


def test_conditional_writes_hold_on_each_server(store_on_each: BackupStore) -> None:
    store_on_each.validate()
    assert list(store_on_each._objects.list("probe/")) == []


@pytest.mark.parametrize("lost", ["put_new", "replace"])
def test_a_server_that_lets_all_writers_win_is_refused(
    location: StoreLocation, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    def ignore_the_condition(self: Objects, key: str, data: bytes, **_condition: str) -> bool:
        self.put(key, data)
        return True

    monkeypatch.setattr(Objects, lost, ignore_the_condition)
    objects = Objects(location)
    with pytest.raises(SettingsError, match="4 winners"):
        check_conditional_writes(objects)
    with pytest.raises(SettingsError, match="4 winners"):
        BackupStore.open(location, create=True)
    assert objects.get("store.json") is None
    objects.close()
