"""Indicators across streams: how depths meet, what is carried along, and the files that declare them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.across import StreamCurves, across_dataset, align_curves, find_neighbours
from nightwell.wells.analysis import analyse_well
from nightwell.wells.archive import ResultsArchive
from nightwell.wells.findings import findings_dataset, findings_of
from nightwell.wells.indicators import Curve, Curves, IndicatorFlag
from nightwell.wells.method import Method
from nightwell.wells.profiles import Alignment, AlignRule, load_profiles, newest
from nightwell.wells.streams import Stream

NEAREST = Alignment(Stream.CUTTINGS_CRUSH, AlignRule.NEAREST, 2.0)
BETWEEN = replace(NEAREST, rule=AlignRule.INTERPOLATED)

PROFILES = newest(load_profiles())

MINE = """
[[indicator]]
name = "ethane_trap_crush"
version = 1
title = "C2, trap against crush"
formula = "trap_gas.ethane / cuttings_crush.ethane"
units = "1"
group = "gaseous_petroleum"
inputs = "species"
align = { onto = "cuttings_crush", rule = "nearest", tolerance_m = 2.0 }
source = "my own note"
[indicator.control]
inputs = { trap_gas.ethane = 10.0, cuttings_crush.ethane = 4.0 }
value = 2.5
"""

Floats = NDArray[np.float64]


def stream(
    depth: list[float], *, detected: list[bool] | None = None, covariance: float = 0.0, **values: list[float]
) -> StreamCurves:
    names = tuple(values)
    seen = np.ones(len(depth), dtype=bool) if detected is None else np.array(detected)
    curves = {name: Curve(np.array(one), np.ones(len(depth)), seen & np.isfinite(one)) for name, one in values.items()}
    shared = np.full((len(depth), len(names), len(names)), covariance)
    shared[:, range(len(names)), range(len(names))] = 1.0
    return StreamCurves(np.array(depth), Curves(curves, shared, names))


def mine(tmp_path: Path, text: str = MINE) -> xr.Dataset | None:
    (tmp_path / "mine.toml").write_text(text)
    profile = newest(load_profiles(tmp_path))["ethane_trap_crush"]
    streams = {
        Stream.TRAP_GAS: stream([100.0, 101.0, 104.0, 120.0], ethane=[10.0, 20.0, 30.0, 40.0]),
        Stream.CUTTINGS_CRUSH: stream([101.4, 103.0, 110.0, 119.0], ethane=[5.0, 5.0, 5.0, 5.0]),
    }
    return across_dataset([profile], streams)


def test_a_user_adds_one_in_a_file(tmp_path: Path) -> None:
    found = mine(tmp_path)
    assert found is not None
    assert found["depth"].to_numpy().tolist() == [101.4, 103.0, 110.0, 119.0]
    assert found["value"].to_numpy()[:, 0] == pytest.approx([4.0, 6.0, np.nan, 8.0], nan_ok=True)
    assert found["distance"].to_numpy()[:, 0] == pytest.approx([0.4, 1.0, np.nan, 1.0], nan_ok=True)
    assert found["flag"].to_numpy()[2, 0] == IndicatorFlag.NO_PARTNER | IndicatorFlag.MISSING_INPUT
    assert found["sigma"].to_numpy()[0, 0] == pytest.approx(4.0 * np.hypot(1 / 20, 1 / 5))
    assert (found["onto"].item(), found["rule"].item(), found["tolerance"].item()) == ("cuttings_crush", "nearest", 2.0)


@pytest.mark.parametrize(
    ("find", "replace_by", "found"),
    [
        ('align = { onto = "cuttings_crush", rule = "nearest", tolerance_m = 2.0 }', "", "None"),
        ("tolerance_m = 2.0", "tolerance_m = 0", "tolerance_m"),
        ("tolerance_m = 2.0", "tolerance_m = true", "tolerance_m"),
        ("tolerance_m = 2.0", "tolerance = 2.0", "tolerance_m"),
        ('"nearest"', '"closest"', "closest"),
        ('onto = "cuttings_crush"', 'onto = "mud_fluid"', "mud_fluid"),
        ("trap_gas.ethane / cuttings_crush.ethane", "trap_gas.ethane / ethane", "ethane"),
        ("trap_gas.ethane / cuttings_crush.ethane", "trap_gas.ethane / trap_gas.methane", "trap_gas.methane"),
        ("trap_gas.ethane / cuttings_crush.ethane", "trip_gas.ethane / cuttings_crush.ethane", "trip_gas.ethane"),
        ('source = "my own note"', 'source = "my own note"\nstreams = ["trap_gas"]', "streams"),
        ("trap_gas.ethane = 10.0", 'trap_gas.ethane = "10"', "control"),
        ("trap_gas.ethane = 10.0", "trap_gas.methane = 10.0", "control"),
        ("value = 2.5", "value = 2.4", "2.5"),
    ],
)
def test_a_mistake_names_the_file_and_the_field(tmp_path: Path, find: str, replace_by: str, found: str) -> None:
    assert find in MINE
    with pytest.raises(InputError) as raised:
        mine(tmp_path, MINE.replace(find, replace_by))
    assert found in str(raised.value)
    assert "mine.toml" in raised.value.subject
    assert "ethane_trap_crush" in raised.value.subject


def test_align_is_refused_where_no_name_says_its_stream(tmp_path: Path) -> None:
    text = MINE.replace("trap_gas.ethane / cuttings_crush.ethane", "ethane / propane")
    with pytest.raises(InputError, match="no field 'align'"):
        mine(tmp_path, text.replace("trap_gas.ethane = 10.0, cuttings_crush.ethane", "ethane = 10.0, propane"))


def test_rows_without_a_spectrum_stand_for_nothing() -> None:
    curves, distance = align_curves(
        stream([10.0, 11.0, 12.0], a=[1.0, np.nan, 3.0]), ["a"], np.array([10.9, 11.2]), NEAREST
    )
    assert curves.curves["a"].value.tolist() == [1.0, 3.0]
    assert distance == pytest.approx([0.9, 0.8])
    nothing, nowhere = align_curves(stream([10.0], a=[np.nan]), ["a"], np.array([10.0]), NEAREST)
    assert np.isnan(nothing.curves["a"].value).all()
    assert np.isnan(nowhere).all()
    assert not nothing.curves["a"].detected.any()


def test_interpolation_carries_sigma_covariance_and_half_a_detection_is_none() -> None:
    given_ = stream([10.0, 12.0], detected=[True, False], covariance=-0.5, a=[1.0, 3.0], b=[4.0, 8.0])
    curves, distance = align_curves(given_, ["b", "a"], np.array([10.0, 10.5, 9.0, 13.0]), BETWEEN)
    a = curves.curves["a"]
    assert a.value == pytest.approx([1.0, 1.5, np.nan, np.nan], nan_ok=True)
    assert distance == pytest.approx([0.0, 1.5, np.nan, np.nan], nan_ok=True)
    weights = 0.75**2 + 0.25**2
    assert a.sigma is not None
    assert a.sigma[:2] == pytest.approx([1.0, np.sqrt(weights)])
    assert curves.covariance is not None
    assert curves.covariance[1] == pytest.approx(weights * np.array([[1.0, -0.5], [-0.5, 1.0]]))
    assert a.detected.tolist() == [True, False, False, False]


def test_an_undetected_partner_gives_no_number() -> None:
    profile = PROFILES["carbon_dioxide_crush_background"]
    streams = {
        Stream.CUTTINGS_CRUSH: stream([10.0, 20.0], carbon_dioxide=[900.0, 900.0]),
        Stream.CUTTINGS_BACKGROUND: stream([10.0, 20.0], detected=[True, False], carbon_dioxide=[300.0, 0.1]),
    }
    found = across_dataset([profile], streams)
    assert found["value"].to_numpy()[:, 0] == pytest.approx([3.0, np.nan], nan_ok=True)
    assert found["flag"].to_numpy()[:, 0].tolist() == [0, IndicatorFlag.NOT_DETECTED]


def test_indicators_of_other_depths_say_so_and_missing_streams_are_named() -> None:
    chosen = [PROFILES["carbon_dioxide_crush_background"], PROFILES["acetic_mud_benzene_trap"]]
    streams = {
        Stream.TRAP_GAS: stream([10.0, 15.0], benzene=[2.0, 2.0]),
        Stream.MUD_FLUID: stream([15.0], acetic_acid=[9.0]),
        Stream.CUTTINGS_CRUSH: stream([10.0], carbon_dioxide=[900.0]),
        Stream.CUTTINGS_BACKGROUND: stream([10.0], carbon_dioxide=[300.0]),
    }
    found = across_dataset(chosen, streams)
    assert found["value"].to_numpy() == pytest.approx(np.array([[3.0, np.nan], [np.nan, 4.5]]), nan_ok=True)
    assert (found["flag"].to_numpy() & IndicatorFlag.OTHER_DEPTH > 0).tolist() == [[False, True], [True, False]]
    del streams[Stream.MUD_FLUID]
    assert across_dataset(chosen, streams).attrs["not_computed"] == ["acetic_mud_benzene_trap@1"]
    nothing = across_dataset(chosen, {})
    assert (nothing.sizes["depth"], nothing.sizes["indicator"]) == (0, 0)


amounts = st.floats(0.1, 1e5)


@settings(deadline=None, max_examples=25)
@given(st.lists(amounts, min_size=4, max_size=4), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_a_contrast_of_ratios_does_not_know_how_much_gas_there_is(gas: list[float], trap: float, crush: float) -> None:
    """A trap that catches half, or a sample of twice the mass, changes nothing."""
    profile = PROFILES["c1_c2_trap_crush"]

    def contrast(in_trap: float, in_crush: float) -> float:
        streams = {
            Stream.TRAP_GAS: stream([10.0], methane=[gas[0] * in_trap], ethane=[gas[1] * in_trap]),
            Stream.CUTTINGS_CRUSH: stream([10.0], methane=[gas[2] * in_crush], ethane=[gas[3] * in_crush]),
        }
        return float(across_dataset([profile], streams)["value"].item())

    assert contrast(trap, crush) == pytest.approx(contrast(1.0, 1.0), rel=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(0.0, 100.0), min_size=1, max_size=12, unique=True),
    st.lists(st.floats(-10.0, 110.0), min_size=1, max_size=6),
    st.floats(0.1, 20.0),
    st.sampled_from(AlignRule),
)
def test_neighbours_are_those_that_a_search_of_all_rows_finds(
    depths: list[float], wanted: list[float], tolerance_m: float, rule: AlignRule
) -> None:
    depth = np.sort(np.array(depths))
    alignment = Alignment(Stream.TRAP_GAS, rule, tolerance_m)
    near = find_neighbours(depth, np.ones(depth.size, dtype=bool), np.array(wanted), alignment)
    for row, at in enumerate(wanted):
        away = np.abs(depth - at)
        if rule is AlignRule.NEAREST:
            expected = away.min() if away.min() <= tolerance_m else np.nan
        else:
            above, below = depth[depth <= at], depth[depth >= at]
            both = max(at - above[-1], below[0] - at) if above.size and below.size else np.inf
            expected = 0.0 if (away == 0.0).any() else both if both <= tolerance_m else np.nan
        assert near.distance_m[row] == pytest.approx(expected, nan_ok=True)
        if near.found[row]:
            middle = (1 - near.weight[row]) * depth[near.upper[row]] + near.weight[row] * depth[near.lower[row]]
            assert abs(middle - at) == pytest.approx(away.min() if rule is AlignRule.NEAREST else 0.0, abs=1e-9)


def test_a_well_has_them(result: xr.DataTree) -> None:
    across = result["across/indicators"].to_dataset()
    shipped = [profile.name for profile in PROFILES.values() if profile.align is not None]
    assert across["indicator"].to_numpy().tolist() == shipped
    assert np.isfinite(across["value"].sel(indicator="hydrocarbons_crush_background")).mean() > 0.9
    assert {"fluid_relation", "where_petroleum_is"} <= set(result["across/interpretation"].data_vars)
    assert "across_value" not in result["trap_gas/species"]


def test_the_covariance_within_a_stream_is_carried_and_none_is_made_between_streams() -> None:
    """Butanes are confused with each other: the error of their ratio is larger than independent errors would say."""

    def relative_variance(trap: float, crush: float) -> float:
        streams = {
            Stream.TRAP_GAS: stream([10.0], covariance=trap, isobutane=[10.0], n_butane=[20.0]),
            Stream.CUTTINGS_CRUSH: stream([10.0], covariance=crush, isobutane=[10.0], n_butane=[20.0]),
        }
        found = across_dataset([PROFILES["butane_isomers_trap_crush"]], streams)
        return float((found["sigma"] / found["value"]).item()) ** 2

    one = 1 / 10**2 + 1 / 20**2
    shared = -2 * -0.6 / (10 * 20)
    assert relative_variance(0.0, 0.0) == pytest.approx(2 * one, rel=1e-5)
    assert relative_variance(-0.6, 0.0) == pytest.approx(2 * one + shared, rel=1e-5)
    assert relative_variance(-0.6, -0.6) == pytest.approx(2 * one + 2 * shared, rel=1e-5)


def test_a_well_carries_its_covariances(result: xr.DataTree) -> None:
    """Where one spectrum of each stream stands for itself, a contrast has the errors of the streams' own ratios."""
    across = result["across/indicators"].to_dataset().sel(indicator="c1_c2_trap_crush")
    depth = across["depth"].to_numpy()
    errors = []
    for one in (Stream.TRAP_GAS, Stream.CUTTINGS_CRUSH):
        own = result[one]["indicators"].to_dataset().sel(indicator="pixler_c1_c2")
        relative = (own["sigma"] / own["value"]).to_numpy()
        at = np.searchsorted(own["depth"].to_numpy(), depth).clip(max=relative.size - 1)
        errors.append(np.where(own["depth"].to_numpy()[at] == depth, relative[at], np.nan))
    expected, found = np.hypot(*errors), (across["sigma"] / across["value"]).to_numpy()
    known = np.isfinite(found) & np.isfinite(expected)
    assert known.sum() > 3
    assert found[known] == pytest.approx(expected[known], rel=1e-3)


def test_a_well_of_one_stream_has_none_says_so_and_is_kept(scans: xr.DataTree, tmp_path: Path) -> None:
    raw = scans["scans"].to_dataset()
    alone = scans.copy()
    alone["scans"] = xr.DataTree(raw.isel(scan=np.flatnonzero(raw["stream"].to_numpy() == Stream.TRAP_GAS.code)))
    found = analyse_well(alone, method=Method.default())
    assert found["across/indicators"].sizes["indicator"] == 0
    assert "c1_c2_trap_crush@1" in found["across/indicators"].attrs["not_computed"]
    assert found["findings"].sizes["finding"] > 0
    found["findings"] = xr.DataTree(findings_dataset([]))
    archive = ResultsArchive(tmp_path, "alone")
    archive.commit(found)
    kept = archive.open("latest")
    assert kept["across/indicators"].sizes["indicator"] == 0
    assert findings_of(kept["findings"].to_dataset()) == ()
