"""Defects that leave no trace in the numbers: each is refused, or told in the report."""

from __future__ import annotations

import numpy as np
import pytest
from real_files import VOLVE, RealFile
from wells.acquire.written_files import WriteFile

from nightwell.errors import InputError
from nightwell.wells.drilling import import_drilling
from nightwell.wells.gas_log import import_gas_log
from nightwell.wells.quadrupole import import_quadrupole

HEAD = "Time,14,28,32"


def test_doubled_scans_are_kept_once_and_told(write_file: WriteFile) -> None:
    row = "1700000000,1,2,"
    found = import_quadrupole(write_file(HEAD, row, row, "1700000001,4,5,6", "1700000001,4,5,6"))
    np.testing.assert_array_equal(found.scans["scans"].intensity, [[1, 2, np.nan], [4, 5, 6]])
    assert found.report.notes[0] == "2 scans stood twice and are kept once"


def test_two_spectra_of_one_time_are_refused(write_file: WriteFile) -> None:
    with pytest.raises(InputError, match=r"one scan at a time.*row 2"):
        import_quadrupole(write_file(HEAD, "1700000000,1,2,3", "1700000000,1,2,4"))


def test_shuffled_scans_are_refused_and_shuffled_rows_of_a_long_file_are_told(write_file: WriteFile) -> None:
    with pytest.raises(InputError, match="never decrease"):
        import_quadrupole(write_file(HEAD, "1700000002,1,2,3", "1700000001,1,2,3", "1700000003,1,2,3"))
    long = ["Time,mz,Intensity", "1700000002,28,2", "1700000001,28,1"]
    found = import_quadrupole(write_file(*long))
    np.testing.assert_array_equal(found.scans["scans"].intensity[:, 0], [1, 2])
    assert "not in the order of time" in found.report.notes[0]


def test_a_clock_that_leaps_ahead_is_told(write_file: WriteFile) -> None:
    times = [1_700_000_000 + 10 * at + (86_400 if at > 4 else 0) for at in range(9)]
    found = import_quadrupole(write_file(HEAD, *(f"{time},1,2,3" for time in times)))
    assert "leaps 24.0 h ahead after row 5" in found.report.notes[0]
    record = import_drilling(write_file("Time,Bit Depth (m),Flow In (gpm)", *(f"{time},1,1" for time in times)))
    assert "leaps 24.0 h ahead after row 5" in record.report.notes[0]


def test_gaps_of_the_mz_axis_and_empty_scans_are_told(write_file: WriteFile) -> None:
    found = import_quadrupole(write_file("Time,28,32,40", "1700000000,1,2,3", "1700000001,,,"))
    assert "without 10 of them: 29, 30, 31, 33" in found.report.notes[0]
    assert found.report.notes[1] == "1 of 2 scans hold no current at all"


def test_a_current_that_is_not_finite_is_missing_and_counted(write_file: WriteFile) -> None:
    found = import_quadrupole(write_file(HEAD, "1700000000,1,inf,3", "1700000001,1,2,3"))
    assert np.isnan(found.scans["scans"].intensity[0, 1])
    assert found.report.column("m/z 28").absurd == 1


def test_unknown_columns_of_spectra_come_with_the_nearest_known(write_file: WriteFile) -> None:
    found = import_quadrupole(write_file("Time,14,28,32,Presure (Pa),Operator", "1700000000,1,2,3,4,me"))
    assert {one.column: one.nearest for one in found.report.unknown} == {"Presure (Pa)": ("pressure",), "Operator": ()}


def test_intervals_without_any_gas_are_told(write_file: WriteFile) -> None:
    rows = [f"{at},{'-999.25' if 3 <= at < 6 else 9},{'' if 3 <= at < 6 else 1},-9999" for at in range(9)]
    rows[8] = "8,9,1,1"
    log = import_gas_log(write_file("Depth (m),C1 (ppm),C2 (ppm),C3 (ppm)", *rows))
    assert log.report.notes == ("no gas at all was recorded from 3 to 5 m (3 rows)",)


def test_the_absurd_butane_of_the_real_log_is_missing_and_named(real_file: RealFile) -> None:
    log = import_gas_log(real_file(VOLVE))
    column = log.report.column("n_butane")
    assert column.absurd_largest == pytest.approx(28_045_800, rel=1e-3)
    assert float(log.table.n_butane.max()) <= 1e6


def test_a_bit_depth_that_is_null_throughout_is_refused(write_file: WriteFile) -> None:
    rows = [f"{1_700_000_000 + at},-999.25,100" for at in range(3)]
    with pytest.raises(InputError, match=r"bit depth of log\.csv: expected at least one value; found 3 rows"):
        import_drilling(write_file("Time,Bit Depth (m),Flow In (gpm)", *rows))


def test_a_las_file_is_told_by_its_content(write_file: WriteFile) -> None:
    lines = ["# from the rig", "~Version", "VERS. 2.0 :", "WRAP. NO :", "~Well", "STRT.M 1 :", "STOP.M 2 :",
             "STEP.M 1 :", "NULL. -999.25 :", "~Curve", "DEPT.M :", "MTHA.PPM :", "ETHA.PPM :", "PRPA.PPM :", "~ASCII",
             "1 10 2 1", "2 20 3 1"]  # fmt: skip
    np.testing.assert_array_equal(import_gas_log(write_file(*lines, name="log.txt")).table.methane, [10, 20])
