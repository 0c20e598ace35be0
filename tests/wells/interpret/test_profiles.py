"""Profiles: those that ship, and those a user adds in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightwell.errors import InputError
from nightwell.wells.formula import split_name
from nightwell.wells.profiles import IndicatorGroup, Inputs, load_profiles, newest
from nightwell.wells.species_file import load_library

MINE = """
[[indicator]]
name = "c2_c3"
version = 1
title = "C2/C3"
formula = "ethane / propane"
units = "1"
group = "gaseous_petroleum"
inputs = "species"
source = "my own note"
[indicator.control]
inputs = { ethane = 10.0, propane = 4.0 }
value = 2.5
"""


def test_every_shipped_profile_passes_its_control_example_and_names_its_source() -> None:
    profiles = load_profiles()
    assert len(profiles) >= 31
    assert all(len(profile.source) > 10 for profile in profiles)
    assert {profile.group for profile in profiles} == set(IndicatorGroup)
    assert len({profile.curve for profile in profiles}) == len(profiles)


def test_shipped_formulas_use_names_of_the_whole_library() -> None:
    known = set(load_library(core=False).names)
    for profile in load_profiles():
        if profile.inputs is Inputs.SPECIES:
            assert {split_name(name)[1] for name in profile.formula.names} <= known, profile.name


def test_a_user_adds_one_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    profiles = newest(load_profiles(tmp_path))
    assert profiles["c2_c3"].identity == "c2_c3@1"
    assert len(profiles) == len(load_profiles()) + 1


def test_a_user_replaces_one_by_a_higher_version(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE.replace('"c2_c3"', '"pixler_c1_c2"').replace("version = 1", "version = 2"))
    assert newest(load_profiles(tmp_path))["pixler_c1_c2"].identity == "pixler_c1_c2@2"


@pytest.mark.parametrize(
    ("find", "replace", "found"),
    [
        ("value = 2.5", "value = 2.6", "2.5"),
        ("propane = 4.0", "butane = 4.0", "control"),
        ('source = "my own note"', "", "nothing"),
        ('source = "my own note"', 'source = ""', "''"),
        ("version = 1", "version = 0", "0"),
        ("version = 1", "version = true", "True"),
        ('"gaseous_petroleum"', '"gas"', "gas"),
        ('inputs = "species"', 'inputs = "intensity"', "ethane, propane"),
        ('formula = "ethane / propane"', 'formula = "ethane.real"', "ethane.real"),
        ('formula = "ethane / propane"', 'formula = "2 / 3"', "2 / 3"),
        ('units = "1"', 'unit = "1"', "nothing"),
        ('title = "C2/C3"', 'title = "C2/C3"\nthreshold = 3', "threshold"),
        ('name = "c2_c3"', 'name = "haworth_wetness"', "version 1"),
        ("[indicator.control]", "[indicator.kontrol]", "nothing"),
        ("[[indicator]]", "[[indikator]]", "indikator"),
        ("[[indicator]]", "[[indicator", ""),
    ],
)
def test_a_mistake_in_a_file_is_one_clear_error(tmp_path: Path, find: str, replace: str, found: str) -> None:
    assert find in MINE
    (tmp_path / "mine.toml").write_text(MINE.replace(find, replace))
    with pytest.raises(InputError) as raised:
        load_profiles(tmp_path)
    assert found in str(raised.value)
    assert "mine.toml" in raised.value.subject


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="directory of profiles"):
        load_profiles(tmp_path / "nowhere")
