"""Recycled gas: a made well whose gas comes round again gives back the gas that the rock gave."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.container import make_dataset, make_scans
from nightwell.wells.contract import DRILLING, Origin
from nightwell.wells.cube import CubeSettings, build_cube
from nightwell.wells.instrument import Instrument
from nightwell.wells.lag import register_scans
from nightwell.wells.recycled import Passage, RecycledGas, recycled_current, recycled_share, shares_at

Floats = NDArray[np.float64]
START = np.datetime64("2024-05-17T12:00:00", "ns")
CLOCK = np.arange(0.0, 60_000.0, 20.0)
MZ = np.array([15.0, 28.0, 40.0, 43.0])
RHO = 0.3


def at(seconds: Floats) -> NDArray[np.datetime64]:
    return START + (seconds * 1e9).astype(np.int64).astype("timedelta64[ns]")


def series(**more: Floats) -> dict[str, NDArray[np.generic]]:
    size = CLOCK.size
    return {"time": at(CLOCK), "bit_depth": 1000 + CLOCK / 120, "rop": np.full(size, 30.0), "flow": np.full(size, 0.02),
            "hole_diameter": np.full(size, 0.3), "pipe_diameter": np.full(size, 0.127), **more}  # fmt: skip


def net_gas(depth: Floats) -> Floats:
    """A show some 12 m thick at 1150 m over a weak background."""
    return np.asarray(0.05 + np.exp(-(((depth - 1150) / 6) ** 2)), dtype=np.float64)


def well(**drilling: Floats) -> tuple[xr.DataTree, Floats]:
    """Scans of trap gas that holds `RHO` of what came out when its mud went in; and the gas of the rock alone."""
    time = np.arange(6000.0, 59_000.0, 60.0)
    shape = np.array([1.0, 0.0, 0.0, 0.2])

    def tree_of(gas: Floats) -> xr.DataTree:
        values = {"intensity": 1e-9 * gas[:, None] * shape + 1e-13, "mz": MZ, "time": at(time),
                  "stream": np.zeros(time.size), "kind": np.zeros(time.size), "valve": np.ones(time.size),
                  "pressure": np.full(time.size, np.nan)}  # fmt: skip
        facts = Instrument("bench", dwell_s=0.1, ion_charge_c=1e-16, excess_noise=1.0, noise_floor_a=1e-14)
        return make_scans(Origin("bench", facts, simulated=True, provenance="made for the test"), values,
                          drilling=series(**drilling), gas_line_delay_s=30.0)  # fmt: skip

    found = register_scans(tree_of(np.zeros(time.size)))
    assert found.entered is not None
    net = np.nan_to_num(net_gas(found.depth_m))
    entered_s = np.where(np.isnat(found.entered), np.nan, (found.entered - START).astype(np.int64) / 1e9)
    out = net.copy()
    for row in range(time.size):  # each scan holds what an earlier one had, which is already whole
        if entered_s[row] >= time[0]:
            out[row] += RHO * np.interp(entered_s[row], time[:row], out[:row])
    return tree_of(out), net


def settings(recycled: RecycledGas | None) -> CubeSettings:
    return CubeSettings(step_m=1.0, off_mass=(), remove_blank=False, internal_standard_mz=None, recycled=recycled)


def echo_of(cube: xr.DataTree) -> tuple[float, float]:
    """Current of m/z 15 in the show, and the largest over the background where its echo comes up."""
    gas = cube["trap_gas"].to_dataset().intensity.sel(mz=15)
    background = float(gas.sel(depth=slice(1105, 1115)).mean())
    show = float(gas.sel(depth=1150))
    later = gas.sel(depth=slice(1172, 1300))
    return show, float(later.max()) - background


def test_the_echo_of_a_show_is_removed_by_the_model() -> None:
    tree, _ = well()
    show, echo = echo_of(build_cube(tree, settings(None)))
    assert echo > 0.25 * show  # the fault is there
    cube = build_cube(tree, settings(RecycledGas(RHO)))
    cleaned_show, cleaned = echo_of(cube)
    assert abs(cleaned) < 0.03 * show
    assert cleaned_show == pytest.approx(1.05e-9, rel=0.03)
    gas = cube["trap_gas"].to_dataset()
    share = gas.recycled_share
    assert float(share.sel(depth=slice(1172, 1300)).max()) > 0.75  # nearly all of the echo is recycled
    assert float(share.sel(depth=1150)) < 0.1
    assert "assumed, 0.3" in gas.attrs["recycled"]
    plain = build_cube(tree, settings(None))["trap_gas"].to_dataset()
    known = ~np.isnan(share.to_numpy())
    assert (gas.variance.to_numpy()[known] >= plain.variance.to_numpy()[known]).all()


def test_samples_of_the_mud_that_goes_in_tell_the_share() -> None:
    gas_out = 1000.0 + 500.0 * np.sin(CLOCK / 5000)
    tree, _ = well(gas_out=gas_out, gas_in=RHO * gas_out)
    cube = build_cube(tree, settings(RecycledGas(share=0.9)))  # what was measured counts, not the model
    show, echo = echo_of(cube)
    assert abs(echo) < 0.03 * show
    assert "measured in the mud that goes in, 0.3 to 0.3" in cube["trap_gas"].attrs["recycled"]


def test_without_samples_and_without_a_share_nothing_is_removed_and_nothing_claimed() -> None:
    tree, _ = well()
    cube = build_cube(tree, settings(RecycledGas()))["trap_gas"].to_dataset()
    xr.testing.assert_identical(cube, build_cube(tree, settings(None))["trap_gas"].to_dataset())
    assert "recycled_share" not in cube.variables


def test_shares_are_measured_where_they_can_be() -> None:
    names = {"gas_out": np.where(CLOCK < 20_000, 1000.0, np.where(CLOCK < 40_000, np.nan, 1.0)),
             "gas_in": np.where(CLOCK < 20_000, 250.0, 5.0)}  # fmt: skip
    drilling = make_dataset(DRILLING, series(**names), {"gas_line_delay_s": 0.0})
    moment = np.array([*at(np.array([10_000.0, 50_000.0])), np.datetime64("NaT", "ns")])
    np.testing.assert_allclose(shares_at(RecycledGas(), drilling, moment), [0.25, np.nan, np.nan])
    np.testing.assert_allclose(shares_at(RecycledGas(0.4), drilling, moment), [0.25, 0.4, np.nan])
    np.testing.assert_allclose(shares_at(RecycledGas(0.4, measured=False), drilling, moment), [0.4, 0.4, np.nan])


def test_the_kernel_follows_the_formula_and_leaves_what_it_does_not_know() -> None:
    passage = Passage(np.array([0.0, 10.0, 20.0, 30.0]), np.array([np.nan, -5.0, 5.0, 20.0]))
    current = np.array([[1.0, np.nan], [3.0, 1.0], [5.0, 2.0], [7.0, 3.0]])
    again, spread = recycled_current(passage, np.full(4, 0.5), current, np.full((4, 2), 4.0))
    np.testing.assert_allclose(again, [[np.nan, np.nan], [np.nan, np.nan], [1.0, np.nan], [2.5, 1.0]])
    np.testing.assert_allclose(spread[2:], [[1.0, np.nan], [1.0, 1.0]])
    share = recycled_share(
        np.array([15.0, 40.0]), np.array([[2.0, 9.0], [0.0, 9.0]]), np.array([[0.5, 9.0], [0.5, 9.0]])
    )
    np.testing.assert_allclose(share, [0.25, np.nan])


@pytest.mark.parametrize("wrong", [{"share": 30.0}, {"share": -0.1}, {"surface_s": -1.0}])
def test_a_share_in_percent_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        RecycledGas(**wrong)  # type: ignore[arg-type]  # drawn by the test
