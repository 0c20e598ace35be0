"""The forward model: the same settings give the same scans, they say that they are simulated, and look like spectra."""

from __future__ import annotations

import time

import numpy as np
import psutil
import pytest
import xarray as xr
from real_files import IRONBARK_DRILLING, IRONBARK_GAS, VOLVE, RealFile

from nightwell.errors import InputError
from nightwell.wells.composition import composition_of_log, published_composition, published_gases
from nightwell.wells.contract import validate_scans
from nightwell.wells.drilling import import_drilling
from nightwell.wells.gas_log import import_gas_log
from nightwell.wells.simulate import BURST, STANDARD, Plan, Simulation, simulate_scans
from nightwell.wells.spectra import Imperfections
from nightwell.wells.streams import ScanKind, Stream

PERFECT = Imperfections(baseline_a=0.0, baseline_drift=0.0, drift=0.0, flicker=0.0)


def of(tree: xr.DataTree, stream: Stream, kind: ScanKind) -> xr.Dataset:
    scans = tree["scans"].to_dataset()
    chosen = (scans.stream.to_numpy() == stream.code) & (scans.kind.to_numpy() == kind.code)
    return scans.isel(scan=np.flatnonzero(chosen))


def test_the_same_settings_give_the_same_scans_and_another_seed_others() -> None:
    composition = published_composition(top_m=1800.0, bottom_m=1830.0)
    first, again = (simulate_scans(composition) for _ in range(2))
    assert first.identical(again)
    other = simulate_scans(composition, settings=Simulation(seed=2))
    assert not np.array_equal(first["scans"].intensity, other["scans"].intensity)


def test_a_simulated_well_says_so_and_keeps_its_truth(simulated: xr.DataTree) -> None:
    validate_scans(simulated)
    assert simulated.attrs["simulated"] == 1
    assert "All spectra, blanks and standards are simulated" in simulated.attrs["provenance"]
    assert simulated["truth"].composition.shape == (4, 241, len(simulated["truth"].attrs["species"]))


def test_every_stream_has_its_blanks_and_the_gas_its_standards(simulated: xr.DataTree) -> None:
    for stream in (Stream.TRAP_GAS, Stream.MUD_FLUID, Stream.CUTTINGS_BACKGROUND):
        samples, blanks = (of(simulated, stream, kind).time for kind in (ScanKind.SAMPLE, ScanKind.BLANK))
        assert blanks[0] < samples[0]
        assert blanks[-1] > samples[-1]
    mud = simulated["scans"].to_dataset()
    mud = mud.isel(scan=np.flatnonzero(mud.stream.to_numpy() == Stream.MUD_FLUID.code))
    assert "".join("SB"[int(kind)] for kind in mud.kind).startswith("BSSBSSB")
    assert of(simulated, Stream.CUTTINGS_CRUSH, ScanKind.BLANK).sizes["scan"] == 0
    standards = of(simulated, Stream.TRAP_GAS, ScanKind.STANDARD)
    assert standards.sizes["scan"] >= 2
    assert float(standards.intensity.sel(mz=15).mean()) > 0.3 * 1e-12 * STANDARD["methane"]


def test_crushing_is_a_burst_and_richer_where_there_were_fluids(simulated: xr.DataTree) -> None:
    crush = of(simulated, Stream.CUTTINGS_CRUSH, ScanKind.SAMPLE)
    methane = crush.intensity.sel(mz=15).to_numpy().reshape(-1, len(BURST))
    assert (methane.argmax(axis=1) == np.argmax(BURST)).all()
    depth = crush.sample_depth.to_numpy()[:: len(BURST)]
    inside = (depth > 1820) & (depth < 1860)
    assert np.median(methane[inside, 1]) > 5 * np.median(methane[depth > 1880, 1])


def test_without_imperfections_only_counting_noise_is_left() -> None:
    composition = published_composition(top_m=1500.0, bottom_m=1560.0, zones=())
    tree = simulate_scans(composition, settings=Simulation(imperfections=PERFECT, plan=Plan(blank_every_s=120.0)))
    blanks = of(tree, Stream.TRAP_GAS, ScanKind.BLANK).intensity.sel(mz=[9, 40]).to_numpy().astype(np.float64)
    assert blanks.shape[0] > 100
    facts = Simulation().instrument
    assert facts.noise_floor_a is not None
    assert blanks[:, 0].std() == pytest.approx(facts.noise_floor_a, rel=0.2)
    assert facts.excess_noise is not None
    assert facts.ion_charge_c is not None
    assert facts.dwell_s is not None
    counting = np.sqrt(facts.excess_noise * facts.ion_charge_c * blanks[:, 1].mean() / facts.dwell_s)
    assert blanks[:, 1].std() == pytest.approx(counting, rel=0.2)


