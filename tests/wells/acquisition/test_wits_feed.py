"""A rig's live WITS stream over a real socket: depth triggers samples, a connection that ends is made again."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from wells.acquisition.rigs import Memory, StandingSpectrometer

from nightwell.errors import InputError
from nightwell.testing.srs_rga_emulator import SrsRgaEmulator
from nightwell.wells.acquire.archive import ScanArchive
from nightwell.wells.acquire.clock import SystemClock
from nightwell.wells.acquire.engine import Engine
from nightwell.wells.acquire.schedule import parse_schedule
from nightwell.wells.acquire.session import InstrumentDriver, Request, acquire
from nightwell.wells.acquire.wits_feed import ASKING, WitsAddress, WitsFeed, values_of
from nightwell.wells.drilling import import_drilling
from nightwell.wells.rig import Rig
from nightwell.wells.wits0 import WitsRecord, WitsUnits, read_wits0

#: A slim hole, so that mud from the bit is up within a second.
SLIM = Rig(gas_line_delay_s=0.0, hole_diameter_m=0.1, pipe_diameter_m=0.06)

SCHEDULE = """
format = 1
name = "by depth"
[[element]]
name = "gas"
stream = "trap_gas"
valve_port = 1
purge_s = 0
dwell_s = 0.01
mz = [15, 28, 40]
trigger = { by = "idle" }
[[element]]
name = "mud"
stream = "mud_fluid"
valve_port = 2
purge_s = 0
dwell_s = 0.01
mz = [15, 28, 40]
trigger = { by = "depth", every_m = 10 }
maximum_age_s = 3600
"""


class Recorder:
    """A rig's recorder: speaks only to who has asked, two frames for a moment, 10 m a second; SIMULATED."""

    def __init__(self, *, flow: bool = True, pace_s: float = 0.05) -> None:
        self.asked: list[bytes] = []
        self.connections = 0
        self.bit_m = 20.0
        self._flow, self._pace_s = flow, pace_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._line: socket.socket | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> WitsAddress:
        return WitsAddress("127.0.0.1", self._listener.getsockname()[1], WitsUnits.FPS)

    def hang_up(self) -> None:
        assert self._line is not None
        self._line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._ended.set()
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        self._listener.settimeout(0.1)
        while not self._ended.is_set():
            with suppress(OSError):
                self._line, _ = self._listener.accept()
                self.connections += 1
                with self._line:
                    self.asked.append(self._line.recv(100))
                    while not self._ended.wait(self._pace_s):
                        self.bit_m += 10.0 * self._pace_s
                        self._line.sendall(self._frames())

    def _frames(self) -> bytes:
        depth = f"&&\r\n1984PASON/EDR\r\n0108{self.bit_m / 0.3048:.2f}\r\n0113-8888\r\n!!\r\n"
        flow = "&&\r\n1984PASON/EDR\r\n01305000\r\n0139-9999.00\r\n!!\r\n" if self._flow else ""
        return f"noise{depth}{flow}".encode()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    running = Recorder()
    yield running
    running.close()


def eventually(what: str, holds: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.02)


def feed_of(recorder: Recorder, record: Path | None = None) -> WitsFeed:
    return WitsFeed(recorder.address, SLIM, record=record, now=SystemClock().now, every_s=0.1)


def returns_m(feed: WitsFeed) -> float:
    return feed.state(SystemClock().now()).returns_depth_m or 0.0


def test_samples_are_taken_by_the_depth_that_the_stream_tells(recorder: Recorder) -> None:
    schedule = parse_schedule(SCHEDULE, source="a test")
    clock, memory = SystemClock(), Memory(schedule.mz)
    instrument = StandingSpectrometer(clock)  # type: ignore[arg-type]  # it sleeps on any clock
    feed = feed_of(recorder).start()

    def three() -> bool:
        return memory.names().count("mud_fluid sample") >= 3

    deadline_s = time.monotonic() + 60
    try:
        Engine(schedule, instrument, memory, clock, rig=feed).run(stop=lambda: three() or time.monotonic() > deadline_s)
    finally:
        feed.close()
    depths = [scan.sample_depth_m for scan in memory.scans if not np.isnan(scan.sample_depth_m)]
    assert three(), memory.names()
    assert [depth % 10 for depth in depths] == [0.0] * len(depths)
    assert depths == sorted(depths)
    assert memory.drilling_rows > 5
    assert recorder.asked == [ASKING]


