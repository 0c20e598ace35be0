"""Classes at their thresholds, overlapping zones, and intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from nightwell.errors import InputError
from nightwell.wells.interpret import (
    FLUIDS,
    classify,
    dissent_of,
    find_intervals,
    interpretation_dataset,
    load_classifications,
    read_interval,
)
from nightwell.wells.streams import Stream

CLASSIFICATIONS = {one.name: one for one in load_classifications()}


def indicators(**values: list[float]) -> xr.Dataset:
    columns = {"total_gas": [1000.0] * len(next(iter(values.values())))} | values
    names = list(columns)
    table = np.array([columns[name] for name in names]).T
    depth = 1000.0 + 0.5 * np.arange(table.shape[0])
    return xr.Dataset(
        {"value": (("depth", "indicator"), table)},
        coords={"depth": depth, "indicator": np.array(names, dtype=object)},
    )


def classes(name: str, **values: list[float]) -> list[str]:
    holds = classify(CLASSIFICATIONS[name], indicators(**values))
    words = [one.name for one in CLASSIFICATIONS[name].classes]
    return ["+".join(word for word, held in zip(words, row, strict=True) if held) for row in holds]


def test_haworth_classes() -> None:
    cases = {
        (0.2, 150.0): "very_light_dry_gas",
        (0.2, 90.0): "light_dry_gas",
        (0.5, 100.0): "gas",
        (10.0, 30.0): "gas",
        (10.0, 10.0): "condensate",
        (17.5, 5.0): "condensate",
        (20.0, 10.0): "oil",
        (40.0, 12.0): "oil",
        (30.0, 5.0): "low_gravity_oil",
        (41.0, 1.0): "residual_oil",
        (20.0, 30.0): "",
        (float("nan"), 30.0): "",
    }
    found = classes(
        "haworth", haworth_wetness=[wet for wet, _ in cases], haworth_balance=[balance for _, balance in cases]
    )
    assert found == list(cases.values())


def test_pixler_zones_overlap_and_all_are_reported() -> None:
    found = classes("pixler", pixler_c1_c2=[1.5, 3.0, 4.0, 6.0, 9.0, 12.0, 17.0, 30.0, 80.0, float("nan")])
    assert found == [
        "residual_oil",
        "low_gravity_oil",
        "low_gravity_oil+medium_gravity_oil",
        "medium_gravity_oil",
        "high_gravity_oil",
        "high_gravity_oil+condensate",
        "condensate+gas",
        "gas",
        "light_gas",
        "",
    ]


def test_oil_indicator_classes() -> None:
    found = classes("oil_indicator", oil_indicator=[0.005, 0.01, 0.07, 0.1, 0.4, 1.0, 1.1])
    assert found == ["", "dry_gas", "condensate", "oil", "residual_oil", "residual_oil", ""]


def test_fluid_inclusion_classes() -> None:
    found = classes(
        "fluid_inclusion",
        inclusion_28_40=[250.0, 150.0, 150.0],
        inclusion_44_16=[5.0, 3.0, 3.0],
        inclusion_43_39=[0.5, 1.5, 0.5],
    )
    assert found == ["reservoir_fluid", "meteoric_water", ""]


def test_a_trace_of_gas_is_not_read() -> None:
    assert classes("haworth", haworth_wetness=[10.0, 10.0], haworth_balance=[30.0] * 2, total_gas=[49.0, 50.0]) == [
        "",
        "gas",
    ]


def test_intervals_survive_single_depths_and_carry_their_values() -> None:
    wet = [10.0] * 40 + [20.0] + [10.0] * 20 + [30.0] * 40
    table = indicators(haworth_wetness=wet, haworth_balance=[12.0] * 101, haworth_character=[0.6] * 101)
    readings = interpretation_dataset(CLASSIFICATIONS.values(), table, Stream.TRAP_GAS)
    intervals = find_intervals(readings, table, min_thickness_m=3.0)
    assert [(one.top_m, one.bottom_m) for one in intervals] == [(1000.0, 1030.0), (1030.5, 1050.0)]
    assert intervals[0].readings["Haworth class"].startswith("gas")
    assert intervals[1].readings["Haworth class"].startswith("oil")
    assert intervals[1].readings["Haworth character"] == "gas with oil by Ch"
    assert intervals[1].values["haworth_wetness"] == pytest.approx(30.0)
    assert "fluid_inclusion" not in readings


def test_a_user_changes_thresholds_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        '[[classification]]\nname = "oil_indicator"\nversion = 2\ntitle = "mine"\nsource = "me"\nexclusive = true\n'
        '[[classification.class]]\nname = "oil"\ncondition = "oil_indicator > 0.2"\nreading = "oil"\n'
    )
    mine = {one.name: one for one in load_classifications(tmp_path)}["oil_indicator"]
    assert classify(mine, indicators(oil_indicator=[0.1, 0.3])).tolist() == [[False], [True]]
    (tmp_path / "mine.toml").write_text('[[classification]]\nname = "oil_indicator"\n')
    with pytest.raises(InputError, match="classes with name, condition, reading"):
        load_classifications(tmp_path)


def test_methods_that_differ_or_contradict_each_other_are_named() -> None:
    def said(**values: float) -> str:
        table = indicators(**{name: [value] * 20 for name, value in values.items()})
        read = interpretation_dataset(CLASSIFICATIONS.values(), table, Stream.TRAP_GAS)
        interval = read_interval(read, table, 1000.0, 1010.0)
        assert interval is not None
        assert interval.dissent == dissent_of(read, 0, 20)
        return interval.dissent

    gas = {"haworth_wetness": 5.0, "haworth_balance": 50.0}
    assert said(**gas, pixler_c1_c2=30.0) == ""
    assert said(**gas, pixler_c1_c2=17.0) == "", "condensate or gas: gas suits both"
    assert said(**gas, pixler_c1_c2=12.0) == (
        "The methods differ: gas by Haworth class, condensate or oil by Pixler C1/C2 zones"
    )
    assert said(**gas, oil_indicator=0.2).startswith("The methods contradict each other: gas by Haworth class, oil by")
    assert said(**gas) == "", "one method has nobody to differ with"
    assert said(haworth_wetness=30.0, haworth_balance=3.0, pixler_c1_c2=3.0, haworth_character=0.8) == ""


def test_every_shipped_class_of_a_fluid_says_which() -> None:
    for name in ("haworth", "haworth_character", "pixler", "oil_indicator"):
        assert all(set(one.fluids) <= set(FLUIDS) and one.fluids for one in CLASSIFICATIONS[name].classes), name
