"""Thresholds as data: those that ship, those of a user, and mistakes in a file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from nightwell.errors import InputError
from nightwell.wells.method import Method
from nightwell.wells.rules import load_rules

ZONE = """
[[rule]]
name = "zone"
version = 2
title = "Show, my way"
source = "my own note"
streams = ["trap_gas"]
curve = "total_gas"
least_z = 6.0
least_times = 4
least_amount = 50.0
least_thickness_m = 3.0
join_m = 6.0
"""


def test_every_shipped_rule_names_its_source() -> None:
    rules = list(load_rules())
    assert len(rules) == 8
    assert all(len(rule.source) > 10 and rule.version >= 1 for rule in rules)


def test_a_user_changes_thresholds_in_a_file_and_it_is_another_method(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(ZONE)
    mine = load_rules(tmp_path)
    assert (mine.zone.identity, mine.zone.least_z, mine.zone.least_times) == ("zone@2", 6.0, 4.0)
    assert mine.contact == load_rules().contact
    shipped, own = Method.with_own(None).as_attributes(), Method.with_own(tmp_path).as_attributes()
    assert shipped["classifications_version"] != own["classifications_version"]
    assert shipped["profiles_version"] == own["profiles_version"]
    listed = own["rules"]
    assert isinstance(listed, list)
    assert "zone@2" in listed


@pytest.mark.parametrize(
    ("find", "replace", "found"),
    [
        ("version = 2", "version = 1", "version"),
        ("version = 2", "version = 2.5", "version"),
        ("least_z = 6.0", "", "least_z"),
        ("least_z = 6.0", "least_z = -1.0", "least_z"),
        ("least_z = 6.0", "least_z = nan", "least_z"),
        ("least_z = 6.0", "least_z = true", "least_z"),
        ("least_z = 6.0", "least_zed = 6.0", "least_zed"),
        ('streams = ["trap_gas"]', 'streams = ["trip_gas"]', "trip_gas"),
        ('streams = ["trap_gas"]', 'streams = "trap_gas"', "list of names"),
        ('curve = "total_gas"', 'curve = ["total_gas"]', "curve"),
        ('name = "zone"', 'name = "zones"', "zones"),
        ("[[rule]]", "[rule]", "one table"),
        ("[[rule]]", "[[rule", "TOML"),
    ],
)
def test_a_mistake_names_the_file_and_the_field(tmp_path: Path, find: str, replace: str, found: str) -> None:
    assert find in ZONE
    (tmp_path / "mine.toml").write_text(ZONE.replace(find, replace))
    with pytest.raises(InputError) as raised:
        load_rules(tmp_path)
    assert found in str(raised.value)
    assert "mine.toml" in raised.value.subject


def test_the_curves_of_the_shipped_rules_exist() -> None:
    method = Method.default()
    known = {profile.name for profile in method.profiles} | set(method.library.names)
    rules = method.rules
    asked = {*rules.contact.curves, *rules.proximity.curves, rules.zone.curve, rules.rise.curve, rules.recycled.curve}
    assert asked | {rules.metamorphism.curve} <= known


def test_every_rule_and_field_is_documented() -> None:
    text = Path(__file__).parents[3].joinpath("docs", "interpretation.md").read_text()
    assert [rule.name for rule in load_rules() if f"`{rule.name}`" not in text and rule.name != "background"] == []
    assert files("nightwell.wells").joinpath("indicator_data", "rules.toml").is_file()
