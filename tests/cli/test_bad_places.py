"""Arrays, stores, journals and settings that are away, refuse us or are wrong: one error, and nothing has changed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cli.bad_settings import settings_with
from cli.command import Cli, assert_one_error, assert_one_error_in_words
from cli.unchanged import Watch, objects_of
from machine import MIB, Machine, noise
from s3 import fresh_prefix

from nightwell.local.process import free_port
from nightwell.store.location import StoreLocation
from nightwell.store.objects import Objects


@pytest.fixture(scope="module")
def prepared(machine: Machine, cli: Cli) -> Machine:
    """Return the machine with a backed up volume in a pair, and another to restore to."""
    for name in ("well", "third"):
        machine.make_volume(name, MIB, data=noise(MIB))
    cli.json("pair", "create", "well", "well-copy")
    cli.json("backup", "well")
    return machine


@pytest.fixture(scope="module")
def watch(prepared: Machine) -> Watch:
    return Watch(prepared)


READS_STORE = ["versions", "verify well", "files well", "extract well / out", "well analyse --volume well"]
RUNS = ["backup well", "backup third", "restore well third"]
ARRAY = ["volume list", "volume create new 1MiB", "volume read well out", "pair status", "validate array"]


@dataclass(frozen=True)
class Place:
    """A place that is wrong: the settings that name it, the class of the error, and what it has to say."""

    changes: dict[str, object]
    kind: str
    said: str


def refused(cli: Cli, place: Place, commands: list[str]) -> None:
    for words in commands:
        assert_one_error(cli.run(*shlex.split(words), "--json"), kind=place.kind, said=place.said)
    assert_one_error_in_words(cli.run(*shlex.split(commands[0])))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("site", "commands"),
    [
        ("source", RUNS + ARRAY),
        ("destination", [*RUNS, *(f"{words} --site destination" for words in ARRAY[:4]), "validate array source"]),
    ],
)
def test_an_array_that_does_not_answer(
    prepared: Machine, watch: Watch, here: Path, tmp_path: Path, site: str, commands: list[str]
) -> None:
    gone: dict[str, object] = {f"{site}.array.control": str(tmp_path / "gone.sock")}
    with watch.nothing_changes(here):
        refused(settings_with(prepared, tmp_path, gone), Place(gone, "UnreachableError", f"array '{site}'"), commands)


def test_an_array_of_another_name(prepared: Machine, watch: Watch, here: Path, tmp_path: Path) -> None:
    crossed = Place({"source.array.name": "harbour"}, "ConflictError", "harbour")
    with watch.nothing_changes(here):
        refused(settings_with(prepared, tmp_path, crossed.changes), crossed, ARRAY)


def test_a_store_that_does_not_answer(prepared: Machine, watch: Watch, here: Path, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    away = Place({"store.endpoint_url": url}, "UnreachableError", url)
    with watch.nothing_changes(here):
        refused(settings_with(prepared, tmp_path, away.changes), away, [*RUNS, *READS_STORE, "validate store"])


def test_a_bucket_that_is_missing_is_not_made(prepared: Machine, watch: Watch, here: Path, tmp_path: Path) -> None:
    missing = Place({"store.bucket": "no-such-bucket"}, "NotFoundError", "bucket 'no-such-bucket'")
    with watch.nothing_changes(here):
        cli = settings_with(prepared, tmp_path, missing.changes)
        refused(cli, missing, [*RUNS, *READS_STORE, "validate store"])
        refused(cli, missing, ["backup well"])  # it is as missing as before


@pytest.fixture
def elsewhere(prepared: Machine) -> StoreLocation:
    """A prefix in the machine's bucket under which there is nothing yet."""
    return fresh_prefix(prepared.destination.location)


@contextmanager
def objects_stay(location: StoreLocation, expected: set[str]) -> Iterator[None]:
    yield
    assert objects_of(location) == expected


