"""Credentials for one request on a server that enforces them: what they open, what they do not, and when they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from backups import BLOCK_BYTES, back_up, contents, draft, random_bytes
from s3 import ROLE_ARN, fresh_prefix

from nightwell.errors import CredentialsError, UnreachableError
from nightwell.store import BackupStore, StoreLocation
from nightwell.store.grants.iam import IamGrants, user_name
from nightwell.store.grants.port import Credentials, Grant, Rights, StoreGrants
from nightwell.store.grants.static import StaticGrants
from nightwell.store.grants.sts import StsGrants
from nightwell.store.layout import volume_key
from nightwell.store.location import with_credentials
from nightwell.store.objects import Objects

OWN, OTHERS = volume_key("well-7"), volume_key("well-70")


@pytest.fixture(scope="module")
def location(identity_seaweed: StoreLocation) -> StoreLocation:
    place = fresh_prefix(identity_seaweed)
    BackupStore.open(place, create=True).close()
    objects = Objects(place)
    for part in (OWN, OTHERS):
        objects.put(f"{part}there", b"data")
    objects.close()
    return place


def open_grants(driver: str, location: StoreLocation) -> StoreGrants:
    if driver == "sts":
        return StsGrants(location, role_arn=ROLE_ARN, duration_s=900)
    return IamGrants(location) if driver == "iam" else StaticGrants(location)


def seen_by(location: StoreLocation, issued: Credentials) -> StoreLocation:
    return with_credentials(location, issued.access_key, issued.secret_key, issued.session_token)


def with_objects(location: StoreLocation, call: Callable[[Objects], object]) -> object:
    objects = Objects(location)
    try:
        return call(objects)
    finally:
        objects.close()


def allowed(location: StoreLocation, call: Callable[[Objects], object]) -> bool:
    try:
        with_objects(location, call)
    except (CredentialsError, UnreachableError):  # obstore has no class for a refusal within a deletion of several
        return False
    return True


CALLS: dict[str, Callable[[Objects], object]] = {
    "get own": lambda objects: objects.get(f"{OWN}there"),
    "list own": lambda objects: list(objects.list(OWN)),
    "put own": lambda objects: objects.put(f"{OWN}new", b"data"),
    "delete own": lambda objects: objects.delete(f"{OWN}new"),
    "get document": lambda objects: objects.get("store.json"),
    "put document": lambda objects: objects.put("store.json", b"data"),
    "get another volume's": lambda objects: objects.get(f"{OTHERS}there"),
    "list another volume's": lambda objects: list(objects.list(OTHERS)),
    "list all": lambda objects: list(objects.list("")),
    "put another volume's": lambda objects: objects.put(f"{OTHERS}new", b"data"),
    "delete another volume's": lambda objects: objects.delete(f"{OTHERS}there"),
    "get beside the volumes": lambda objects: objects.get("volumes/there"),
}
READS = {"get own", "list own", "get document"}
MAY = {Rights.READ: READS, Rights.WRITE: READS | {"put own", "delete own"}}


@pytest.mark.parametrize("rights", Rights)
@pytest.mark.parametrize("driver", ["sts", "iam"])
def test_one_volume_and_nothing_else(driver: str, rights: Rights, location: StoreLocation) -> None:
    grants = open_grants(driver, location)
    issued = grants.issue(Grant("run-1", "well-7", rights))
    seen = seen_by(location, issued)
    assert {name for name, call in CALLS.items() if allowed(seen, call)} == MAY[rights]
    assert with_objects(location, CALLS["get another volume's"]) == b"data"
    grants.end("run-1")


def test_a_user_is_refused_from_the_moment_its_request_ends(location: StoreLocation) -> None:
    grants = IamGrants(location)
    seen = seen_by(location, grants.issue(Grant("run-2", "well-7", Rights.WRITE)))
    assert allowed(seen, CALLS["get own"])
    assert "run-2" in grants.standing()
    IamGrants(location).end("run-2")  # whoever comes later: nothing of it is in memory
    assert not allowed(seen, CALLS["get own"])
    grants.end("run-2")
    grants.end("run-never")
    assert user_name("run-2") not in {user["UserName"] for user in grants._client.list_users()["Users"]}
    assert "run-2" not in grants.standing()


def test_issuing_again_ends_what_was_issued_before(location: StoreLocation) -> None:
    grants = IamGrants(location)
    old = seen_by(location, grants.issue(Grant("run-3", "well-7", Rights.WRITE)))
    new = seen_by(location, grants.issue(Grant("run-3", "well-7", Rights.WRITE)))
    assert not allowed(old, CALLS["get own"])
    assert allowed(new, CALLS["get own"])
    grants.end("run-3")


def test_a_session_says_when_it_ends(location: StoreLocation) -> None:
    issued = open_grants("sts", location).issue(Grant("run-4", "well-7", Rights.READ))
    assert issued.expires_at is not None
    assert "secret" not in repr(issued)
    assert issued.session_token not in repr(seen_by(location, issued))


@pytest.mark.parametrize("driver", ["sts", "iam"])
def test_a_whole_backup_fits_into_its_rights(driver: str, location: StoreLocation) -> None:
    grants = open_grants(driver, location)
    data = random_bytes(8 * BLOCK_BYTES)
    run_id = f"run-of-{driver}"
    with BackupStore.open(seen_by(location, grants.issue(Grant(run_id, driver, Rights.WRITE)))) as store:
        version = back_up(store, data, draft(data.size, run_id, block_bytes=BLOCK_BYTES, volume=driver))
    with BackupStore.open(seen_by(location, grants.issue(Grant(run_id, driver, Rights.READ)))) as store:
        assert np.array_equal(contents(store, store.find_version(driver, version.version_id)), data)
    grants.end(run_id)


@pytest.mark.parametrize("driver", ["sts", "iam"])
def test_a_key_that_may_not_issue_is_one_clear_error(driver: str, location: StoreLocation) -> None:
    grants = open_grants(driver, replace(location, secret_key="mistyped"))
    with pytest.raises(CredentialsError, match=r"destination\.credentials\.driver"):
        grants.issue(Grant("run-5", "well-7", Rights.READ))


def test_static_hands_on_what_the_site_has(location: StoreLocation) -> None:
    seen = seen_by(location, StaticGrants(location).issue(Grant("run-6", "well-7", Rights.READ)))
    assert seen == location


def test_names_stay_within_what_a_server_takes() -> None:
    assert user_name("r" * 128) != user_name("r" * 127 + "s")
    assert len(user_name("r" * 128)) <= 64
    assert json.dumps(user_name("run-1")) == '"nightwell-run-1"'
