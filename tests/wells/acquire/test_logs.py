"""Gas and drilling logs: units, nulls, zeros, defects of real files, and every bad input by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_files import IRONBARK_DRILLING, IRONBARK_GAS, VOLVE, RealFile
from wells.acquire.written_files import WriteFile

from nightwell.errors import InputError, NotFoundError
from nightwell.wells.channels import known_channels, nearest_names, parse_header
from nightwell.wells.drilling import import_drilling
from nightwell.wells.gas_log import import_gas_log
from nightwell.wells.units import convert

HEADER = "Depth (m),C1 (ppm),C2 (ppm),C3 (ppm)"


def test_all_rows_of_ironbark_are_read(real_file: RealFile) -> None:
    log = import_gas_log(real_file(IRONBARK_GAS), well="Ironbark-1")
    assert (log.well, log.table.sizes["depth"], log.report.rows) == ("Ironbark-1", 8071, 8071)
    assert log.report.unknown == ()
    assert (float(log.table.depth[0]), float(log.table.depth[-1])) == (1583.0, 5618.0)
    methane = log.table.methane.to_numpy()
    assert np.isnan(methane).sum() == log.report.column("methane").missing == 4
    assert np.nanmax(methane) == pytest.approx(4681.85)
    total = log.report.column("total_gas")
    assert (total.unit_found, total.unit, total.unit_assumed) == ("%", "ppm", False)
    assert float(log.table.total_gas.max()) == pytest.approx(5355.0)
    # The H2S sensor never read anything but zero: a zero stays a zero, and is kept apart.
    assert log.zeros.hydrogen_sulfide.all()
    assert int(log.zeros.ethane.sum()) == log.report.column("ethane").zeros == 62


def test_drilling_parameters_of_ironbark_are_read_in_si_units(real_file: RealFile) -> None:
    log = import_drilling(real_file(IRONBARK_DRILLING))
    assert log.time is None
    assert log.report.rows == 10_588
    assert np.median(log.channels["flow"]) == pytest.approx(1156.955 * 3.785411784e-3 / 60)
    assert "Stand Pipe Pressure (psi)" in {column.column for column in log.report.unknown}


def test_defects_of_volve_are_reported_and_set_missing(real_file: RealFile) -> None:
    log = import_gas_log(real_file(VOLVE))
    butane = log.report.column("n_butane")
    assert (butane.absurd, butane.absurd_largest) == (3, 28_045_800.0)
    assert log.report.absurd == 3
    assert any("3 absurd set missing (as far out as 28,045,800 ppm)" in line for line in log.report.lines())
    assert np.isnan(log.table.n_butane).sum() == 3
    assert log.report.column("reported_wetness").zeros == 2073
    assert log.report.column("total_gas").unit_assumed
    assert np.nanmax(log.table.hole_diameter) == pytest.approx(17.5 * 0.0254)
    assert len(log.report.unknown) == 33


def test_nulls_zeros_and_values_are_kept_apart(write_file: WriteFile) -> None:
    log = import_gas_log(write_file(HEADER, "100,5,-999.25,0", "101,,0.0,-999.25", "102,7,nan,1e-3", "103,-9999,2,3"))
    np.testing.assert_array_equal(log.table.methane, [5, np.nan, 7, np.nan])
    np.testing.assert_array_equal(log.table.ethane, [np.nan, 0, np.nan, 2])
    np.testing.assert_array_equal(log.zeros.ethane, [False, True, False, False])
    assert log.report.column("propane").missing == 1


def test_mixed_units_are_converted_and_recorded(write_file: WriteFile) -> None:
    log = import_gas_log(
        write_file("Depth (ft),C1 (%),C2 (ppm),C3 (% vol),Pump flow (gpm),Bit Size (in)", "1000,2.5,300,0.01,600,12.25")
    )
    assert float(log.table.depth[0]) == pytest.approx(304.8)
    assert [float(log.table[name][0]) for name in ("methane", "ethane", "propane")] == pytest.approx([25e3, 300, 100])
    assert float(log.table.flow[0]) == pytest.approx(0.0378541, rel=1e-5)
    assert log.table.methane.attrs["unit_found"] == "%"
    assert log.table.hole_diameter.attrs["units"] == "m"


def test_units_may_stand_in_a_line_of_their_own(write_file: WriteFile) -> None:
    log = import_gas_log(write_file("DEPT;C1;C2;C3", "ft;%;ppm;ppm", "1000;1;2;3", "1001;1;2;3"))
    assert log.report.rows == 2
    assert float(log.table.methane[0]) == pytest.approx(10_000.0)


def test_las_is_read(tmp_path: Path) -> None:
    lines = [
        "~Version", "VERS. 2.0 :", "WRAP. NO :", "~Well", "STRT.FT 1000 :", "STOP.FT 1001 :", "STEP.FT 1 :",
        "NULL. -999.25 :", "~Curve", "DEPT.FT :", "MTHA.PPM :", "ETHA.PPM :", "PRPA.% :", "~ASCII",
        "1000 10 -999.25 0.5", "1001 20 3 0.25",
    ]  # fmt: skip
    path = tmp_path / "log.las"
    path.write_text("\n".join(lines) + "\n")
    log = import_gas_log(path)
    assert float(log.table.depth[0]) == pytest.approx(304.8)
    np.testing.assert_array_equal(log.table.ethane, [np.nan, 3])
    np.testing.assert_allclose(log.table.propane, [5000, 2500])


def test_a_file_that_is_no_las_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.las"
    path.write_text("nothing of the kind\n")
    with pytest.raises(InputError, match="lasio"):
        import_gas_log(path)


BAD_LOGS = {
    "zero rows": ([HEADER], "at least one row of data; found zero rows"),
    "empty file": ([""], "header line"),
    "ragged": ([HEADER, "1,2,3,4", "1,2,3,4,5,6"], "rows with as many columns"),
    "missing column": (["Depth (m),C1 (ppm),C2 (ppm)", "1,2,3"], r"columns for propane \(known as C3, Propane, PRPA"),
    "column nearly right": (["Depth (m),Methan (ppm),C2 (ppm),C3 (ppm)", "1,2,3,4"], r"nearest here: Methan \(ppm\)"),
    "depth goes up": ([HEADER, "1,2,2,2", "3,2,2,2", "2,2,2,2"], "2 m after 3 m; row 3"),
    "depth twice": ([HEADER, *["1,2,2,2"] * 9], r"8 rows: 2, 3, 4, 5, 6, \.\.\."),
    "depth missing": ([HEADER, "1,2,2,2", "-999.25,2,2,2"], "a depth in every row; found none in row 2"),
    "unknown unit": (
        ["Depth (m),C1 (furlongs),C2 (ppm),C3 (ppm)", "1,2,3,4"],
        r"'C1 \(furlongs\)'.*converts to ppm; found furlongs",
    ),
    "no unit at all": (["Depth (m),C1 (qwertz),C2 (ppm),C3 (ppm)", "1,2,3,4"], "a known unit .*; found qwertz"),
    "text": ([HEADER, "1,2,3,4", "2,trace,3,4"], r"'C1 \(ppm\)'.*'trace' in row 2"),
    "decimal comma": (["Depth (m);C1;C2;C3", "1;2,5;3;4"], "decimal comma"),
    "channel twice": (["Depth (m),C1 (ppm),Methane (ppm),C2,C3", "1,2,3,4,5"], "one column for methane"),
}


@pytest.mark.parametrize("name", BAD_LOGS)
def test_a_bad_gas_log_is_named(write_file: WriteFile, name: str) -> None:
    lines, said = BAD_LOGS[name]
    with pytest.raises(InputError, match=said) as caught:
        import_gas_log(write_file(*lines))
    assert all([caught.value.subject, caught.value.cause, caught.value.next_step])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        import_gas_log(tmp_path / "none.csv")
    with pytest.raises(NotFoundError, match="a directory"):
        import_drilling(tmp_path)


def test_a_drilling_record_in_time_may_go_up(write_file: WriteFile) -> None:
    log = import_drilling(
        write_file(
            "Time,Bit Depth (m),Flow In (L/min)",
            "2024-05-17T12:00:00Z,1000,3000",
            "2024-05-17T14:00:10+02:00,999,0",
            "2024-05-17T12:00:20Z,1000,3000",
        )
    )
    assert log.time is not None
    assert (np.diff(log.time) == np.timedelta64(10, "s")).all()
    assert log.channels["flow"][0] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["Time,Bit Depth (m)", "2024-05-17,1"], "columns for flow"),
        (["Depth (m),C1", "1,2"], "columns for rop"),
        (["Time,Bit Depth (m),Flow In (gpm)", "17/25/2024,1,1"], "ISO 8601"),
        (["Time,Bit Depth (m),Flow In (gpm)", "1700000010,1,1", "1700000000,1,1"], "row 1"),
        (["Depth (m),ROP (m/h)", "2,1", "1,1"], "1 m after 2 m"),
    ],
)
def test_bad_drilling_parameters_are_named(write_file: WriteFile, lines: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        import_drilling(write_file(*lines))


@given(st.floats(1e-6, 1e6), st.sampled_from([("%", "ppm"), ("ft", "m"), ("gpm", "m3/s"), ("in", "m"), ("nA", "A")]))
def test_converting_there_and_back_changes_nothing(value: float, units: tuple[str, str]) -> None:
    there = convert(np.array([value, np.nan]), *units, subject="column")
    back = convert(there, *reversed(units), subject="column")
    np.testing.assert_allclose(back, [value, np.nan], rtol=1e-12)


@given(st.sampled_from(sorted(known_channels())), st.sampled_from(["", " ", "_"]), st.booleans())
def test_every_known_name_is_recognised_however_it_is_written(channel: str, gap: str, upper: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    for name in known_channels()[channel].names:
        written = name.replace(" ", gap)
        header = parse_header(f"{written.upper() if upper else written} (unit)")
        assert header.unit == "unit"
        assert nearest_names(header.name)[0] == channel