def test_a_prefix_without_a_store_stays_without_one(
    prepared: Machine, watch: Watch, here: Path, tmp_path: Path, elsewhere: StoreLocation
) -> None:
    cli = settings_with(prepared, tmp_path, {"store.prefix": elsewhere.prefix})
    with watch.nothing_changes(here), objects_stay(elsewhere, set()):
        refused(cli, Place({}, "NotFoundError", "store.json"), READS_STORE)
        refused(cli, Place({}, "NotFoundError", "version 'latest' of volume 'well'"), ["restore well third"])


def test_a_store_of_a_newer_format(
    prepared: Machine, watch: Watch, here: Path, tmp_path: Path, elsewhere: StoreLocation
) -> None:
    objects = Objects(elsewhere)
    objects.put("store.json", json.dumps({"format": "nightwell-store", "version": 2}).encode())
    objects.close()
    newer = Place({"store.prefix": elsewhere.prefix}, "FormatError", "nightwell-store version 1")
    with watch.nothing_changes(here), objects_stay(elsewhere, {"store.json"}):
        refused(settings_with(prepared, tmp_path, newer.changes), newer, RUNS + READS_STORE)


@pytest.mark.parametrize("wrong", [{"access_key": "nobody"}, {"secret_key": "wrong"}], ids=lambda one: next(iter(one)))
def test_credentials_that_the_store_refuses(
    prepared: Machine, watch: Watch, here: Path, tmp_path: Path, seaweed: StoreLocation, wrong: dict[str, Any]
) -> None:
    location = fresh_prefix(seaweed)
    used = replace(location, **wrong)
    names = ("endpoint_url", "bucket", "prefix", "access_key", "secret_key")
    refusing = Place({f"store.{name}": getattr(used, name) for name in names}, "CredentialsError", "HTTP 403")
    with watch.nothing_changes(here), objects_stay(location, set()):
        cli = settings_with(prepared, tmp_path, refusing.changes)
        refused(cli, refusing, [*RUNS, *READS_STORE, "validate store"])


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"store.buckett": "x"}, "SettingsError", "store.buckett"),
        ({"destination.servers.memory_mib": 1}, "SettingsError", "memory_mib"),
        ({"source.journal": "sqlite:///a", "destination.journal": "sqlite:///a"}, "SettingsError", "for each site"),
        ({"source.journal": "no url://"}, "InputError", "URL"),
        ({"source.journal": "sqlite:////nosuch/journal.sqlite"}, "UnreachableError", "/nosuch/journal.sqlite"),
        ({"state_directory": "file", "source.journal": ""}, "InputError", "a folder"),
    ],
    ids=["unknown", "too small", "one journal", "no URL", "no folder", "a file"],
)
def test_settings_that_are_wrong(
    prepared: Machine, watch: Watch, here: Path, tmp_path: Path, changes: dict[str, object], kind: str, said: str
) -> None:
    (here / "file").write_text("not a folder")
    with watch.nothing_changes(here):
        refused(settings_with(prepared, tmp_path, changes), Place(changes, kind, said), ["runs", *RUNS[:1]])


def test_a_settings_file_that_is_missing_or_no_toml(here: Path, tmp_path: Path) -> None:
    refused(Cli(tmp_path / "gone.toml"), Place({}, "SettingsError", "gone.toml"), ["runs", "backup well"])
    (tmp_path / "text.toml").write_text("this is not TOML")
    refused(Cli(tmp_path / "text.toml"), Place({}, "SettingsError", "expected '='"), ["runs"])
    refused(Cli(tmp_path), Place({}, "SettingsError", "Is a directory"), ["runs"])


def test_a_mistyped_variable(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setenv("NIGHTWELL_STORE__BUCKETT", "wells")
    refused(cli, Place({}, "SettingsError", "NIGHTWELL_STORE__BUCKETT"), ["runs"])


def test_a_process_that_finds_no_store(prepared: Machine, watch: Watch, here: Path, tmp_path: Path) -> None:
    cli = settings_with(prepared, tmp_path, {"store.bucket": "no-such-bucket"})
    with watch.nothing_changes(here):
        assert_one_error(cli.process("versions", "--json"), kind="NotFoundError", said="no-such-bucket")
        assert_one_error_in_words(cli.process("backup", "well"))
