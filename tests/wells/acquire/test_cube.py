"""Raw scans to cubes: the depth is right, blanks and drift go, noise is what it is said to be, nothing is invented."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from real_files import IRONBARK_DRILLING, IRONBARK_GAS, QUADRUPOLE, RealFile

from nightwell.errors import InputError
from nightwell.wells.composition import Composition, composition_of_log, published_composition
from nightwell.wells.container import open_cube, open_scans, write_cube, write_scans
from nightwell.wells.contract import FLAGS, validate_cube
from nightwell.wells.cube import CubeSettings, build_cube
from nightwell.wells.drilling import import_drilling
from nightwell.wells.gas_log import import_gas_log
from nightwell.wells.lag import register_scans
from nightwell.wells.quadrupole import import_quadrupole
from nightwell.wells.simulate import Plan, Simulation, simulate_scans
from nightwell.wells.spectra import Imperfections, simulated_instrument
from nightwell.wells.streams import ScanKind, Stream

STEADY = Imperfections(drift=0.0, flicker=0.0)


def flagged(cube: xr.Dataset, name: str) -> np.ndarray:
    found: np.ndarray = (cube.flag.to_numpy() >> FLAGS.index(name)) & 1 == 1
    return found


def expected(tree: xr.DataTree, cube: xr.Dataset, stream: Stream) -> np.ndarray:
    """Currents that the amounts in `/truth` give at the depths of a cube, without blank, noise and drift."""
    library = Simulation().library
    instrument = simulated_instrument()
    assert instrument.nitrogen_sensitivity_a_per_ppm is not None
    matrix = library.design_matrix(cube.mz, transmission_exponent=instrument.transmission_exponent or 0.0)
    truth = tree["truth"].to_dataset()
    amounts = truth.composition.to_numpy()[stream.code]
    at_depth = np.stack([np.interp(cube.depth, truth.depth, column) for column in amounts.T], axis=1)
    currents: np.ndarray = instrument.nitrogen_sensitivity_a_per_ppm * at_depth @ matrix.T
    return currents


def spiked(depth_m: float) -> Composition:
    """A well without gas but in half a metre."""
    base = published_composition(top_m=1500.0, bottom_m=1600.0, zones=())
    spike = np.where(np.abs(base.depth_m - depth_m) < 0.1, 50_000.0, 0.0)
    return replace(base, ppm={"methane": spike}, zones=())


@pytest.mark.parametrize("depth_m", [1527.5, 1550.0, 1581.5])
def test_gas_is_found_within_a_bin_of_where_it_was_put(depth_m: float) -> None:
    scans = simulate_scans(spiked(depth_m), settings=Simulation(plan=Plan(scan_interval_s=10.0)))
    cube = build_cube(scans)["trap_gas"].to_dataset()
    methane = cube.intensity.sel(mz=15).to_numpy()
    assert abs(float(cube.depth[int(np.nanargmax(methane))]) - depth_m) <= 0.5
    far = np.abs(cube.depth.to_numpy() - depth_m) > 1.5
    assert np.nanmax(methane[far]) < 0.02 * np.nanmax(methane)


@pytest.mark.parametrize("stream", list(Stream))
def test_what_is_left_after_the_blank_is_the_sample(stream: Stream) -> None:
    settings = Simulation(plan=Plan(sample_every=4, blank_every_s=600.0), imperfections=STEADY)
    scans = simulate_scans(published_composition(top_m=1800.0, bottom_m=1900.0), settings=settings)
    cube = build_cube(scans)[stream].to_dataset()
    residual = cube.intensity.to_numpy() - expected(scans, cube, stream)
    sigma = np.sqrt(cube.variance.to_numpy())
    # Away from the peaks of air and water; sample_every and the 0.5 m bins smear the edges of the zone.
    inner = ~flagged(cube, "no_scans") & (np.abs(cube.depth.to_numpy() - 1820) > 5) & (np.abs(cube.depth - 1860) > 5)
    clear = [int(column) for column in np.flatnonzero(np.isin(cube.mz, [15, 27, 43, 57, 78, 84, 91]))]
    scatter = residual[inner][:, clear] / (
        sigma[inner][:, clear] + 0.02 * np.abs(cube.intensity.to_numpy()[inner][:, clear])
    )
    assert np.abs(np.median(scatter, axis=0)).max() < 0.5
    assert np.median(np.abs(scatter)) < 1.0
    if stream is not Stream.CUTTINGS_CRUSH:
        kept = build_cube(scans, CubeSettings(remove_blank=False))[stream].to_dataset()
        assert float(kept.intensity.sel(mz=18).median()) > 10 * abs(float(cube.intensity.sel(mz=18).median()))
        assert flagged(kept, "no_blank")[kept.scan_count.to_numpy() > 0].all()


def test_the_variance_is_that_of_the_noise() -> None:
    settings = Simulation(plan=Plan(sample_every=1), imperfections=STEADY)
    quiet = published_composition(top_m=1500.0, bottom_m=1700.0, zones=())
    quiet = replace(quiet, ppm={"methane": np.full(quiet.depth_m.size, 300.0)})
    scans = simulate_scans(quiet, settings=settings)
    for stream in (Stream.TRAP_GAS, Stream.MUD_FLUID, Stream.CUTTINGS_BACKGROUND):
        cube = build_cube(scans, CubeSettings(internal_standard_mz=None))[stream].to_dataset()
        some = cube.isel(depth=np.flatnonzero(cube.scan_count.to_numpy() > 0))
        pull = (some.intensity - some.intensity.mean("depth")) / np.sqrt(some.variance)
        quiet_mz = pull.sel(mz=slice(61, 120)).to_numpy()
        assert np.sqrt(np.mean(quiet_mz**2)) == pytest.approx(1.0, abs=0.12), stream
        assert 0.7 < float(pull.sel(mz=40).std()) < 1.3, stream


def test_the_internal_standard_takes_out_drift() -> None:
    settings = Simulation(imperfections=Imperfections(drift=0.1, flicker=0.02))
    scans = simulate_scans(published_composition(top_m=1500.0, bottom_m=1600.0, zones=()), settings=settings)
    spread = {}
    for mz in (40, None):
        cube = build_cube(scans, CubeSettings(internal_standard_mz=mz))["trap_gas"].to_dataset()
        spread[mz] = float(cube.intensity.sel(mz=28).std())
    assert spread[40] < 0.1 * spread[None]


def test_drift_between_blanks_is_followed_in_time() -> None:
    settings = Simulation(plan=Plan(blank_every_s=600.0), imperfections=Imperfections(baseline_drift=0.5, drift=0.0))
    scans = simulate_scans(published_composition(top_m=1500.0, bottom_m=1600.0, zones=()), settings=settings)
    cube = build_cube(scans, CubeSettings(off_mass=()))["trap_gas"].to_dataset()
    kept = build_cube(scans, CubeSettings(off_mass=(), remove_blank=False))["trap_gas"].to_dataset()
    assert float(kept.intensity.sel(mz=118).std()) > 5e-14
    assert float(cube.intensity.sel(mz=118).std()) < 0.3 * float(kept.intensity.sel(mz=118).std())
    assert cube.attrs["baseline"] == "none"


def test_bins_without_scans_are_missing_not_zero() -> None:
    scans = simulate_scans(published_composition(top_m=1500.0, bottom_m=1560.0))
    cube = build_cube(scans, CubeSettings(step_m=0.05))["trap_gas"].to_dataset()
    empty = cube.scan_count.to_numpy() == 0
    assert empty.any()
    np.testing.assert_array_equal(flagged(cube, "no_scans"), empty)
    assert np.isnan(cube.intensity.to_numpy()[empty]).all()
    assert np.isnan(cube.variance.to_numpy()[empty]).all()
    assert np.isfinite(cube.intensity.to_numpy()[~empty]).all()


def test_a_mass_that_was_not_measured_is_missing(simulated: xr.DataTree) -> None:
    scans = simulated.copy(deep=True)
    group = scans["scans"].to_dataset()
    group["intensity"][:, 77] = np.nan
    scans["scans"] = xr.DataTree(group)
    for stream in Stream:
        cube = build_cube(scans)[stream].to_dataset()
        assert np.isnan(cube.intensity.sel(mz=78)).all()
        assert not np.isnan(cube.intensity.sel(mz=77)[cube.scan_count > 0]).any()


def test_saturated_currents_are_missing_and_flagged() -> None:
    instrument = replace(simulated_instrument(), full_scale_a=1e-7)
    scans = simulate_scans(published_composition(bottom_m=1530.0), settings=Simulation(instrument=instrument))
    cube = build_cube(scans)["trap_gas"].to_dataset()
    some = cube.scan_count.to_numpy() > 0
    assert np.isnan(cube.intensity.sel(mz=[28, 32])).all()
    assert flagged(cube, "saturated")[some].all()
    assert np.isfinite(cube.intensity.sel(mz=15).to_numpy()[some]).all()


def test_standing_mud_and_a_bit_off_bottom_are_left_out_and_flagged(simulated: xr.DataTree) -> None:
    tree = simulated.copy()
    drilling = simulated["drilling"].to_dataset()
    reaming = (drilling.bit_depth > 1850) & (drilling.bit_depth < 1855)
    tree["drilling"] = xr.DataTree(
        drilling.assign(rop=drilling.rop.where(~reaming, 0.0).assign_attrs(drilling.rop.attrs))
    )
    cube = build_cube(tree)["trap_gas"].to_dataset()
    found = register_scans(tree)
    scans = tree["scans"].to_dataset()
    samples = (scans.stream.to_numpy() == Stream.TRAP_GAS.code) & (scans.kind.to_numpy() == ScanKind.SAMPLE.code)
    samples &= ~np.isnan(found.depth_m)
    assert (samples & found.no_circulation).any()
    assert (samples & found.off_bottom).any()
    used = samples & ~found.no_circulation & ~found.off_bottom
    assert int(cube.scan_count.sum()) == int(used.sum())
    assert flagged(cube, "no_circulation").any()
    middle = cube.sel(depth=slice(1851, 1854))
    assert flagged(middle, "off_bottom").all()
    assert flagged(middle, "no_scans").all()


def test_the_baseline_is_gone_also_without_blanks(simulated: xr.DataTree) -> None:
    cube = build_cube(simulated, CubeSettings(remove_blank=False))["trap_gas"].to_dataset()
    assert abs(float(cube.intensity.sel(mz=7).median())) < 5e-15
    kept = build_cube(simulated, CubeSettings(remove_blank=False, off_mass=()))["trap_gas"].to_dataset()
    assert float(kept.intensity.sel(mz=7).median()) > 5e-13


def test_crushed_samples_without_their_background_are_flagged_not_guessed(simulated: xr.DataTree) -> None:
    group = simulated["scans"].to_dataset()
    gone = (group.stream.to_numpy() == Stream.CUTTINGS_BACKGROUND.code) & (group.sample_depth.to_numpy() == 1840.0)
    scans = simulated.copy()
    scans["scans"] = xr.DataTree(group.isel(scan=np.flatnonzero(~gone)))
    whole, cube = (build_cube(tree)["cuttings_crush"].to_dataset() for tree in (simulated, scans))
    bare = flagged(cube, "no_blank")
    assert cube.depth.to_numpy()[bare].tolist() == [1840.0]
    np.testing.assert_allclose(cube.intensity.to_numpy()[~bare], whole.intensity.to_numpy()[~bare])
    assert float(cube.intensity.sel(depth=1840.0, mz=18)) > float(whole.intensity.sel(depth=1840.0, mz=18))


def test_blocks_dask_and_the_store_change_nothing(simulated: xr.DataTree, tmp_path: Path) -> None:
    whole = build_cube(simulated)
    write_scans(simulated, tmp_path / "well.zarr")
    for tree in (open_scans(tmp_path / "well.zarr"), open_scans(tmp_path / "well.zarr", chunks={})):
        pieces = build_cube(tree, CubeSettings(block_rows=97))
        for stream in Stream:
            xr.testing.assert_allclose(pieces[stream].to_dataset(), whole[stream].to_dataset(), rtol=1e-5, atol=1e-22)
    write_cube(whole, tmp_path / "cube.zarr")
    assert open_cube(tmp_path / "cube.zarr").load().identical(whole)


def test_memory_does_not_grow_with_the_number_of_scans(tmp_path: Path) -> None:
    peaks = []
    for interval_s in (20.0, 2.0):
        plan = Plan(scan_interval_s=interval_s, sample_every=50)
        composition = published_composition(top_m=1500.0, bottom_m=1600.0)
        path = tmp_path / f"{interval_s}.zarr"
        write_scans(simulate_scans(composition, settings=Simulation(plan=plan)), path)
        lazy = open_scans(path, chunks={})
        tracemalloc.start()
        build_cube(lazy, CubeSettings(block_rows=512))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 8e6  # ten times the scans, 4.6 MB more as float32 alone


def test_without_facts_of_the_instrument_the_scatter_tells_the_noise(simulated: xr.DataTree) -> None:
    scans = simulated.copy()
    scans.attrs = {name: value for name, value in simulated.attrs.items() if name != "ion_charge_c"}
    known, guessed = (build_cube(tree)["trap_gas"].to_dataset() for tree in (simulated, scans))
    some = known.scan_count.to_numpy() > 0
    ratio = np.sqrt(guessed.variance.sel(mz=110).to_numpy()[some] / known.variance.sel(mz=110).to_numpy()[some])
    assert 0.5 < float(np.median(ratio)) < 2.0


def test_the_real_scan_has_no_depth_and_says_so(real_file: RealFile) -> None:
    scans = import_quadrupole(real_file(QUADRUPOLE)).scans
    with pytest.raises(InputError, match="none, with 7 scans of the gas stream"):
        build_cube(scans)


def test_the_real_scan_becomes_a_cube_when_it_is_given_a_depth(real_file: RealFile) -> None:
    scans = import_quadrupole(real_file(QUADRUPOLE)).scans
    group = scans["scans"].to_dataset()
    depth = ("scan", np.array([10.0, 10, 10, 20, 20, 20, 20]), {"units": "m"})
    scans["scans"] = xr.DataTree(group.assign_coords(sample_depth=depth))
    cube = build_cube(scans)
    validate_cube(cube)
    gas = cube["trap_gas"].to_dataset()
    assert int(gas.scan_count.sum()) == 7
    assert cube.attrs["simulated"] == 0
    assert int(gas.mz[int(np.argmax(gas.intensity.mean("depth").to_numpy()))]) == 40  # argon
    assert flagged(gas, "no_blank")[gas.scan_count.to_numpy() > 0].all()


def test_blanks_alone_make_no_cube(scans: xr.DataTree) -> None:
    group = scans["scans"].to_dataset()
    group["kind"][:] = ScanKind.BLANK.code
    scans["scans"] = xr.DataTree(group)
    with pytest.raises(InputError, match="6 scans, none of them a sample"):
        build_cube(scans)


def test_ironbark_end_to_end(real_file: RealFile) -> None:
    log, drilling = import_gas_log(real_file(IRONBARK_GAS)), import_drilling(real_file(IRONBARK_DRILLING))
    scans = simulate_scans(composition_of_log(log), drilling)
    tree = build_cube(scans)
    gas = tree["trap_gas"].to_dataset()
    np.testing.assert_array_equal(gas.depth, log.table.depth)  # all 8,071 rows
    assert float(flagged(gas, "no_scans").mean()) < 0.01
    # Methane alone stands at m/z 15 but for traces: the log itself must come back.
    measured = gas.intensity.sel(mz=15).to_numpy() / expected(scans, gas, Stream.TRAP_GAS)[:, 14]
    assert np.nanmedian(measured) == pytest.approx(1.0, abs=0.03)
    assert np.nanpercentile(np.abs(measured - 1.0), 80) < 0.15
    for stream in (Stream.MUD_FLUID, Stream.CUTTINGS_BACKGROUND, Stream.CUTTINGS_CRUSH):
        assert tree[stream].sizes["depth"] == 808
