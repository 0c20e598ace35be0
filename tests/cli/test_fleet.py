"""``well fleet`` and ``well diff``: as a person and as a script give them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w
from cli.command import Cli, assert_one_error, assert_one_error_in_words
from distributed import LocalCluster
from machine import Machine

from nightwell.filesystem import make_ext4
from nightwell.wells.archive import ResultsArchive


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Return the address of a Dask cluster in this process: quicker than worker processes, which other tests start."""
    with LocalCluster(  # type: ignore[no-untyped-call]  # distributed has no types
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as running:
        yield str(running.scheduler_address)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, cluster: str) -> Cli:
    """Return commands with results of their own, and a fleet of two wells named in their settings."""
    folder = tmp_path_factory.mktemp("fleet")
    file = folder / "nightwell.toml"
    wells = {"results": str(folder / "results"), "scans": str(folder / "scans"), "cluster": cluster}
    file.write_text(tomli_w.dumps({"state_directory": str(folder / "state"), "wells": wells}))
    cli = Cli(file)
    made = cli.json("well", "fleet", "make", folder / "scans", "--wells", "2", "--length", "25")
    assert made["simulated"]
    assert len(made["scans"]) == 2
    return cli


def test_a_fleet_is_made_analysed_changed_and_compared(own: Cli, tmp_path: Path) -> None:
    results, scans = own.settings.parent / "results", own.settings.parent / "scans"
    assert own.text("well", "fleet", "nights") == "none\n"
    assert [one["reasons"] for one in own.json("well", "fleet", "stale")["stale"]] == [["never analysed"]] * 2
    night = own.json("well", "fleet", "night")
    assert {one["ending"] for one in night["outcomes"]} == {"computed"}
    assert own.text("well", "fleet", "stale") == "no well needs anything\n"

    # Numbers of the method make another analysis, from the command line and from the settings.
    for words in (("--recycled-share", "0.3"), ("--trap-efficiency", "0.5")):
        stale = own.json("well", "fleet", "stale", *words)["stale"]
        assert [one["reasons"] for one in stale] == [["other cube settings"]] * 2, words
    numbers = Cli(tmp_path / "numbers.toml")
    numbers.settings.write_text(own.settings.read_text() + "[wells.method]\npattern_error = 0.03\n")
    stale = numbers.json("well", "fleet", "stale")["stale"]
    assert [one["reasons"] for one in stale] == [["other deconvolution settings"]] * 2

    # A profile of one's own, and a well that cannot be used: only what that asks for is computed.
    shutil.copytree(scans / "SIMULATED-00000.zarr", scans / "copy")
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    (profiles / "own.toml").write_text(
        '[[indicator]]\nname = "own"\nversion = 1\ntitle = "own"\nformula = "methane / ethane"\nunits = "1"\n'
        'group = "gaseous_petroleum"\ninputs = "species"\nsource = "a test"\n'
        "control = {inputs = {methane = 4.0, ethane = 2.0}, value = 2.0}\n"
    )
    document = own.settings.read_text() + f'profiles = "{profiles}"\n'
    other = Cli(tmp_path / "other.toml")
    other.settings.write_text(document)
    stale = other.json("well", "fleet", "stale")
    assert [(one["well"], one["reasons"]) for one in stale["stale"]] == [
        ("SIMULATED-00001", ["other indicator profiles"])
    ]
    assert [one["error"] for one in stale["failed"]] == ["ConflictError"]
    failed = other.run("well", "fleet", "night", "--json")
    assert_one_error(failed, kind="NightwellError", said="1 of 2 wells failed: SIMULATED-00000")
    assert {one["well"]: one["ending"] for one in failed.document["night"]["outcomes"]} == {
        "SIMULATED-00000": "failed",
        "SIMULATED-00001": "computed",
    }
    assert_one_error_in_words(other.run("well", "fleet", "night"))

    # The well that two places claim is withdrawn: the next night names it, and does not fail for it.
    forget = ("well", "forget", "SIMULATED-00000")
    assert_one_error(other.run(*forget, "--json"), kind="InputError", said="a reason")
    assert other.json(*forget, "--reason", "claimed twice")["withdrawn"]
    assert "nights pass it over" in other.text(*forget, "--reason", "claimed twice")
    assert [one["reason"] for one in other.json("well", "fleet", "withdrawn")] == ["claimed twice"]
    assert "withdrawn: SIMULATED-00000" in other.text("well", "fleet", "stale")
    assert not other.json(*forget, "--undo")["withdrawn"]
    assert other.text("well", "fleet", "withdrawn") == "none\n"

    (changed,) = [one for one in other.json("well", "fleet", "diff", night["night_id"][:16])["changed"]
                  if one["difference"]]  # fmt: skip
    assert changed["well"] == "SIMULATED-00001"
    assert "trap_gas/own" in changed["difference"]["only_after"]
    printed = other.text("well", "fleet", "diff", night["night_id"])
    assert "profiles_version" in printed
    assert "failed now: SIMULATED-00000" in printed
    first, second = ResultsArchive(results, "SIMULATED-00001").analyses()
    printed = other.text("well", "diff", "SIMULATED-00001", first.analysis_id)
    assert "0 of" in printed
    assert "new: " in printed
    document = other.json("well", "diff", "SIMULATED-00001", first.analysis_id, second.analysis_id)
    assert (document["before"], document["curves"]) == (first.analysis_id, [])
    assert len(other.text("well", "fleet", "nights").splitlines()) == 5


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ("well fleet make FOLDER --wells 0", "InputError", "'wells' of a simulated fleet"),
        ("well fleet night --scans FOLDER/gone", "NotFoundError", "a directory with raw scans"),
        ("well fleet stale --trap-efficiency 50", "InputError", "a share from 0 to 1"),
        ("well forget nosuch --reason gone", "NotFoundError", "none of that name"),
        ("well fleet diff nosuch", "NotFoundError", "night 'nosuch'"),
        ("well diff unheard-of a", "NotFoundError", "not analysed yet"),
    ],
)
def test_a_mistake_is_one_error(own: Cli, tmp_path: Path, words: str, kind: str, said: str) -> None:
    given = [word.replace("FOLDER", str(tmp_path)) for word in words.split()]
    assert_one_error(own.run(*given, "--json"), kind=kind, said=said)
    assert_one_error_in_words(own.run(*given))


