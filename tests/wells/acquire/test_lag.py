"""Depth registration: the two check values, a slow oracle that follows the definition, trips and stops."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.annulus import (
    Annulus,
    annulus_of,
    annulus_of_drilling,
    annulus_of_sections,
    lag_strokes,
    lag_time_s,
    triplex_output_m3,
)
from nightwell.wells.container import make_dataset
from nightwell.wells.contract import DRILLING
from nightwell.wells.lag import register_scans, register_times

BARREL_M3 = 0.158987294928
GALLON_M3 = 3.785411784e-3
START = np.datetime64("2024-05-17T12:00:00", "ns")

Floats = NDArray[np.float64]


def at(seconds: Floats | list[float]) -> NDArray[np.datetime64]:
    return START + (np.asarray(seconds) * 1e9).astype(np.int64).astype("timedelta64[ns]")


def drilling(clock_s: Floats, bit: Floats, flow: Floats, *, delay_s: float = 0.0, rop: float = 20.0) -> xr.Dataset:
    size = clock_s.size
    values = {
        "time": at(clock_s),
        "bit_depth": bit,
        "rop": np.full(size, rop),
        "flow": flow,
        "hole_diameter": np.full(size, 0.3),
        "pipe_diameter": np.full(size, 0.1),
    }
    return make_dataset(DRILLING, values, {"gas_line_delay_s": delay_s})


def test_250_barrels_at_300_gallons_a_minute_take_35_minutes() -> None:
    assert lag_time_s(250 * BARREL_M3, 300 * GALLON_M3 / 60) == pytest.approx(35 * 60)


def test_250_barrels_at_0102_barrels_a_stroke_take_2451_strokes() -> None:
    assert lag_strokes(250 * BARREL_M3, 0.102 * BARREL_M3) == 2451


def test_annulus_and_pump_agree_with_the_oil_field_formulas() -> None:
    inch, foot = 0.0254, 0.3048
    annulus = annulus_of_sections([0.0], [1000 * foot], [12.25 * inch], [5.0 * inch])
    barrels = (12.25**2 - 5.0**2) / 1029.4 * 1000
    assert annulus.volume_above(1000 * foot) == pytest.approx(barrels * BARREL_M3, rel=1e-4)
    assert triplex_output_m3(6 * inch, 12 * inch, 0.95) == pytest.approx(
        0.000243 * 36 * 12 * 0.95 * BARREL_M3, rel=2e-3
    )


def test_sections_add_up_and_the_last_goes_on() -> None:
    annulus = annulus_of_sections([0, 100, 500], [100, 500, 900], [0.5, 0.4, 0.3], [0.1, 0.1, 0.1])
    area = np.pi / 4 * (np.array([0.5, 0.4, 0.3]) ** 2 - 0.01)
    expected = np.array([0.0, 50 * area[0], 100 * area[0] + 100 * area[1]])
    np.testing.assert_allclose(annulus.volume_above([0, 50, 200]), expected)
    full = 100 * area[0] + 400 * area[1] + 500 * area[2]
    assert annulus.volume_above(1000.0) == pytest.approx(full)
    assert annulus.scaled(1.1).volume_above(1000.0) == pytest.approx(1.1 * full)


@pytest.mark.parametrize(
    ("top", "bottom", "hole", "pipe", "said"),
    [
        ([0, 200], [100, 300], [0.3, 0.3], [0.1, 0.1], "found 0-100 m, 200-300 m"),
        ([], [], [], [], "found none"),
        ([0], [100], [0.1], [0.3], "hole 0.1 m, pipe 0.3 m in row 0"),
        ([0], [100], [np.nan], [0.1], "hole nan m"),
    ],
)
def test_an_impossible_hole_is_refused(top: list[float], bottom: list[float], hole: list[float], pipe: list[float],
                                       said: str) -> None:  # fmt: skip
    with pytest.raises(InputError, match=said):
        annulus_of_sections(top, bottom, hole, pipe)


def test_the_drilling_series_tells_the_hole() -> None:
    series = drilling(np.arange(5.0), np.array([100.0, 150, 120, 150, 200]), np.ones(5))
    area = np.pi / 4 * (0.09 - 0.01)
    np.testing.assert_allclose(annulus_of_drilling(series).volume_above([100, 180]), [100 * area, 180 * area])


def test_geometry_counts_when_a_well_has_it(scans: xr.DataTree) -> None:
    sections = {"top": [0.0], "bottom": [10.0], "hole_diameter": [0.5], "pipe_diameter": [0.1]}
    scans["geometry"] = xr.Dataset({name: ("section", values) for name, values in sections.items()})
    assert annulus_of(scans).volume_above(10.0) == pytest.approx(np.pi / 4 * 0.24 * 10)


def test_steady_drilling_lags_by_volume_over_flow_plus_the_line() -> None:
    clock = np.arange(0.0, 20_000, 10)
    series = drilling(clock, np.full(clock.size, 1000.0), np.full(clock.size, 0.05), delay_s=60.0)
    series["bit_depth"] = ("time", 1000.0 + clock * 20 / 3600, series.bit_depth.attrs)
    annulus = Annulus(np.array([0.0, 2000.0]), np.array([0.0, 80.0]))
    seen = 10_000.0
    found = register_times(at([seen]), series, annulus)
    # V(z0) = 0.04 z0 and z0 = 1000 + t0 / 180: solve 0.05 (seen - 60 - t0) = 0.04 (1000 + t0 / 180).
    released = (0.05 * (seen - 60) - 40) / (0.05 + 0.04 / 180)
    assert found.depth_m[0] == pytest.approx(1000 + released / 180, abs=1e-6)
    assert found.depth_error_m[0] == pytest.approx(0.05 * 0.04 * 1050 / 0.05 * 20 / 3600, rel=0.02)


def _oracle(clock: Floats, bit: Floats, flow: Floats, above: Floats, seen_s: float) -> Floats:
    """The definition itself, on a grid of one second: depths of all mud that has just arrived."""
    fine = np.arange(clock[0], seen_s + 0.5, 1.0)
    pumped = np.concatenate(([0.0], np.cumsum(np.interp(0.5 * (fine[1:] + fine[:-1]), clock, flow))))
    needed = np.interp(fine, clock, above)
    arrived = pumped[-1] - pumped >= needed
    return np.interp(fine[np.flatnonzero(arrived)[-1:]], clock, bit)


@settings(deadline=None, max_examples=40)
@given(
    flows=st.lists(st.sampled_from([0.0, 0.02, 0.05, 0.08]), min_size=40, max_size=40),
    rops=st.lists(st.floats(5.0, 80.0), min_size=40, max_size=40),
    seen_s=st.floats(3000.0, 4680.0),
)
def test_registration_equals_a_slow_oracle_whatever_the_pumps_do(
    flows: list[float], rops: list[float], seen_s: float
) -> None:
    clock = np.arange(0.0, 4800.0, 120.0)
    bit = 500.0 + np.concatenate(([0.0], np.cumsum(np.array(rops[1:]) / 30.0)))
    flow = np.array(flows)
    flow[:3] = 0.08
    annulus = Annulus(np.array([0.0, 1000.0]), np.array([0.0, 60.0]))
    seen_s = float(round(seen_s))
    expected = _oracle(clock, bit, flow, annulus.volume_above(bit), seen_s)
    found = register_times(at([seen_s]), drilling(clock, bit, flow), annulus)
    if expected.size == 0:
        assert np.isnan(found.depth_m[0])
    else:
        assert found.depth_m[0] == pytest.approx(expected[0], abs=0.1)


def test_standing_mud_is_flagged_and_repeats_its_depth() -> None:
    clock = np.arange(0.0, 6000, 10)
    flow = np.where((clock > 4000) & (clock < 4600), 0.0, 0.05)
    series = drilling(clock, 500 + clock * 30 / 3600, flow)
    annulus = Annulus(np.array([0.0, 1000.0]), np.array([0.0, 60.0]))
    found = register_times(at([3900.0, 4100.0, 4500.0, 4700.0]), series, annulus)
    np.testing.assert_array_equal(found.no_circulation, [False, True, True, False])
    assert found.depth_m[1] == pytest.approx(found.depth_m[2])
    assert found.depth_m[0] < found.depth_m[1] < found.depth_m[3]


def test_gas_before_the_first_mud_has_no_depth() -> None:
    clock = np.arange(0.0, 6000, 10)
    series = drilling(clock, 500 + clock * 30 / 3600, np.full(clock.size, 0.05))
    found = register_times(at([-50.0, 10.0, 500.0]), series, Annulus(np.array([0.0, 1000.0]), np.array([0.0, 60.0])))
    assert np.isnan(found.depth_m).all()


def test_mud_that_passed_a_bit_off_bottom_is_flagged() -> None:
    clock = np.arange(0.0, 6000, 10)
    series = drilling(clock, 500 + np.minimum(clock, 3000) * 30 / 3600, np.full(clock.size, 0.05))
    series["rop"] = ("time", np.where(clock > 3000, 0.0, 30.0), series.rop.attrs)
    found = register_times(at([3500.0, 5000.0]), series, Annulus(np.array([0.0, 1000.0]), np.array([0.0, 60.0])))
    np.testing.assert_array_equal(found.off_bottom, [False, True])


def test_a_trip_keeps_the_order_of_the_mud() -> None:
    clock = np.arange(0.0, 9000, 10)
    bit = np.interp(clock, [0, 3000, 3600, 4200, 9000], [500, 530, 100, 530, 580])
    flow = np.where((clock > 3000) & (clock < 4200), 0.0, 0.05)
    annulus = Annulus(np.array([0.0, 1000.0]), np.array([0.0, 60.0]))
    found = register_times(at(np.arange(1000.0, 9000, 60)), drilling(clock, bit, flow), annulus)
    depth = found.depth_m[~np.isnan(found.depth_m)]
    assert (np.diff(depth) >= -1e-9).all()
    assert depth.max() > 560


def test_pumps_that_never_run_and_too_short_series_are_refused() -> None:
    annulus = Annulus(np.array([0.0, 1000.0]), np.array([0.0, 60.0]))
    clock = np.arange(0.0, 60, 10)
    with pytest.raises(InputError, match="largest flow of 0"):
        register_times(at([10.0]), drilling(clock, np.full(6, 100.0), np.zeros(6)), annulus)
    with pytest.raises(InputError, match="at least two rows; found 1"):
        register_times(at([10.0]), drilling(clock[:1], np.ones(1), np.ones(1)), annulus)


def test_a_gas_stream_without_drilling_series_is_refused(scans: xr.DataTree) -> None:
    del scans["drilling"]
    with pytest.raises(InputError, match="none, with 6 scans of the gas stream"):
        register_scans(scans)
