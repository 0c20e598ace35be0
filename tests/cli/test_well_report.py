"""``well report``: of an analysed well, and of a gas log itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.bad_settings import settings_with
from cli.command import Cli, assert_one_error
from machine import Machine

HEADER = "Depth (m),C1 (ppm),C2 (ppm),C3 (ppm)"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return 300 m of gas with a show from 1100 to 1120 m."""
    rows = []
    for row in range(600):
        depth = 1000 + 0.5 * row
        times = 40 if 1100 <= depth <= 1120 else 1
        rows.append(f"{depth},{300 * times + row % 7},{20 * times + row % 3},{8 * times + row % 2}")
    file = tmp_path / "gas.csv"
    file.write_text("\n".join([HEADER, *rows]) + "\n")
    return file


def test_a_gas_log_is_read_itself(cli: Cli, log: Path, tmp_path: Path) -> None:
    document = cli.json("well", "report", "--gas-log", log)
    assert document["simulated"] is False
    (show,) = [one for one in document["findings"] if one["kind"] == "show"]
    assert (show["top_m"], show["bottom_m"], show["rule"]) == (1100.0, 1120.0, "zone@1")
    printed = cli.text("well", "report", "--gas-log", log, "--top", "1090", "--bottom", "1130")
    assert "1100.0 to 1120.0 m, trap_gas" in printed
    assert "SIMULATED" not in printed
    markdown = tmp_path / "report.md"
    assert cli.text("well", "report", "--gas-log", log, "--format", "markdown", "--output", markdown) == (
        f"wrote {markdown}\n"
    )
    assert markdown.read_text().startswith("# Well gas")
    target = tmp_path / "report.json"
    cli.text("well", "report", "--gas-log", log, "--format", "json", "--output", target)
    assert json.loads(target.read_text()) == document


def test_an_analysed_well_is_read_and_says_what_is_simulated(cli: Cli, log: Path, tmp_path: Path) -> None:
    cli.json("well", "import", tmp_path / "scans", "--gas-log", log, "--name", "reported")
    cli.json("well", "analyse", tmp_path / "scans")
    document = cli.json("well", "report", "reported")
    assert document["simulated"] is True
    shows = [one for one in document["findings"] if one["kind"] == "show" and one["stream"] == "trap_gas"]
    assert [(abs(one["top_m"] - 1100) < 2, abs(one["bottom_m"] - 1120) < 2) for one in shows] == [(True, True)]
    assert "SIMULATED in part" in cli.text("well", "report", "reported")


def test_thresholds_of_ones_own_are_used(machine: Machine, log: Path, tmp_path: Path) -> None:
    rules = tmp_path / "mine"
    rules.mkdir()
    (rules / "mine.toml").write_text(
        '[[rule]]\nname = "zone"\nversion = 2\ntitle = "mine"\nsource = "my own note"\nstreams = ["trap_gas"]\n'
        'curve = "total_gas"\nleast_z = 4.0\nleast_times = 100.0\nleast_amount = 50.0\nleast_thickness_m = 3.0\n'
        "join_m = 6.0\n"
    )
    own = settings_with(machine, tmp_path, {"wells.profiles": str(rules)})
    document = own.json("well", "report", "--gas-log", log)
    assert "zone@2" in document["rules"]
    assert [one for one in document["findings"] if one["kind"] == "show"] == []


@pytest.mark.parametrize(
    ("words", "kind", "found"),
    [
        (["well", "report"], "InputError", "neither"),
        (["well", "report", "gas", "--gas-log", "gas.csv"], "InputError", "both"),
        (["well", "report", "--gas-log", "gone.csv"], "NotFoundError", "gone.csv"),
        (["well", "report", "unheard-of"], "NotFoundError", "not analysed yet"),
        (["well", "report", "--gas-log", "{log}", "--top", "1200", "--bottom", "1100"], "InputError", "swapped"),
    ],
)
def test_what_cannot_be_reported_is_one_error(cli: Cli, log: Path, words: list[str], kind: str, found: str) -> None:
    assert_one_error(cli.run(*(word.format(log=log) for word in words), "--json"), kind=kind, said=found)