def test_wells_are_found_on_volumes_and_the_same_scans_backed_up_again_are_not_stale(
    cli: Cli, machine: Machine, own: Cli, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    shutil.copytree(own.settings.parent / "scans" / "SIMULATED-00001.zarr", files / "scans.zarr")
    make_ext4(files, tmp_path / "well.img", 16 << 20)
    cli.json("volume", "create", "fleet-1", "16 MiB")
    cli.json("volume", "write", "fleet-1", tmp_path / "well.img")
    first = cli.json("backup", "fleet-1", "--mode", "direct")["version_id"]
    words = ("well", "fleet", "stale", "--volume", "fleet-*")
    (one,) = cli.json(*words)["stale"]
    assert (one["well"], one["reasons"]) == ("SIMULATED-00001", ["never analysed"])
    analysis = cli.json("well", "analyse", "--volume", "fleet-1")["analysis"]
    assert analysis["inputs"]["version"] == first
    assert cli.json(*words)["current"] == ["SIMULATED-00001"]
    assert cli.json("backup", "fleet-1", "--mode", "direct")["version_id"] != first
    assert cli.json(*words)["current"] == ["SIMULATED-00001"]
    # Other scans of the same well on the volume.
    (files / "scans.zarr" / "zarr.json").touch()
    make_ext4(files, tmp_path / "well.img", 16 << 20)
    cli.json("volume", "write", "fleet-1", tmp_path / "well.img")
    cli.json("backup", "fleet-1", "--mode", "direct")
    assert [one["reasons"] for one in cli.json(*words)["stale"]] == [["new scans"]]
    assert_one_error(
        cli.run("well", "fleet", "stale", "--volume", "nosuch*", "--json"), kind="NotFoundError", said="nosuch"
    )
    cli.json("volume", "delete", "fleet-1")