def test_blanks_show_air_in_its_proportions(simulated: xr.DataTree) -> None:
    blank = of(simulated, Stream.TRAP_GAS, ScanKind.BLANK).intensity.mean("scan")
    ratio = float(blank.sel(mz=40) / blank.sel(mz=28))
    argon, nitrogen = 1.4 * 100 / 110.5, 1.0 * 100 / 106.8
    assert ratio == pytest.approx(9340 / 780_840 * argon / nitrogen * (28 / 40) ** 0.5, rel=0.01)


def test_the_spectrum_of_air_resembles_a_real_one(simulated: xr.DataTree) -> None:
    # Ranges from a real Pfeiffer scan and the libraries: 14/28 of 0.065-0.14, 16/32 of 0.07-0.22, 20/40 of 0.1-0.25.
    blank = of(simulated, Stream.TRAP_GAS, ScanKind.BLANK).intensity.mean("scan")
    for low_mz, high_mz, least, most in ((14, 28, 0.06, 0.14), (16, 32, 0.07, 0.22), (20, 40, 0.1, 0.25)):
        assert least < float(blank.sel(mz=low_mz) / blank.sel(mz=high_mz)) < most
    dynamic_range = float(blank.max() / blank.sel(mz=[5, 9]).mean())
    assert 1e5 < dynamic_range < 1e7


def test_an_axis_too_short_for_the_library_is_refused() -> None:
    with pytest.raises(InputError, match="toluene needs m/z 91"):
        simulate_scans(published_composition(bottom_m=1510.0), settings=Simulation(plan=Plan(mz=tuple(range(1, 91)))))


def test_pattern_errors_change_the_patterns_but_not_the_totals() -> None:
    composition = published_composition(top_m=1800.0, bottom_m=1820.0)
    flawed = Imperfections(baseline_a=0.0, baseline_drift=0.0, drift=0.0, flicker=0.0, pattern_error=0.1)
    exact, off = (
        of(simulate_scans(composition, settings=Simulation(imperfections=one)), Stream.TRAP_GAS, ScanKind.BLANK)
        .intensity.mean("scan")
        .to_numpy()
        for one in (PERFECT, flawed)
    )
    assert off.sum() == pytest.approx(exact.sum(), rel=1e-3)
    assert abs(off[13] / exact[13] - 1) > 0.01


def test_a_published_gas_keeps_its_ratios_in_its_zone() -> None:
    composition = published_composition()
    gas = published_gases()["ekofisk"]
    row = int(np.searchsorted(composition.depth_m, 2270.0))
    ratio = composition.ppm["methane"][row] / composition.ppm["ethane"][row]
    assert ratio == pytest.approx(gas["methane"] / gas["ethane"], rel=0.05)
    assert sum(gas.values()) == pytest.approx(1.0, abs=1e-6)


def test_a_real_log_keeps_its_measured_gases(real_file: RealFile) -> None:
    log = import_gas_log(real_file(VOLVE))
    composition = composition_of_log(log)
    known = ~np.isnan(log.table.methane.to_numpy())
    np.testing.assert_array_equal(composition.ppm["methane"][known], log.table.methane.to_numpy()[known])
    assert "methane" not in composition.simulated
    assert "benzene" in composition.simulated
    assert "hydrogen_sulfide" in composition.simulated  # its column holds zeros only
    assert all(np.isfinite(values).all() and (values >= 0).all() for values in composition.ppm.values())
    assert composition.zones


def test_ironbark_is_simulated_whole_within_time_and_memory(real_file: RealFile) -> None:
    log, drilling = import_gas_log(real_file(IRONBARK_GAS)), import_drilling(real_file(IRONBARK_DRILLING))
    started = time.perf_counter()
    tree = simulate_scans(composition_of_log(log), drilling, Simulation(plan=Plan(sample_every=1)))
    assert time.perf_counter() - started < 15
    assert psutil.Process().memory_info().rss < 1.5e9
    scans = tree["scans"].to_dataset()
    for stream in (Stream.MUD_FLUID, Stream.CUTTINGS_BACKGROUND, Stream.CUTTINGS_CRUSH):
        depths = scans.sample_depth.to_numpy()[scans.stream.to_numpy() == stream.code]
        assert np.unique(depths[~np.isnan(depths)]).size == 8071
    assert "Measured: methane, ethane" in tree.attrs["provenance"]
    assert "simulated: the clock" in tree.attrs["provenance"]
