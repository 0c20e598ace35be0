"""``well report``: of an analysed well, and of a gas log itself."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import xarray as xr
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


OWN_INDICATORS = """
[[indicator]]
name = "mine"
version = 1
title = "My ratio"
formula = "propane / (ethane + propane)"
units = "1"
group = "gaseous_petroleum"
inputs = "species"
source = "my own note"
curve = "MINE"
[indicator.control]
inputs = { ethane = 6.0, propane = 2.0 }
value = 0.25

[[indicator]]
name = "methane_hydrogen_sulfide"
version = 1
title = "A ratio of nothing"
formula = "methane / hydrogen_sulfide"
units = "1"
group = "inorganic"
inputs = "species"
source = "my own note"
curve = "NOTHING"
[indicator.control]
inputs = { methane = 6.0, hydrogen_sulfide = 2.0 }
value = 3.0

[[indicator]]
name = "mine_across"
version = 1
title = "My contrast"
formula = "trap_gas.methane / cuttings_crush.methane"
units = "1"
group = "gaseous_petroleum"
inputs = "species"
source = "my own note"
align = { onto = "cuttings_crush", rule = "interpolated", tolerance_m = 2.0 }
[indicator.control]
inputs = { trap_gas.methane = 6.0, cuttings_crush.methane = 2.0 }
value = 3.0
"""


def test_indicators_of_ones_own_come_from_a_file_alone(machine: Machine, log: Path, tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "mine.toml").write_text(OWN_INDICATORS)
    own = settings_with(machine, tmp_path, {"wells.profiles": str(folder)})
    own.json("well", "import", tmp_path / "scans", "--gas-log", log, "--name", "with-my-own")
    own.json("well", "analyse", tmp_path / "scans")
    own.json("well", "export", "with-my-own", tmp_path / "well.csv", "--format", "csv")
    rows = list(csv.DictReader(line for line in (tmp_path / "well.csv").read_text().splitlines() if line[0] != "#"))
    inside = [row for row in rows if 1102 <= float(row["depth"]) <= 1118]
    assert all(abs(float(row["mine"]) - 8 / 28) < 0.05 for row in inside), "320 of 800 + 320 ppm"
    nothing = [row["methane_hydrogen_sulfide"] for row in rows if int(row["hydrogen_sulfide_FLAG"]) & 2]
    assert len(nothing) > 10
    assert set(nothing) == {""}, "a ratio to what is not detected is not a number"
    own.json("well", "export", "with-my-own", tmp_path / "well.zarr", "--format", "zarr")
    across = xr.open_datatree(tmp_path / "well.zarr", engine="zarr", consolidated=False)["across/indicators"]
    assert "mine_across" in across["indicator"].to_numpy().tolist()
    broken = OWN_INDICATORS.replace("value = 0.25", "value = 0.5")
    (folder / "mine.toml").write_text(broken)
    assert_one_error(own.run("well", "analyse", tmp_path / "scans", "--json"), kind="InputError", said="control")
