"""``nightwell validate array --volume``: a volume that is given up, and every way in which it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cli.command import Cli, assert_one_error
from machine import MIB, Machine, noise, running_machine
from typer.testing import CliRunner

from nightwell.arrays.client import ArrayClient
from nightwell.arrays.port import Array, PairInfo
from nightwell.cli import app
from nightwell.cli import validate as command
from nightwell.protocol import Site
from nightwell.settings import ArrayDriver
from nightwell.store.location import StoreLocation
from nightwell.testing.array_sacrifice import try_volume
from nightwell.testing.arrays import ClauseResult, Outcome, Workbench

NAMES = ("drilling-site", "harbour")
SIZE_BYTES = 40 * MIB
STEPS = ["written", "paired", "split", "stands-still", "resynced", "split-again", "change-list", "cleaned-up"]


@pytest.fixture(scope="module", params=list(ArrayDriver))
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, moto_server: StoreLocation
) -> Iterator[Machine]:
    driver: ArrayDriver = request.param
    folder = tmp_path_factory.mktemp(driver)
    with running_machine(folder, moto_server, drivers=(driver, driver), names=NAMES) as running:
        yield running


@pytest.fixture
def cli(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Give commands that leave out the suite, which has its tests elsewhere."""
    monkeypatch.setattr(command, "run_suite", lambda *_: ())
    return Cli(machine.settings_file)


def outcomes(results: Sequence[ClauseResult]) -> dict[str, str]:
    return {one.clause.removeprefix("volume-"): one.outcome.value for one in results}


def test_an_empty_volume_is_tried_and_left_empty(machine: Machine, cli: Cli) -> None:
    machine.make_volume("spare", SIZE_BYTES)
    before = machine.source_array.exports()
    found = cli.json("validate", "array", "drilling-site", "--volume", "spare", "--yes")
    assert [(one["clause"], one["outcome"]) for one in found] == [(f"volume-{step}", "passed") for step in STEPS]
    assert machine.read("spare") == bytes(SIZE_BYTES)
    assert [(e.name, e.volume) for e in machine.source_array.exports()] == [(e.name, e.volume) for e in before]
    assert (machine.leftovers(), machine.source_array.pair_of("spare")) == ([], None)
    assert not [v.name for v in machine.source_array.volumes() if v.name.startswith("nightwell-check")]


@pytest.mark.parametrize(("site", "name"), list(zip(Site, NAMES, strict=True)))
def test_an_array_is_named_as_in_the_settings(
    machine: Machine, cli: Cli, monkeypatch: pytest.MonkeyPatch, site: Site, name: str
) -> None:
    tried: list[set[str]] = []

    def look(array: Array, *_: object) -> tuple[ClauseResult, ...]:
        tried.append({volume.name for volume in array.volumes()})
        return ()

    monkeypatch.setattr(command, "run_suite", look)
    array = machine.source_array if site is Site.SOURCE else machine.destination_array
    array.create_volume("only-here", MIB)
    for word in (name, site):
        assert f"array {name}: 0 clauses tried" in cli.text("validate", "array", word)
        assert "only-here" in tried[-1]
    array.delete_volume("only-here")


@pytest.mark.parametrize(
    ("word", "names", "found"),
    [
        ("elsewhere", NAMES, "no such array in the settings"),
        ("twin", ("twin", "twin"), "a name that means either"),
        ("destination", ("destination", "harbour"), "a name that means either"),
    ],
)
def test_a_name_that_is_no_array_or_either_is_refused_with_those_that_there_are(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, word: str, names: tuple[str, str], found: str
) -> None:
    monkeypatch.setenv("NIGHTWELL_SOURCE__ARRAY__NAME", names[0])
    monkeypatch.setenv("NIGHTWELL_DESTINATION__ARRAY__NAME", names[1])
    ended = cli.run("validate", "array", word, "--json")
    assert_one_error(
        ended, kind="InputError", said=f"one of '{names[0]}' (site source), '{names[1]}' (site destination)"
    )
    assert ended.document["found"] == found


def test_a_volume_that_holds_data_is_refused_until_it_is_said_to_be_given_up(machine: Machine, cli: Cli) -> None:
    data = bytes(5) + noise(MIB - 5)
    machine.make_volume("full", 2 * MIB, data=data)
    words = ("validate", "array", "source", "--volume", "full", "--yes")
    assert_one_error(cli.run(*words, "--json"), kind="ConflictError", said="data at byte 5")
    assert machine.read("full")[:MIB] == data
    cli.json(*words, "--destroy-data")
    assert machine.read("full")[:MIB] != data


def test_it_asks_first_and_nothing_is_written_without_a_yes(machine: Machine, cli: Cli) -> None:
    machine.make_volume("asked", MIB)
    words = ["--settings", str(cli.settings), "validate", "array", "source", "--volume", "asked"]
    refused = CliRunner().invoke(app, words, input="n\n", prog_name="nightwell")
    assert refused.exit_code == 1
    assert "Volume 'asked' (1.0 MiB) of array 'drilling-site' is given up. Go on? [y/N]" in refused.stderr
    assert_one_error(cli.run(*words[2:], "--json"), kind="InputError", said="--yes")
    agreed = CliRunner().invoke(app, words, input="y\n", prog_name="nightwell")
    assert "volume-cleaned-up" in agreed.stdout


def test_a_volume_in_use_is_refused(machine: Machine, cli: Cli) -> None:
    machine.make_volume("led", MIB)
    array = machine.source_array
    array.create_volume("led-copy", MIB)
    array.create_pair("led", "led-copy")
    array.create_volume("owned", MIB, owner="run-1")
    for name, said in (("led", "a pair of 'led' and 'led-copy'"), ("owned", "run 'run-1'"), ("nosuch", "no volume")):
        ended = cli.run("validate", "array", "source", "--volume", name, "--yes", "--destroy-data", "--json")
        assert_one_error(ended, kind="NotFoundError" if name == "nosuch" else "ConflictError", said=said)
    array.delete_pair("led")
    array.delete_volume("owned", owner="run-1")


class FullResync(ArrayClient):
    """The real array, but it says that a resync had to copy everything."""

    def pair_of(self, volume: str) -> PairInfo | None:
        found = super().pair_of(volume)
        return found and replace(found, to_copy_bytes=SIZE_BYTES)


class NoResync(ArrayClient):
    """The real array, but a split takes no new point in time: it splits once, and never resyncs."""

    def resync(self, primary: str) -> PairInfo:
        found = self.pair_of(primary)
        assert found is not None
        return found


@pytest.mark.parametrize(("broken", "fails"), [(FullResync, "resynced"), (NoResync, "resynced")])
def test_an_array_that_breaks_its_word_fails_and_is_cleaned_up(
    machine: Machine, broken: type[ArrayClient], fails: str, tmp_path: Path
) -> None:
    name = f"victim-{broken.__name__}"
    machine.make_volume(name, SIZE_BYTES)
    array = broken(machine.folder / "arrays" / "source" / "control.sock", name=NAMES[0])
    info = next(one for one in array.volumes() if one.name == name)
    found = outcomes(try_volume(array, info, Workbench(patience_s=2.0), lambda _: None))
    array.close()
    assert found[fails] == Outcome.FAILED
    assert list(found)[-1] == "cleaned-up"
    assert found["cleaned-up"] == Outcome.PASSED
    assert machine.read(name) == bytes(SIZE_BYTES)
    assert machine.source_array.pair_of(name) is None