def test_an_acquisition_follows_it_keeps_what_it_said_and_lets_go_of_it(recorder: Recorder, tmp_path: Path) -> None:
    """The whole session: an emulated instrument, a simulated recorder, a real archive."""
    schedule, record = tmp_path / "schedule.toml", tmp_path / "rig.wits"
    gas_only = SCHEDULE[: SCHEDULE.rindex("[[element]]")].replace("dwell_s = 0.01", "dwell_s = 0.0001")
    schedule.write_text(gas_only.replace("[15, 28, 40]", '"1-50"'))
    begun_s = time.monotonic()
    with SrsRgaEmulator() as rga:
        request = Request("rig", InstrumentDriver.SRS_RGA, schedule=schedule, device=rga.device,
                          wits=recorder.address, drilling=record)  # fmt: skip
        acquire(request, tmp_path, stop=lambda: _rows(record) >= 2 or time.monotonic() - begun_s > 60)
    drilling = ScanArchive(tmp_path, "rig").open()["drilling"]
    assert drilling["bit_depth"].size >= 1
    assert 20.0 < float(drilling["bit_depth"].to_numpy()[0]) < 1000.0
    assert not [one for one in threading.enumerate() if one.name == "wits"], "the feed still listens"


def _rows(record: Path) -> int:
    return record.read_text().count("&&") if record.exists() else 0


def test_a_connection_that_ends_is_made_again_and_a_new_run_knows_the_mud_that_is_under_way(
    recorder: Recorder, tmp_path: Path
) -> None:
    record = tmp_path / "rig.wits"
    feed = feed_of(recorder, record).start()
    try:
        eventually("mud from below 25 m", lambda: returns_m(feed) > 25.0, 30.0)
        recorder.hang_up()
        eventually("a second connection", lambda: recorder.connections == 2)
        before = recorder.bit_m
        eventually("rows of it", lambda: returns_m(feed) > before)
        eventually("three seconds that were kept", lambda: record.read_text().count("&&") > 3)
    finally:
        feed.close()
    # What was kept is metric, in time, and can be imported.
    log = import_drilling(record, wits_units=WitsUnits.METRIC)
    assert log.time is not None
    kept = log.channels["flow"]
    np.testing.assert_allclose(kept[~np.isnan(kept)], 5000 * 3.785411784e-3 / 60.0, rtol=1e-6)
    # A new run begins with it, before the sender has said anything.
    again = feed_of(recorder, record)
    assert again.state(SystemClock().now()).returns_depth_m is not None


def test_a_silent_rig_tells_nothing_and_one_without_flow_is_refused(recorder: Recorder) -> None:
    silent = WitsFeed(WitsAddress("127.0.0.1", 9, WitsUnits.METRIC), SLIM, now=SystemClock().now).start()
    assert silent.state(SystemClock().now()).returns_depth_m is None
    assert silent.rows(None, SystemClock().now()) is None
    silent.close()
    without = Recorder(flow=False, pace_s=0.02)
    feed = feed_of(without).start()
    try:
        with pytest.raises(InputError, match=r"flow \(0130\)") as raised:
            eventually("a refusal", lambda: returns_m(feed))
        assert "bit_depth" in raised.value.found
    finally:
        feed.close()
        without.close()


def test_values_are_converted_and_nulls_of_both_kinds_are_none() -> None:
    (record, header) = read_wits0("&&\n01081000\n0130-8888\n0113-9999\n01391e12\n1984PASON/EDR\n!!\n").records
    assert values_of(record, WitsUnits.FPS) == {"bit_depth": pytest.approx(304.8)}
    assert values_of(record, WitsUnits.METRIC) == {"bit_depth": 1000.0}
    assert header == WitsRecord(19, {84: "PASON/EDR"})


@pytest.mark.parametrize("text", ["rig", "rig:", "rig:0", "rig:99999", ":8686"])
def test_an_address_without_host_or_port_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="host:port"):
        WitsAddress.parse(text, WitsUnits.METRIC)
    assert WitsAddress.parse("tcp://rig:8686", WitsUnits.METRIC) == WitsAddress("rig", 8686, WitsUnits.METRIC)


def test_a_stream_with_another_driver_is_refused(tmp_path: Path) -> None:
    address = WitsAddress("127.0.0.1", 9, WitsUnits.METRIC)
    with pytest.raises(InputError, match="WITS stream with driver srs-rga only"):
        acquire(Request("w", InstrumentDriver.SIMULATED, wits=address), tmp_path)
