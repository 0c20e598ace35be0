"""``array``, ``volume`` and ``pair``: what a storage engineer does by hand."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.command import Cli
from machine import MIB, Machine

from nightwell.arrays.client import ArrayClient


def test_an_array_is_served_until_it_is_told_to_end(tmp_path: Path) -> None:
    words = ["array", "serve", "--name", "bench", "--directory", str(tmp_path / "array")]
    with subprocess.Popen(
        [sys.executable, "-m", "nightwell", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert (ready["ready"], ready["name"]) == (True, "bench")
        array = ArrayClient(ready["control"])
        array.create_volume("well", MIB)
        array.close()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_directory_that_cannot_be_used_ends_in_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    words = ["array", "serve", "--name", "bench", "--directory", str(tmp_path / "file")]
    ended = subprocess.run(
        [sys.executable, "-m", "nightwell", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert json.loads(ended.stdout)["ready"] is False


def test_a_volume_from_its_making_to_its_end(cli: Cli, machine: Machine, small_file: Path, tmp_path: Path) -> None:
    made = cli.json("volume", "create", "first", "2 MiB")
    assert made["volume"]["size_bytes"] == 2 * MIB
    assert made["export"]["url"].startswith("nbd://")
    assert cli.json("volume", "write", "first", small_file) == {"volume": "first", "bytes": MIB}
    assert cli.json("volume", "read", "first", tmp_path / "back.bin") == {"volume": "first", "bytes": 2 * MIB}
    assert (tmp_path / "back.bin").read_bytes() == small_file.read_bytes() + bytes(MIB)
    assert cli.json("volume", "grow", "first", "3MiB")["size_bytes"] == 3 * MIB
    (listed,) = [one for one in cli.json("volume", "list") if one["volume"]["name"] == "first"]
    assert listed == {"volume": cli.json("volume", "list")[0]["volume"], "url": made["export"]["url"]}
    assert cli.json("volume", "delete", "first") == {"deleted": "first"}
    assert "first" not in {one["volume"]["name"] for one in cli.json("volume", "list")}
    assert machine.leftovers() == []


def test_a_volume_in_words(cli: Cli, small_file: Path, tmp_path: Path) -> None:
    assert "volume worded: 1048576 bytes, served at nbd://" in cli.text("volume", "create", "worded", "1 MiB")
    assert "wrote 1.0 MiB to volume worded" in cli.text("volume", "write", "worded", small_file)
    assert "read 1.0 MiB from volume worded" in cli.text("volume", "read", "worded", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == small_file.read_bytes()
    assert "volume worded: 2097152 bytes" in cli.text("volume", "grow", "worded", "2 MiB")
    assert "volume worded deleted" in cli.text("volume", "delete", "worded")


def test_no_name_and_no_address_is_cut_short_in_a_pipe(cli: Cli) -> None:
    """A script without ``--json``, or ``grep``, reads whole names, however many columns there are."""
    name = "a-volume-with-a-rather-long-name-of-many-words"
    url = cli.json("volume", "create", name, "1 MiB")["export"]["url"]
    (line,) = [line for line in cli.process("volume", "list").good().out.splitlines() if name in line]
    assert url in line
    cli.json("volume", "delete", name)


def test_a_volume_of_the_destination_that_no_host_sees(cli: Cli, machine: Machine) -> None:
    made = cli.json("volume", "create", "far", "1 MiB", "--site", "destination", "--no-attach")
    assert made["export"] is None
    assert [one["volume"]["name"] for one in cli.json("volume", "list", "--site", "destination")] == ["far"]
    assert "far" not in {volume.name for volume in machine.source_array.volumes()}
    cli.json("volume", "delete", "far", "--site", "destination")


def pair_state(cli: Cli, name: str) -> str:
    """Return the state of a volume's pair once the array has done copying."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        (one,) = cli.json("pair", "status", name)
        if one["pair"] is None or one["pair"]["state"] != "COPY":
            return "SMPL" if one["pair"] is None else str(one["pair"]["state"])
        time.sleep(0.02)
    pytest.fail("the pair was still copying after 30 s")


def test_a_pair_from_its_making_to_its_end(cli: Cli, machine: Machine) -> None:
    cli.json("volume", "create", "paired", "1 MiB")
    (made,) = cli.json("pair", "create", "paired", "paired-copy")
    assert (made["primary"], made["secondary"]) == ("paired", "paired-copy")
    assert pair_state(cli, "paired") == "PAIR"
    (split,) = cli.json("pair", "split", "paired")
    assert (split["state"], bool(split["split_id"])) == ("PSUS", True)
    cli.json("pair", "resync", "paired")
    assert pair_state(cli, "paired") == "PAIR"
    assert cli.json("pair", "delete", "paired") == {"deleted": "paired"}
    assert pair_state(cli, "paired") == "SMPL"
    for name in ("paired", "paired-copy"):
        cli.json("volume", "delete", name)


def test_two_pairs_in_words_split_at_one_point_in_time(cli: Cli) -> None:
    for name in ("left", "right"):
        cli.text("volume", "create", name, "1 MiB")
        assert f"{name} - {name}-copy" in cli.text("pair", "create", name, f"{name}-copy")
        assert pair_state(cli, name) == "PAIR"
    assert len(cli.text("pair", "split", "left", "right").splitlines()) == 2
    both = [cli.json("pair", "status", name)[0]["pair"]["split_at"] for name in ("left", "right")]
    assert both[0] == both[1]
    status = cli.process("pair", "status").good().out
    assert [line.split()[:3] for line in status.splitlines() if "PSUS" in line] == [
        ["left", "left-copy", "PSUS"],
        ["right", "right-copy", "PSUS"],
    ]
    for name in ("left", "right"):
        assert name in cli.text("pair", "resync", name)
        assert pair_state(cli, name) == "PAIR"
        assert "dissolved" in cli.text("pair", "delete", name)
        assert "SMPL, no copy pair" in cli.text("pair", "status", name)
        for each in (name, f"{name}-copy"):
            cli.text("volume", "delete", each)
