"""``well acquire``, ``acquired`` and ``schedule check``: an instrument from the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.command import Cli, assert_one_error, assert_one_error_in_words

from nightwell.testing.srs_rga_emulator import SrsRgaEmulator

SCHEDULE = """
format = 1
name = "one inlet"
[[element]]
name = "gas"
stream = "trap_gas"
valve_port = 1
purge_s = 0
dwell_s = 0.0001
mz = "12-46"
trigger = { by = "idle" }
"""


@pytest.fixture
def rga() -> Iterator[SrsRgaEmulator]:
    with SrsRgaEmulator() as running:
        yield running


def schedule(folder: Path, text: str = SCHEDULE) -> Path:
    file = folder / "schedule.toml"
    file.write_text(text)
    return file


def test_an_instrument_is_acquired_from_and_gone_on_with(cli: Cli, rga: SrsRgaEmulator, tmp_path: Path) -> None:
    words = ["well", "acquire", "rga well", "--driver", "srs-rga", "--device", rga.device]
    words += ["--schedule", str(schedule(tmp_path))]
    first = cli.json(*words, "--scans", "2")
    assert (first["scans"], first["late"], first["gaps"]) == (2, 0, 0)
    assert "1 scans, 0 of them late, 1 gaps" in cli.text(*words, "--scans", "1")
    document = cli.json("well", "acquired", "rga well")
    assert document["scans"] == [{"stream": "trap_gas", "kind": "sample", "scans": 3}]
    assert [gap[0] for gap in document["gaps"]] == ["stopped"]
    printed = cli.text("well", "acquired", "rga well", "--to", tmp_path / "scans")
    assert "Spectra measured by Stanford Research Systems SRSRGA200" in printed
    again = cli.json("well", "acquire", "copy", "--driver", "replay", "--recording", tmp_path / "scans")
    assert again["scans"] == 3


def test_a_schedule_is_checked(cli: Cli, tmp_path: Path) -> None:
    assert "Schedule four streams: can keep its rules" in cli.text("well", "schedule", "check")
    document = cli.json("well", "schedule", "check", schedule(tmp_path))
    assert document["load"] == {}
    assert document["minimum_purge_s"] == {"gas": 0.0}


def test_what_cannot_be_acquired_is_one_clear_error(cli: Cli, tmp_path: Path) -> None:
    slow = schedule(tmp_path, SCHEDULE + "\n[carry_over]\nterms = [{ share = 1.0, tau_s = 10.0 }]\n")
    assert_one_error(cli.run("well", "schedule", "check", slow, "--json"), kind="InputError", said="minimum purge")
    wrong = cli.run("well", "acquire", "w", "--driver", "srs", "--json")
    assert_one_error(wrong, kind="InputError", said="one of simulated, replay, srs-rga")
    absent = cli.run("well", "acquire", "w", "--driver", "simulated", "--schedule", tmp_path / "gone", "--json")
    assert_one_error(absent, kind="NotFoundError", said="gone")
    assert_one_error_in_words(cli.run("well", "acquired", "unheard-of"))
