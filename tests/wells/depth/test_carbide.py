"""Carbide checks, sections and cuttings: a hole whose true volume is known registers gas where it came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.annulus import Annulus
from nightwell.wells.carbide import MIN_ERROR, pipe_volume_m3, scale_of_checks
from nightwell.wells.container import make_dataset, make_scans, open_scans, write_scans
from nightwell.wells.contract import CARBIDE, DRILLING, Origin
from nightwell.wells.hole_files import HoleFiles, add_hole
from nightwell.wells.instrument import Instrument
from nightwell.wells.lag import (
    DELAY_ERROR_S,
    register_cuttings,
    register_scans,
    register_times,
    transport_ratio_of_check,
)
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]
START = np.datetime64("2024-05-17T12:00:00", "ns")
CLOCK = np.arange(0.0, 40_000.0, 10.0)
FLOW, DELAY_S, HOLE, PIPE = 0.05, 60.0, 0.3, 0.127
AREA = np.pi / 4 * (HOLE**2 - PIPE**2)


def at(seconds: Floats | list[float]) -> NDArray[np.datetime64]:
    return START + (np.asarray(seconds) * 1e9).astype(np.int64).astype("timedelta64[ns]")


@pytest.fixture
def drilling() -> xr.Dataset:
    """Steady drilling at 30 m/h from 1000 m."""
    values = {"time": at(CLOCK), "bit_depth": 1000 + CLOCK / 120, "rop": np.full(CLOCK.size, 30.0),
              "flow": np.full(CLOCK.size, FLOW), "hole_diameter": np.full(CLOCK.size, HOLE),
              "pipe_diameter": np.full(CLOCK.size, PIPE)}  # fmt: skip
    return make_dataset(DRILLING, values, {"gas_line_delay_s": DELAY_S})


def annulus() -> Annulus:
    return Annulus(np.array([0.0, 3000.0]), np.array([0.0, 3000.0 * AREA]))


def check_of(drilling: xr.Dataset, dropped_s: Floats, factor: Floats) -> xr.Dataset:
    """Checks as they are seen in a hole that holds `factor` times the computed volume."""
    bit = 1000 + dropped_s / 120
    seen = dropped_s + (pipe_volume_m3(drilling, bit) + factor * AREA * bit) / FLOW + DELAY_S
    return make_dataset(CARBIDE, {"dropped": at(dropped_s), "seen": at(seen)})


def tree_of(drilling: xr.Dataset, times_s: Floats, **scans: object) -> xr.DataTree:
    size = times_s.size
    values = {"intensity": np.ones((size, 3)), "mz": [14.0, 28.0, 40.0], "time": at(times_s),
              "stream": np.zeros(size), "kind": np.zeros(size), "valve": np.ones(size),
              "pressure": np.full(size, np.nan), **scans}  # fmt: skip
    origin = Origin("bench", Instrument("bench"), simulated=False, provenance="typed in")
    series = {str(name): drilling[name].to_numpy() for name in drilling.variables}
    return make_scans(origin, values, drilling=series, gas_line_delay_s=DELAY_S)


def test_a_washed_out_hole_is_found_and_gas_stands_where_it_came_from(drilling: xr.Dataset) -> None:
    true = 1.15
    tree = tree_of(drilling, np.array([20_000.0, 30_000.0]))
    before = register_scans(tree)
    tree["carbide"] = xr.DataTree(check_of(drilling, np.array([2000.0, 12_000.0]), np.array([true, true])))
    after = register_scans(tree)
    hole = annulus().scaled(true)
    expected = register_times(tree["scans"].time.to_numpy(), drilling, hole).depth_m
    np.testing.assert_allclose(after.depth_m, expected, atol=0.02)
    assert (np.abs(before.depth_m - expected) > 1.0).all()  # without the check it stands too deep
    assert (after.depth_error_m < 0.5 * before.depth_error_m).all()


def test_factors_differ_with_depth_and_scatter_widens_the_error(drilling: xr.Dataset) -> None:
    dropped = np.array([2000.0, 20_000.0])
    scale = scale_of_checks(drilling, annulus(), check_of(drilling, dropped, np.array([1.0, 1.2])))
    np.testing.assert_allclose(scale.factor, [1.0, 1.2], rtol=1e-3)
    scaled = scale.apply(annulus())
    np.testing.assert_allclose(scaled.volume_above(scale.depth_m), annulus().volume_above(scale.depth_m) * scale.factor)
    agree = scale_of_checks(drilling, annulus(), check_of(drilling, dropped, np.array([1.1, 1.1])))
    assert MIN_ERROR < agree.sigma < 0.02 < scale.sigma


def test_a_pump_that_delivers_less_is_taken_up_by_the_factor(drilling: xr.Dataset) -> None:
    """Counted at 97 % efficiency where it is 87 %: the volume comes out as much too large, and the lag right."""
    counted = drilling.copy()
    counted["flow"] = drilling.flow * (97 / 87)
    tree = tree_of(counted, np.array([25_000.0]))
    tree["carbide"] = xr.DataTree(check_of(drilling, np.array([15_000.0]), np.array([1.0])))
    expected = register_times(tree["scans"].time.to_numpy(), drilling, annulus()).depth_m
    assert abs(register_scans(tree).depth_m[0] - expected[0]) < 0.6  # the pipe's volume is not scaled with the pump
    del tree["carbide"]
    assert abs(register_scans(tree).depth_m[0] - expected[0]) > 1.0


@pytest.mark.parametrize(
    ("dropped", "factor", "said"),
    [([2000.0], [3.0], "found 3.00 times"), ([2000.0], [0.2], "found 0.20 times"), ([39_000.0], [1.0], "no drilling")],
)
def test_an_implausible_check_is_named(drilling: xr.Dataset, dropped: list[float], factor: list[float],
                                       said: str) -> None:  # fmt: skip
    with pytest.raises(InputError, match=said):
        scale_of_checks(drilling, annulus(), check_of(drilling, np.array(dropped), np.array(factor)))


def test_checks_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="more mud above a deeper bit"):
        annulus().scaled_by_depth([1000.0, 1010.0], [1.5, 0.6])


def test_the_error_of_the_line_is_in_the_error_of_the_depth(drilling: xr.Dataset) -> None:
    found = register_times(at([20_000.0]), drilling, annulus(), volume_error=0.0)
    # Mud that is released dt later is released dt / (1 + A v / q) deeper along the record.
    speed = 30 / 3600 / (1 + AREA * 30 / 3600 / FLOW)
    assert found.depth_error_m[0] == pytest.approx(DELAY_ERROR_S * speed, rel=0.02)


def test_a_trip_registers_no_gas_to_the_rock_beside_the_hanging_bit(drilling: xr.Dataset) -> None:
    """The bit is pulled to 600 m and circulates there: what it releases is old mud, whatever the sensor says."""
    series = drilling.copy()
    bit = np.interp(CLOCK, [0, 10_000, 12_000, 22_000, 24_000, 40_000], [1000, 1083, 600, 600, 1083, 1216])
    series["bit_depth"] = ("time", bit, drilling.bit_depth.attrs)  # the rate of penetration still reads 30 m/h
    seen = np.arange(14_000.0, 24_000.0, 500.0)
    found = register_times(at(seen), series, annulus())
    shallow = found.depth_m < 1000 - 2.0
    assert not (shallow & ~found.off_bottom).any()
    drilled = register_times(at([39_000.0]), series, annulus())
    assert not drilled.off_bottom[0]
    assert drilled.depth_m[0] > 1083


def test_cuttings_lag_behind_the_mud_by_their_slip(drilling: xr.Dataset) -> None:
    ratio = transport_ratio_of_check(2451, 3064)
    assert ratio == pytest.approx(0.8, rel=1e-3)
    slow = register_cuttings(at([20_000.0]), drilling, annulus(), transport_ratio=0.8)
    fast = register_cuttings(at([20_000.0]), drilling, annulus())
    released = (20_000 * FLOW - 1000 * AREA / 0.8) / (FLOW + AREA / 120 / 0.8)
    assert slow.depth_m[0] == pytest.approx(1000 + released / 120, abs=0.01)
    assert slow.depth_m[0] < fast.depth_m[0]
    for ratio in (0.0, 1.2, -1.0):
        with pytest.raises(InputError, match="up to 1"):
            register_cuttings(at([20_000.0]), drilling, annulus(), transport_ratio=ratio)


def test_cuttings_scans_are_placed_by_when_they_were_collected(drilling: xr.Dataset) -> None:
    codes = np.array([Stream.CUTTINGS_BACKGROUND.code, Stream.CUTTINGS_CRUSH.code, Stream.CUTTINGS_CRUSH.code])
    collected = np.array([*at([20_000.0, 20_000.0]), np.datetime64("NaT", "ns")])
    tree = tree_of(drilling, np.array([30_000.0, 30_060.0, 30_120.0]), stream=codes, collected=collected)
    tree["drilling"].attrs["cuttings_transport_ratio"] = 0.8
    found = register_scans(tree)
    expected = register_cuttings(at([20_000.0]), drilling, annulus(), transport_ratio=0.8)
    np.testing.assert_allclose(found.depth_m[:2], expected.depth_m[0], atol=0.05)
    assert np.isnan(found.depth_m[2])
    assert found.depth_error_m[0] > 0


def test_files_of_the_hole_are_added_kept_and_used(drilling: xr.Dataset, tmp_path: Path) -> None:
    tree = tree_of(drilling, np.array([20_000.0]))
    sections = tmp_path / "sections.csv"
    sections.write_text("Top (ft),Bottom (ft),Hole Diameter (in),Pipe OD (in)\n0,3000,12.25,5\n3000,12000,8.5,5\n")
    checks = tmp_path / "carbide.csv"
    inch = 0.0254
    area = [np.pi / 4 * inch**2 * (hole**2 - 25) for hole in (12.25, 8.5)]
    bit = 1000 + 2000 / 120
    volume = area[0] * 914.4 + area[1] * (bit - 914.4)
    seen = 2000 + (1.1 * volume + pipe_volume_m3(drilling, np.array([bit]))[0]) / FLOW + DELAY_S
    checks.write_text(f"Dropped,Seen\n{at([2000.0])[0]}Z,{at([seen])[0]}Z\n")
    add_hole(tree, HoleFiles(sections, checks, 0.9))
    write_scans(tree, tmp_path / "scans")
    again = open_scans(tmp_path / "scans")
    assert again["drilling"].attrs["cuttings_transport_ratio"] == 0.9
    scale = scale_of_checks(drilling, Annulus(np.array([0, 914.4, 3657.6]),
                            np.array([0, area[0] * 914.4, area[0] * 914.4 + area[1] * 2743.2])),
                            again["carbide"].to_dataset())  # fmt: skip
    assert scale.factor[0] == pytest.approx(1.1, rel=1e-3)
    assert register_scans(again).depth_m[0] == pytest.approx(register_scans(tree).depth_m[0])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("sections", "Top (m),Bottom (m),Hole Diameter (in)\n0,1,12\n", r"columns for pipe_diameter \(known as"),
        ("sections", "Top (m),Bottom (m),Hole (in),Pipe (in)\n", "zero rows"),
        ("sections", "Top (m),Bottom (m),Hole (in),Pipe (in)\n0,100,12,5\n200,300,12,5\n", "0-100 m, 200-300 m"),
        ("sections", "Top (m),Bottom (m),Hole (in),Pipe (in)\n0,100,5,12\n", "a hole wider than the pipe"),
        ("carbide", "Dropped\n2024-05-17T12:00:00Z\n", "columns for seen"),
        ("carbide", "Dropped,Seen\nnoon,one\n", "ISO 8601"),
        ("carbide", "Dropped,Seen\n2024-05-17T13:00:00Z,2024-05-17T13:01:00Z\n", "carbide check of 2024-05-17T13"),
    ],
)
def test_bad_files_of_the_hole_are_named(drilling: xr.Dataset, tmp_path: Path, name: str, text: str,
                                         said: str) -> None:  # fmt: skip
    path = tmp_path / f"{name}.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        add_hole(
            tree_of(drilling, np.array([20_000.0])), HoleFiles(path) if name == "sections" else HoleFiles(carbide=path)
        )


def test_the_hole_without_a_drilling_record_is_refused(drilling: xr.Dataset) -> None:
    tree = tree_of(drilling, np.array([20_000.0]))
    del tree["drilling"]
    with pytest.raises(InputError, match="give --drilling"):
        add_hole(tree, HoleFiles(transport_ratio=0.8))
