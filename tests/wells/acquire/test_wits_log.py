"""Gas and drilling parameters out of a WITS level 0 stream, in either units, with everything odd told."""

from __future__ import annotations

import numpy as np
import pytest
from wells.acquire.written_files import WriteFile

from nightwell.errors import InputError
from nightwell.wells.contract import Origin
from nightwell.wells.drilling import import_drilling
from nightwell.wells.gas_log import import_gas_log
from nightwell.wells.import_well import build_scans
from nightwell.wells.rig import Rig, series_of_record
from nightwell.wells.wits0 import WitsRecord, WitsUnits, write_wits0

NAN = float("nan")


def stream(*records: WitsRecord) -> str:
    return write_wits0(records, whole=False).replace("\r\n", "\n").rstrip("\n")


def gas(depth: float, c1: float, **other: float) -> WitsRecord:
    items = {"c2": 13, "c3": 16, "ic4": 19}
    return WitsRecord(
        13, {1: "W-1", 8: depth, 10: c1, 13: 10.0, 16: 1.0, **{items[key]: v for key, v in other.items()}}
    )


def drilling(second: int, **items: float) -> WitsRecord:
    numbers = {"bit": 8, "hole": 10, "rop": 13, "spm1": 23, "spm2": 24, "flow": 30, "gas": 40}
    clock = 100000 + 100 * (second // 60) + second % 60
    return WitsRecord(1, {5: 240517.0, 6: float(clock), **{numbers[name]: value for name, value in items.items()}})


def test_gas_against_depth_is_read_and_joined_by_the_mud_record(write_file: WriteFile) -> None:
    mud = WitsRecord(14, {8: 1000.5, 19: 0.02, 20: 0.5, 24: 3.0})
    text = stream(gas(1000, 500, c2=0.0), gas(1000.5, 600, ic4=NAN), mud, gas(1001, 700))
    log = import_gas_log(write_file(text))
    np.testing.assert_array_equal(log.table.depth, [1000, 1000.5, 1001])
    np.testing.assert_array_equal(log.table.methane, [500, 600, 700])
    np.testing.assert_array_equal(log.zeros.ethane, [True, False, False])
    np.testing.assert_allclose(log.table.total_gas, [NAN, 5000, NAN])
    np.testing.assert_allclose(log.table.gas_in, [NAN, 200, NAN])
    assert "isobutane" not in log.table  # null throughout
    assert "gas_in" not in log.species
    assert any("metric: nothing in it says so" in note for note in log.report.notes)
    assert [one.column for one in log.report.unknown] == ["1424 HSX Hydrogen Sulfide (max)"]


def test_oil_field_units_are_converted_when_they_are_named(write_file: WriteFile) -> None:
    log = import_gas_log(write_file(stream(gas(1000, 1), gas(1001, 2))), wits_units=WitsUnits.FPS)
    np.testing.assert_allclose(log.table.depth, [304.8, 305.1048])
    assert not any("nothing in it says so" in note for note in log.report.notes)
    assert log.report.column("depth").unit_found == "F"


def test_a_record_sent_again_replaces_the_one_before_and_a_cut_frame_is_told(write_file: WriteFile) -> None:
    log = import_gas_log(write_file(stream(gas(1000, 1), gas(1000, 5), gas(1001, 2)) + "\n&&\n1308100"))
    np.testing.assert_array_equal(log.table.methane, [5, 2])
    assert any("1 records sent again" in note for note in log.report.notes)
    assert any("has no end" in note for note in log.report.notes)


def test_record_12_serves_where_there_is_no_13(write_file: WriteFile) -> None:
    rows = [WitsRecord(12, {8: depth, 12: 1.0 + depth, 13: 2.0, 14: 3.0}) for depth in (10.0, 20.0)]
    np.testing.assert_array_equal(import_gas_log(write_file(stream(*rows))).table.methane, [11, 21])


def test_drilling_in_time_is_read_and_the_bit_may_go_up(write_file: WriteFile) -> None:
    rows = [drilling(10 * at, bit=bit, rop=20.0, flow=3000.0) for at, bit in enumerate((100.0, 101.0, 90.0))]
    log = import_drilling(write_file(stream(*rows)))
    assert log.time is not None
    assert log.time[0] == np.datetime64("2024-05-17T10:00:00")
    np.testing.assert_allclose(log.channels["flow"], 0.05)
    np.testing.assert_array_equal(log.channels["bit_depth"], [100, 101, 90])


def test_pump_strokes_give_the_flow_when_none_was_recorded(write_file: WriteFile) -> None:
    rows = [drilling(10 * at, bit=100.0 + at, spm1=60.0, spm2=30.0) for at in range(4)]
    log = import_drilling(write_file(stream(*rows)))
    series = series_of_record(log, Rig(pump_output_m3=0.02))
    np.testing.assert_allclose(series.flow, 90 / 60 * 0.02)
    assert "flow from pump strokes of 0.02 m3" in series.provenance
    with pytest.raises(InputError, match="--pump-output"):
        series_of_record(log, Rig())


def test_a_stream_registers_measured_spectra(write_file: WriteFile) -> None:
    rows = [drilling(30 * at, bit=100.0 + at / 10, rop=12.0, flow=3000.0) for at in range(100)]
    times = [f"2024-05-17T10:{30 + minute}:00Z,1e-7,2e-8,{1e-9 * minute}" for minute in range(15)]
    spectra = write_file("Time,28,32,40", *times, name="s.csv")
    found = build_scans(spectra=spectra, drilling=write_file(stream(*rows), name="rig.txt"))
    assert "Drilling record measured, from rig.txt" in Origin.of(found.scans).provenance
    assert "drilling" in found.scans.children


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (stream(drilling(0, bit=1.0, flow=1.0)), r"records 13 or 12 .*found 1 frames with records 1"),
        (stream(WitsRecord(13, {8: NAN, 10: 1.0})), "depths in record 13"),
        (stream(gas(10, 1), gas(9, 1)), "9 m after 10 m"),
        ("&&\n130810", "none that is whole"),
    ],
)
def test_a_stream_without_gas_is_refused(write_file: WriteFile, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        import_gas_log(write_file(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (stream(gas(10, 1)), r"record 1 \(general"),
        (stream(WitsRecord(1, {8: 10.0, 30: 1.0})), "a date and a time"),
        (stream(drilling(10, bit=1.0, flow=1.0), drilling(0, bit=1.0, flow=1.0)), "row 1"),
        (stream(drilling(0, bit=1.0)), "columns for flow"),
    ],
)
def test_a_stream_without_usable_drilling_is_refused(write_file: WriteFile, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        import_drilling(write_file(text))
