"""What only one driver can be asked: the SRS RGA through its emulator, replays of files, valves, and refusals."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from real_files import QUADRUPOLE, RealFile
from wells.acquisition.rigs import BLANK, GAS, Memory, recording

from nightwell.errors import ConflictError, InputError, UnreachableError
from nightwell.testing.srs_rga_emulator import SrsRgaEmulator
from nightwell.wells.acquire.archive import ScanArchive
from nightwell.wells.acquire.clock import SystemClock
from nightwell.wells.acquire.engine import FLAG, Engine
from nightwell.wells.acquire.replay import ReplaySpectrometer, schedule_of_recording
from nightwell.wells.acquire.schedule import parse_schedule
from nightwell.wells.acquire.session import InstrumentDriver, Limits, Request, acquire
from nightwell.wells.acquire.srs_rga import SrsRgaSpectrometer
from nightwell.wells.acquire.valve import CommandValve, NoValve
from nightwell.wells.container import write_scans
from nightwell.wells.quadrupole import ScanLabels, import_quadrupole

RGA_SCHEDULE = """
format = 1
name = "rga"
[[element]]
name = "gas"
stream = "trap_gas"
valve_port = 1
purge_s = 0
dwell_s = 0.0001
mz = "1-50"
trigger = { by = "idle" }
"""


@pytest.fixture
def rga() -> Iterator[SrsRgaEmulator]:
    with SrsRgaEmulator() as running:
        yield running


def opened(rga: SrsRgaEmulator, *, multiplier: bool = False) -> SrsRgaSpectrometer:
    driver = SrsRgaSpectrometer(rga.device, NoValve(1), multiplier=multiplier, timeout_s=0.2)
    driver.connect(0)
    return driver


def test_currents_come_in_the_unit_of_the_manual(rga: SrsRgaEmulator) -> None:
    driver = opened(rga)
    driver.admit(GAS)
    whole = driver.measure(tuple(range(1, 51)), 0.0)
    assert whole.intensity_a[27] == pytest.approx(1_000_000e-16)
    assert whole.intensity_a[39] == pytest.approx(11_000e-16)
    some = driver.measure((28, 40), 0.0)
    assert some.intensity_a.tolist() == whole.intensity_a[[27, 39]].tolist()
    # ST 0.01 mA/Torr, and the total of the emulator's peaks
    total_a = sum(rga._spectrum(mass) for mass in range(1, 201)) * 1e-16
    assert whole.pressure_pa == pytest.approx(total_a / 1e-5 * 133.322, rel=1e-4)
    assert {"ID?", "NF4", "FL1.0", "HV0", "MI1", "MF50", "HP?", "HS1", "MR28", "TP?", "ER?"} <= set(rga.commands)
    driver.close()
    assert rga.value("FL") == 1.0  # stays warm
    deadline_s = time.monotonic() + 10
    while rga.commands[-1] != "MR0":  # the rods rest
        assert time.monotonic() < deadline_s, rga.commands[-1]


def test_a_negative_current_is_negative() -> None:
    with SrsRgaEmulator(spectrum=lambda mass: -mass) as rga:
        driver = opened(rga)
        assert driver.measure((5, 9), 0.0).intensity_a.tolist() == pytest.approx([-5e-16, -9e-16])
        driver.close()


def test_with_the_multiplier_the_pressure_is_unknown(rga: SrsRgaEmulator) -> None:
    driver = opened(rga, multiplier=True)
    assert np.isnan(driver.measure((28,), 0.0).pressure_pa)
    assert rga.value("HV") == 1400
    driver.close()


def test_a_scan_cut_short_is_no_scan(rga: SrsRgaEmulator) -> None:
    driver = opened(rga)
    rga.faults.cut_to_bytes = 102  # 25 currents and a half
    with pytest.raises(UnreachableError, match="2 bytes of a current of 4"):
        driver.measure(tuple(range(1, 51)), 0.0)
    rga.faults.cut_to_bytes = None
    driver.close()
    driver.connect(0)
    assert driver.measure((28,), 0.0).intensity_a[0] == pytest.approx(1e-10)
    driver.close()


@pytest.mark.parametrize(
    ("register", "bits", "said"),
    [("EF", 0x40, "emission current"), ("EF", 0x20, "pressure too high"), ("EP", 0x40, "22V"), ("ED", 0x80, "ADC16")],
)
def test_faults_of_the_head_are_final_and_named(rga: SrsRgaEmulator, register: str, bits: int, said: str) -> None:
    driver = opened(rga)
    rga.faults.registers[register] = bits
    with pytest.raises(ConflictError, match=said):
        driver.measure((28,), 0.0)
    driver.close()


def test_a_line_with_nobody_on_it_and_one_that_is_not_there(rga: SrsRgaEmulator) -> None:
    rga.faults.silent = True
    with pytest.raises(UnreachableError, match="check power, cable and device name"):
        opened(rga)
    with pytest.raises(UnreachableError):
        SrsRgaSpectrometer("/dev/nonexistent", NoValve(1)).connect(0)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "srsinst.rga.instruments.rga100.rga", None)
    with pytest.raises(InputError, match=r'pip install "nightwell\[srs-rga\]"'):
        SrsRgaSpectrometer("/dev/null", NoValve(1)).connect(0)


@pytest.mark.parametrize("wrong", [{"speed": 8}, {"emission_ma": 9.0}])
def test_settings_beyond_the_manual_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="mistyped"):
        SrsRgaSpectrometer("/dev/null", NoValve(1), **wrong).connect(0)  # type: ignore[arg-type]  # one of each type


def test_the_engine_acquires_from_it_and_the_archive_names_it(rga: SrsRgaEmulator, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(RGA_SCHEDULE)
    request = Request("well", InstrumentDriver.SRS_RGA, tmp_path / "s.toml", device=rga.device)
    assert acquire(request, tmp_path / "place", limits=Limits(scans=3)).scans == 3
    tree = ScanArchive(tmp_path / "place", "well").open()
    assert tree["scans"]["intensity"].to_numpy()[:, 27] == pytest.approx(1e-10)
    assert "SRSRGA200, serial number 12345" in tree.attrs["provenance"]
    assert not tree.attrs["simulated"]


# ---------------------------------------------------------------- valves


def test_a_valve_is_turned_by_a_program(tmp_path: Path) -> None:
    turned = tmp_path / "port"
    CommandValve(("sh", "-c", f"echo {{port}} > {turned}")).turn(5)
    assert turned.read_text() == "5\n"


@pytest.mark.parametrize(
    ("command", "kind", "said"),
    [
        (("sh", "-c", "echo stuck >&2; exit 3"), UnreachableError, "exit status 3: stuck"),
        (("sleep", "60"), UnreachableError, "no end within"),
        (("no-such-program",), InputError, "a program on this machine"),
    ],
)
def test_a_valve_that_does_not_turn(command: tuple[str, ...], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        CommandValve(command, timeout_s=0.1).turn(2)
    with pytest.raises(InputError, match="valve port 9"):
        CommandValve(command, frozenset({1, 2})).turn(9)


# ---------------------------------------------------------------- replay


def test_a_recording_is_replayed_whole_and_goes_on_where_it_was_left(tmp_path: Path) -> None:
    scans = recording(size=12, step_s=100.0)
    write_scans(scans, tmp_path / "recorded")
    request = Request("well", InstrumentDriver.REPLAY, recording=tmp_path / "recorded")
    counts = [acquire(request, tmp_path / "place", limits=Limits(scans=n)).scans for n in (5, 4, 100, 100)]
    assert counts == [5, 4, 3, 0]
    found = ScanArchive(tmp_path / "place", "well").open()
    before, after = scans["scans"].to_dataset(), found["scans"].to_dataset()
    for name in ("intensity", "time", "stream", "kind", "valve", "pressure"):
        np.testing.assert_array_equal(before[name].to_numpy(), after[name].to_numpy())
    assert found["gaps"].sizes["gap"] == 0
    assert "Replayed from recorded: Spectra measured." in found.attrs["provenance"]


def test_a_hole_in_a_recording_is_said() -> None:
    scans = recording(step_s=1000.0)
    schedule = schedule_of_recording(scans)
    memory, replay = Memory(schedule.mz), ReplaySpectrometer(scans, source="r")
    replay.connect(0)
    done = Engine(schedule, replay, memory, SystemClock()).run()
    assert done.scans == 8
    assert done.count("source") == 7
    assert all(scan.flag & FLAG["gap_before"] for scan in memory.scans[1:])


def test_a_recording_that_goes_back_in_time_is_refused() -> None:
    scans = recording()
    schedule = schedule_of_recording(scans)
    memory, replay = Memory(schedule.mz), ReplaySpectrometer(scans, source="r")
    replay._time = replay._time.copy()
    replay._time[4] -= np.timedelta64(1, "h")
    replay.connect(0)
    with pytest.raises(InputError, match="times that never decrease"):
        Engine(schedule, replay, memory, SystemClock()).run()
    assert len(memory.scans) == 4


def test_another_recording_and_a_schedule_without_its_streams_are_refused() -> None:
    replay = ReplaySpectrometer(recording(size=4), source="r")
    with pytest.raises(InputError, match="at least 9 scans"):
        replay.connect(9)
    schedule = parse_schedule(RGA_SCHEDULE.replace('"1-50"', "[15, 28, 40]"), source="s")
    replay.connect(3)
    assert replay.upcoming() == BLANK
    with pytest.raises(InputError, match="trap_gas blank"):
        Engine(schedule, replay, Memory(schedule.mz), SystemClock()).run()


def test_a_real_scan_file_is_replayed(real_file: RealFile) -> None:
    labels = ScanLabels(start=np.datetime64("2025-03-12T00:00:00", "ns"))
    scans = import_quadrupole(real_file(QUADRUPOLE), labels=labels).scans
    schedule = schedule_of_recording(scans)
    memory, replay = Memory(schedule.mz), ReplaySpectrometer(scans, source=QUADRUPOLE)
    replay.connect(0)
    done = Engine(schedule, replay, memory, SystemClock()).run()
    assert done.scans == scans["scans"].sizes["scan"] == 7
    acquired = np.stack([scan.intensity_a for scan in memory.scans])
    np.testing.assert_array_equal(acquired, scans["scans"]["intensity"].to_numpy())


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("w", InstrumentDriver.REPLAY), "expected a recording; found none"),
        (Request("w", InstrumentDriver.SRS_RGA), "expected a device; found none"),
        (Request("w", InstrumentDriver.SIMULATED, device="/dev/x"), "a device with driver srs-rga only"),
    ],
)
def test_options_of_another_driver_are_refused(request_: Request, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        acquire(request_, tmp_path)
    assert list(tmp_path.iterdir()) == []
