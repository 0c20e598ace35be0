"""Spectra from quadrupole software, in every layout, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from real_files import QUADRUPOLE, RealFile
from wells.acquire.written_files import WriteFile

from nightwell.errors import InputError
from nightwell.wells.contract import validate_scans
from nightwell.wells.quadrupole import ScanLabels, import_quadrupole
from nightwell.wells.streams import ScanKind, Stream

START = np.datetime64("2024-05-17T12:00:00", "ns")


def test_the_real_scan_is_read(real_file: RealFile) -> None:
    found = import_quadrupole(real_file(QUADRUPOLE))
    validate_scans(found.scans)
    scans = found.scans["scans"]
    assert scans.intensity.shape == (7, 50)
    assert scans.attrs == {}
    assert found.scans.attrs["simulated"] == 0
    assert found.report.unknown == ()
    np.testing.assert_allclose(scans.intensity.sel(mz=40)[:2], [2.4524e-07, 2.35858e-07])
    assert scans.time.to_numpy()[0] == np.datetime64("2025-03-12T09:23:55.9", "ns")


LAYOUTS = {
    "mz_": ["unix_time_s,mz_14,mz_28,mz_32", "1700000000,1,2,3", "1700000001.5,4,5,6"],
    "plain": ["Time,14,28,32", "2023-11-14T22:13:20Z,1,2,3", "2023-11-14T22:13:21.5Z,4,5,6"],
    "decimals": ["Timestamp;14.00;28.00;31.98", "2023-11-14T22:13:20Z;1;2;3", "2023-11-14T22:13:21.5Z;4;5;6"],
    "words": ["UTC\tMass 14\tm/z 28\t32 amu", "1700000000\t1\t2\t3", "1700000001,5\t4\t5\t6"],
    "preamble": ["Instrument,bench", "Filament,1", "", "Time,m14,m28,m32", "1700000000,1,2,3", "1700000001.5,4,5,6"],
    "out of order": ["Time,32,14,28", "1700000000,3,1,2", "1700000001.5,6,4,5"],
    "long": ["Time,m/z,Intensity", *(f"1700000000,{m},{i}" for m, i in ((28, 2), (14, 1), (32, 3))),
             *(f"1700000001.5,{m},{i}" for m, i in ((14, 4), (28, 5), (32, 6)))],
    "long, other words": ["Mass;Ion Current (A);Time", "14;1;1700000000", "28;2;1700000000", "32;3;1700000000",
                          "14;4;1700000001,5", "28;5;1700000001,5", "32;6;1700000001,5"],
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_gives_the_same_scans(write_file: WriteFile, name: str) -> None:
    scans = import_quadrupole(write_file(*LAYOUTS[name])).scans["scans"]
    np.testing.assert_array_equal(scans.intensity, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(scans.mz, [14, 28, 32])
    times = np.array(["2023-11-14T22:13:20", "2023-11-14T22:13:21.5"], "datetime64[ns]")
    np.testing.assert_array_equal(scans.time, times)


def test_units_relative_times_labels_and_extra_columns(write_file: WriteFile) -> None:
    path = write_file(
        "Time Relative (min),Mass 2 (nA),Mass 28 (nA),Mass 40 (pA),Total Pressure (mbar),Depth (ft),Remark",
        "0,1,2,3000,1e-5,1000,first",
        "0.5,4,,0,1e-5,1001,second",
    )
    labels = ScanLabels(Stream.MUD_FLUID, ScanKind.STANDARD, START)
    found = import_quadrupole(path, well="bench", labels=labels)
    scans = found.scans["scans"]
    np.testing.assert_allclose(scans.intensity, [[1e-9, 2e-9, 3e-9], [4e-9, np.nan, 0]], rtol=1e-6)
    np.testing.assert_allclose(scans.pressure, 1e-3)
    np.testing.assert_allclose(scans.sample_depth, [304.8, 305.1048])
    np.testing.assert_array_equal(scans.time, START + np.array([0, 30]) * np.timedelta64(1, "s"))
    assert set(scans.stream.to_numpy()) == {Stream.MUD_FLUID.code}
    assert set(scans.kind.to_numpy()) == {ScanKind.STANDARD.code}
    assert [column.column for column in found.report.unknown] == ["Remark"]
    assert found.report.column("m/z 40").zeros == 1
    assert found.report.column("m/z 28").missing == 1


def test_a_mass_that_a_long_file_lacks_once_is_missing_not_zero(write_file: WriteFile) -> None:
    path = write_file("Time,mz,Intensity", "1700000000,14,1", "1700000000,28,2", "1700000001,28,5")
    np.testing.assert_array_equal(import_quadrupole(path).scans["scans"].intensity, [[1, 2], [np.nan, 5]])


BAD_SPECTRA = {
    "half mass": (["Time,14,14.5,28", "1700000000,1,2,3"], "whole m/z; found m/z 14.5"),
    "half mass, long": (["Time,mz,Intensity", "1700000000,14.5,1"], "whole m/z; found m/z 14.5"),
    "mass twice": (["Time,14,28,28.0", "1700000000,1,2,3"], "each m/z once; found m/z 28 more than once"),
    "mass twice, long": (
        ["Time,mz,Intensity", *["1700000000,28,1"] * 2],
        "m/z 28 more than once at 2023.*2 rows: 1, 2",
    ),
    "zero rows": (["Time,14,28,32"], "at least one scan; found zero rows"),
    "no masses": (["Time,Ar,N2,O2", "1700000000,1,2,3"], "a header line with a time column"),
    "no time": (["14,28,32", "1,2,3"], "a header line with a time column"),
    "relative time": (["Time (s),14,28,32", "0.5,1,2,3"], "the start of the run; found times from 0.5 s"),
    "clock jumps back": (["Time,14,28,32", "1700000001,1,2,3", "1700000000,1,2,3"], "never decrease; found .*row 1"),
    "other unit": (["Time,14 (Torr),28 (Torr),32 (Torr)", "1700000000,1,2,3"], "converts to A; found Torr"),
    "text": (["Time,14,28,32", "1700000000,1,over,3"], "numbers; found 'over' in row 1"),
    "no date": (["Time,14,28,32", "noon,1,2,3"], "ISO 8601"),
}


@pytest.mark.parametrize("name", BAD_SPECTRA)
def test_bad_spectra_are_named(write_file: WriteFile, name: str) -> None:
    lines, said = BAD_SPECTRA[name]
    with pytest.raises(InputError, match=said):
        import_quadrupole(write_file(*lines))
