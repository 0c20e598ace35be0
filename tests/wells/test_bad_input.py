"""Every kind of bad input that has a name, and the tests that show its error or flag; those on whole wells are here.

A kind is never a silent number: it is refused with its name, set missing and counted, or flagged where it stands.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from nightwell.errors import InputError
from nightwell.wells.acquire.schedule import parse_schedule
from nightwell.wells.acquire.session import shipped_schedule
from nightwell.wells.analysis import analyse_well
from nightwell.wells.composition import Zone, published_composition
from nightwell.wells.container import open_scans, write_scans
from nightwell.wells.deconvolve import SpeciesFlag
from nightwell.wells.gas_log import import_gas_log
from nightwell.wells.simulate import Plan, Simulation, simulate_scans
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.species_file import load_library
from nightwell.wells.streams import Stream

TESTS = Path(__file__).parent

HERE = "test_bad_input.py"
SHOWN_BY: dict[str, tuple[tuple[str, str], ...]] = {
    "missing streams": (
        (HERE, "test_a_well_without_three_of_its_streams_says_which_readings_it_lacks"),
        ("interpret/test_across.py", "test_indicators_of_other_depths_say_so_and_missing_streams_are_named"),
    ),
    "an m/z axis with gaps": (
        ("acquire/test_import_defects.py", "test_gaps_of_the_mz_axis_and_empty_scans_are_told"),
        (
            "interpret/test_deconvolve.py",
            "test_an_axis_with_half_masses_is_refused_and_one_with_gaps_serves_what_it_shows",
        ),
        ("interpret/test_analysis.py", "test_a_library_the_scans_cannot_show_is_refused"),
    ),
    "half masses": (
        ("acquire/test_quadrupole.py", "test_bad_spectra_are_named"),
        ("acquire/test_contract.py", "test_broken_scans_are_named"),
        ("acquire/test_profile_scan.py", "test_it_is_told_from_other_labels"),
    ),
    "duplicated scans": (
        ("acquire/test_import_defects.py", "test_doubled_scans_are_kept_once_and_told"),
        ("acquire/test_import_defects.py", "test_two_spectra_of_one_time_are_refused"),
        (HERE, "test_scans_that_were_shuffled_or_doubled_in_a_container_are_refused"),
    ),
    "shuffled scans": (
        ("acquire/test_import_defects.py", "test_shuffled_scans_are_refused_and_shuffled_rows_of_a_long_file_are_told"),
        (HERE, "test_scans_that_were_shuffled_or_doubled_in_a_container_are_refused"),
    ),
    "a clock that jumps": (
        ("acquire/test_import_defects.py", "test_a_clock_that_leaps_ahead_is_told"),
        ("acquisition/test_engine.py", "test_a_clock_set_forward_is_believed_and_the_gap_is_said"),
        ("acquisition/test_engine.py", "test_a_clock_set_back_reorders_nothing_and_every_scan_says_so"),
    ),
    "depth going up": (
        ("acquire/test_lag.py", "test_a_trip_keeps_the_order_of_the_mud"),
        ("acquire/test_logs.py", "test_a_drilling_record_in_time_may_go_up"),
        ("depth/test_carbide.py", "test_a_trip_registers_no_gas_to_the_rock_beside_the_hanging_bit"),
        ("acquisition/test_engine.py", "test_a_trip_repeats_no_depth_and_the_gas_may_wait"),
    ),
    "a schedule that cannot meet its own rules": (
        ("acquisition/test_schedule.py", "test_a_schedule_that_cannot_keep_its_rules_is_refused"),
        (HERE, "test_a_schedule_that_leaves_the_gas_too_long_is_refused_with_its_numbers"),
    ),
    "a blank hotter than its sample": (
        ("calibrate/test_calibrated_well.py", "test_a_blank_hotter_than_its_sample_is_flagged_never_silent"),
        ("acquisition/test_engine.py", "test_a_blank_hotter_than_its_threshold_and_saturation_are_flagged"),
    ),
    "a library without a needed species": (
        (HERE, "test_a_library_without_ethane_names_the_indicators_it_cannot_compute_and_the_fit_it_spoils"),
        ("interpret/test_deconvolve.py", "test_amounts_that_take_the_peaks_of_a_species_the_library_lacks_are_flagged"),
    ),
    "negative intensities": (
        ("interpret/test_deconvolve.py", "test_spectra_below_zero_give_nothing_and_say_so"),
        ("interpret/test_deconvolve.py", "test_a_main_peak_far_below_zero_is_flagged"),
        ("acquisition/test_drivers.py", "test_a_negative_current_is_negative"),
    ),
    "all-null intervals": (
        (HERE, "test_an_interval_whose_currents_are_all_null_is_missing_and_flagged"),
        ("acquire/test_import_defects.py", "test_intervals_without_any_gas_are_told"),
        ("acquire/test_import_defects.py", "test_a_bit_depth_that_is_null_throughout_is_refused"),
    ),
    "absurd gas values": (
        (HERE, "test_gas_of_more_than_the_whole_is_missing_and_counted"),
        ("acquire/test_import_defects.py", "test_the_absurd_butane_of_the_real_log_is_missing_and_named"),
        ("interpret/test_volve.py", "test_an_absurd_butane_is_computed_and_not_hidden"),
    ),
}


@pytest.mark.parametrize("kind", SHOWN_BY)
def test_what_shows_it_stands_where_it_is_said_to_stand(kind: str) -> None:
    for file, name in SHOWN_BY[kind]:
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert name in {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}, f"{file}: {name} is gone"


@pytest.fixture(scope="module")
def scans() -> xr.DataTree:
    """Raw scans of a simulated well of 25 m with a zone of wet gas; never changed by a test."""
    composition = published_composition(top_m=1800.0, bottom_m=1825.0, zones=(Zone(1805.0, 1815.0, "ekofisk"),))
    return simulate_scans(composition, settings=Simulation(plan=Plan(sample_every=8)))


def with_scans(tree: xr.DataTree, change: Callable[[xr.Dataset], xr.Dataset]) -> xr.DataTree:
    groups = {node.path: node.to_dataset(inherit=False) for node in tree.subtree}
    groups["/scans"] = change(groups["/scans"].copy(deep=True))
    return xr.DataTree.from_dict(groups)


def test_a_well_without_three_of_its_streams_says_which_readings_it_lacks(scans: xr.DataTree) -> None:
    only = with_scans(scans, lambda group: group.isel(scan=group["stream"].to_numpy() == Stream.TRAP_GAS.code))
    result = analyse_well(only)
    assert {str(stream) for stream in Stream} & set(result.children) == {Stream.TRAP_GAS}
    across = result["across/indicators"].to_dataset()
    assert result["across"].attrs["streams"] == ["trap_gas"]
    assert across.sizes["indicator"] == 0
    assert across.attrs["not_computed"]


@pytest.mark.parametrize("order", [[0, 2, 1], [0, 1, 1, 0]])
def test_scans_that_were_shuffled_or_doubled_in_a_container_are_refused(
    scans: xr.DataTree, tmp_path: Path, order: list[int]
) -> None:
    def change(group: xr.Dataset) -> xr.Dataset:
        return group.isel(scan=[*order, *range(3, group.sizes["scan"])])

    with pytest.raises(InputError, match=r"'time'.*never decrease"):
        write_scans(with_scans(scans, change), tmp_path / "scans.zarr")


def test_a_schedule_that_leaves_the_gas_too_long_is_refused_with_its_numbers() -> None:
    text = shipped_schedule()
    assert text.count('stream = "trap_gas"') >= 1
    head, gas, rest = text.partition('stream = "trap_gas"')
    short = head + gas + re.sub(r"maximum_age_s = \d+", "maximum_age_s = 5", rest, count=1)
    with pytest.raises(InputError, match=r"trap gas.*5 s") as raised:
        parse_schedule(short, source="a test")
    assert raised.value.next_step


def test_a_library_without_ethane_names_the_indicators_it_cannot_compute_and_the_fit_it_spoils(
    scans: xr.DataTree,
) -> None:
    library = load_library()
    left = SpeciesLibrary(tuple(one for one in library.species if one.name != "ethane"))
    result = analyse_well(scans, library=left)
    indicators = result["trap_gas/indicators"]
    missing = {str(one).partition("@")[0] for one in indicators.attrs["not_computed"]}
    assert {"haworth_wetness", "haworth_balance", "pixler_c1_c2"} <= missing
    assert not missing & set(map(str, indicators.data_vars))
    said = [str(one) for one in result["findings"]["statement"].to_numpy()]
    assert any("species looked for do not explain the spectra" in one for one in said), said


def test_an_interval_whose_currents_are_all_null_is_missing_and_flagged(scans: xr.DataTree, tmp_path: Path) -> None:
    def blind(group: xr.Dataset) -> xr.Dataset:
        depth = np.arange(group.sizes["scan"]) / group.sizes["scan"]
        rows = (group["stream"].to_numpy() == Stream.TRAP_GAS.code) & (depth > 0.4) & (depth < 0.6)
        group["intensity"].to_numpy()[rows] = np.nan
        return group

    write_scans(with_scans(scans, blind), tmp_path / "scans.zarr")
    species = analyse_well(open_scans(tmp_path / "scans.zarr"))["trap_gas/species"].to_dataset()
    methane = species["species"].to_numpy().tolist().index("methane")
    value, flag = species["value"].to_numpy()[:, methane], species["flag"].to_numpy()[:, methane]
    unknown = np.isnan(value)
    assert 5 < unknown.sum() < value.size
    assert ((flag[unknown] & SpeciesFlag.MISSING_INPUT.value) != 0).all()
    assert ((flag[~unknown] & SpeciesFlag.MISSING_INPUT.value) == 0).all()
    assert np.isnan(species["sigma"].to_numpy()[unknown, methane]).all()


def test_gas_of_more_than_the_whole_is_missing_and_counted(tmp_path: Path) -> None:
    """The largest value is that of a real log: 28,045,800 ppm of n-butane."""
    file = tmp_path / "gas.csv"
    file.write_text(
        "Depth (m),C1 (ppm),C2 (ppm),C3 (ppm),nC4 (ppm)\n"
        "1000,1000,90,40,10\n1001,1200,90,40,28045800\n1002,900,90,40,-999.25\n1003,800,90,40,0\n"
    )
    log = import_gas_log(file)
    butane = log.report.column("n_butane")
    assert (butane.absurd, butane.absurd_largest, butane.missing, butane.zeros) == (1, 28045800.0, 1, 1)
    assert any("1 absurd set missing (as far out as 28,045,800 ppm)" in line for line in log.report.lines())
