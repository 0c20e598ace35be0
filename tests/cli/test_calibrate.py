"""``well calibrate``, and an analysis with what it wrote: from a well's own standards to numbers that are right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli_w
from cli.command import Cli, assert_one_error, assert_one_error_in_words
from wells.calibrate.conftest import DEAD_TIME_S, make_scans_of_zone

from nightwell.wells.archive import ResultsArchive
from nightwell.wells.container import write_scans

STANDARDS = """
[[standard]]
name = "mix"
[[standard.gas]]
species = "methane"
ppm = 1000
sigma_ppm = 10
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Return commands with a folder of their own, and in it the scans of a faulty instrument."""
    folder = tmp_path_factory.mktemp("calibrated")
    file = folder / "nightwell.toml"
    file.write_text(tomli_w.dumps({"state_directory": str(folder), "wells": {"results": str(folder / "results")}}))
    write_scans(make_scans_of_zone(names_standards=True), folder / "scans.zarr")
    return Cli(file)


def test_a_well_is_calibrated_and_analysed_with_it(own: Cli, tmp_path: Path) -> None:
    folder = own.settings.parent
    scans, file = folder / "scans.zarr", tmp_path / "calibration.json"
    found = own.json("well", "calibrate", scans, "--dead-time-s", str(DEAD_TIME_S), "--out", file)
    assert json.loads(file.read_text())["version"] == found["version"]
    assert found["calibration"]["simulated"]
    assert found["calibration"]["fragments"]

    said = own.text("well", "calibrate", scans, "--dead-time-s", str(DEAD_TIME_S))
    assert said.startswith(f"calibration {found['version']} of well ")
    assert "(its scans are simulated)" in said
    for word in ("dead time: ", "m/z scale: ", "Carry-over", "acetic_acid", "drift over", "Responses", "methane"):
        assert word in said, word

    analysis = own.json("well", "analyse", scans, "--calibration", file)["analysis"]
    assert analysis["versions"]["calibration_version"] == found["version"]
    result = ResultsArchive(folder / "results", analysis["well"]).open()
    assert result.attrs["calibration_version"] == found["version"]
    assert own.json("well", "analyse", scans, "--calibration", file)["new"] is False


def test_what_is_no_calibration_or_was_edited_is_refused(own: Cli, tmp_path: Path) -> None:
    scans, file = own.settings.parent / "scans.zarr", tmp_path / "calibration.json"
    file.write_text("{}")
    assert_one_error(own.run("well", "analyse", scans, "--calibration", file, "--json"), kind="InputError",
                     said="a calibration as `well calibrate` writes it")  # fmt: skip
    assert_one_error_in_words(own.run("well", "calibrate", tmp_path / "none"))
    standards = tmp_path / "standards.toml"
    standards.write_text(STANDARDS.replace("1000", "-5"))
    assert_one_error(own.run("well", "calibrate", scans, "--standards", standards, "--json"), kind="InputError",
                     said="standard.0.gas.0.ppm")  # fmt: skip


def test_standards_of_a_document_stand_in_for_those_of_the_scans(own: Cli, tmp_path: Path) -> None:
    """A document that names other gases than the scans do teaches something else."""
    scans, standards = own.settings.parent / "scans.zarr", tmp_path / "standards.toml"
    standards.write_text(STANDARDS)
    given = own.json("well", "calibrate", scans, "--standards", standards, "--dead-time-s", str(DEAD_TIME_S))
    named = own.json("well", "calibrate", scans, "--dead-time-s", str(DEAD_TIME_S))
    assert given["version"] != named["version"]
    assert {one["gas"] for one in given["calibration"]["recoveries"]} == {"methane"}
