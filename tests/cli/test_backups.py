"""``backup``, ``restore`` and everything that looks at runs and versions afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli.command import Cli, assert_one_error
from cli.well_volume import NOTE, SIZE_BYTES, make_well_volume
from machine import MIB, Machine, noise

from nightwell.store import BackupStore
from nightwell.store.layout import packs_key


@pytest.fixture(scope="module")
def backed_up(machine: Machine, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the document of the first backup of volume ``well``."""
    make_well_volume(machine, "well", tmp_path_factory.mktemp("well"))
    document: dict[str, Any] = cli.json("backup", "well")
    return document


def test_a_backup_says_what_it_did(backed_up: dict[str, Any], machine: Machine) -> None:
    assert backed_up["committed"]
    assert (backed_up["kind"], backed_up["mode"], backed_up["phase"]) == ("backup", "split", "done")
    assert backed_up["facts"]["point_in_time"]
    assert backed_up["owed"] == []
    assert backed_up["error"] is None
    steps = [step["step"] for step in backed_up["steps"]]
    assert steps[:3] == ["check_pair", "create_secondary", "create_pair"]
    assert steps[-2:] == ["delete_pair", "delete_secondary"]
    assert {step["outcome"] for step in backed_up["steps"]} == {"finished"}
    assert machine.leftovers() == []


@pytest.mark.parametrize("mode", ["split", "pair", "direct"])
def test_a_backup_in_words(cli: Cli, machine: Machine, backed_up: dict[str, Any], mode: str) -> None:
    printed = cli.text("backup", "well", "--mode", mode)
    assert "backup safe as version" in printed
    assert "source      request" in printed
    assert "destination commit" in printed
    assert ("source      split" in printed) == (mode == "split")
    assert "sent to the store" in printed
    assert machine.leftovers() == []


def test_a_kept_pair_is_used_by_the_next_backup(cli: Cli, backed_up: dict[str, Any]) -> None:
    cli.json("backup", "well", "--keep-pair")
    (status,) = cli.json("pair", "status", "well")
    assert status["pair"]["state"] == "PAIR"
    again = cli.json("backup", "well", "--mode", "pair")
    assert "create_pair" not in {step["step"] for step in again["steps"]}
    cli.json("pair", "delete", "well")
    cli.json("volume", "delete", status["pair"]["secondary"])


def test_a_process_backs_up_and_prints_one_document(cli: Cli, backed_up: dict[str, Any]) -> None:
    ended = cli.process("backup", "well", "--json").good()
    assert ended.document["committed"]
    assert "sent to the store" not in ended.out
    assert "destination commit" in ended.err


def test_a_version_comes_back_to_a_third_volume(cli: Cli, machine: Machine, backed_up: dict[str, Any]) -> None:
    for name in ("third", "fourth"):
        cli.json("volume", "create", name, str(SIZE_BYTES))
    document = cli.json("restore", "well", "third", "--version", backed_up["version_id"][:16])
    assert (document["kind"], document["phase"]) == ("restore", "done")
    assert document["version_id"] == backed_up["version_id"]
    assert "restored and verified" in cli.text("restore", "well", "fourth")
    assert machine.digest("third") == machine.digest("fourth") == machine.digest("well")
    assert machine.leftovers() == []
    for name in ("third", "fourth"):
        cli.json("volume", "delete", name)


def test_versions_are_listed_and_verified(cli: Cli, backed_up: dict[str, Any]) -> None:
    listed = cli.json("versions", "well")
    assert listed[0]["version_id"] == backed_up["version_id"]
    assert listed == cli.json("versions")
    printed = cli.process("versions").good().out
    assert all(version["version_id"] in printed for version in listed)
    report = cli.json("verify", "well")
    assert report["version_id"] == listed[-1]["version_id"]
    assert report["damaged"] == []
    assert report["blocks_checked"] > 0
    assert "all as written" in cli.text("verify", "well", "--version", backed_up["version_id"])
    shown = {version["version_id"]: version["verification"] for version in cli.json("versions", "well")}
    assert shown[backed_up["version_id"]]["ok"] is True
    assert "verified (UTC)" in cli.text("versions")


def test_a_damaged_version_is_said_and_counts_no_longer(cli: Cli, machine: Machine) -> None:
    machine.make_volume("rotten", 2 * MIB, data=noise(MIB))
    version_id = cli.json("backup", "rotten")["version_id"]
    assert "never" in cli.text("versions", "rotten")
    age = 'nightwell_recovery_point_age_seconds{volume="rotten"}'
    assert f"{age} +Inf" not in cli.text("metrics")
    with BackupStore.open(machine.destination.location) as store:
        for pack in store._objects.list(packs_key("rotten")):
            store._objects.put(pack.key, bytes(pack.size_bytes))
    ended = cli.run("verify", "rotten", "--json")
    assert_one_error(ended, kind="IntegrityError", said=f"version {version_id} of volume 'rotten'")
    assert ended.document["report"]["damaged"]
    assert "DAMAGED: " in cli.text("versions", "rotten")
    (listed,) = cli.json("versions", "rotten")
    assert (listed["verification"]["ok"], listed["verification"]["version_id"]) == (False, version_id)
    told = cli.text("metrics")
    assert f"{age} +Inf" in told
    assert 'nightwell_recovery_point_damaged{volume="rotten"} 1.0' in told
    assert 'nightwell_recovery_point_missed{volume="rotten"} 1.0' in told


def test_files_are_listed_and_taken_out_of_a_version(cli: Cli, backed_up: dict[str, Any], tmp_path: Path) -> None:
    assert [entry["path"] for entry in cli.json("files", "well", "/logs")] == ["/logs/[a].txt", "/logs/note.txt"]
    assert "/logs/[a].txt" in cli.text("files", "well", "/logs")
    written = cli.json("extract", "well", "/logs/note.txt", tmp_path / "note.txt")
    assert written["bytes"] == len(NOTE)
    assert (tmp_path / "note.txt").read_text() == NOTE
    assert "extracted" in cli.text("extract", "well", "/logs", tmp_path / "logs")
    assert (tmp_path / "logs" / "note.txt").read_text() == NOTE


def test_runs_are_listed_and_shown_step_by_step(cli: Cli, backed_up: dict[str, Any]) -> None:
    run_id = backed_up["run_id"]
    for site in ("source", "destination"):
        assert run_id in [run["run_id"] for run in cli.json("runs", "--site", site, "--limit", "100")]
        assert run_id in cli.text("runs", "--site", site, "--limit", "100")
    assert len(cli.json("runs", "--limit", "1")) == 1
    shown = cli.json("runs", run_id)
    assert shown == backed_up
    printed = cli.text("runs", run_id, "--site", "destination")
    assert f"backup safe as version {backed_up['version_id']}" in printed
    assert "produce" in printed
    assert "delete server" in printed


def test_nothing_is_recovered_where_nothing_was_cut_short(cli: Cli, backed_up: dict[str, Any]) -> None:
    assert cli.json("recover") == []
    assert cli.text("recover") == "nothing to recover\n"
