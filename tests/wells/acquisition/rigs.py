"""Instruments to acquire with in tests: what is let in, schedules as text, and where scans go without an archive."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import xarray as xr

from nightwell.wells.acquire.archive_layout import Gap, ScanRow
from nightwell.wells.acquire.clock import SimulatedClock
from nightwell.wells.acquire.feed import RigState
from nightwell.wells.acquire.plan import Progress
from nightwell.wells.acquire.port import Facts, Inlet, Reading
from nightwell.wells.acquire.purge import Decay
from nightwell.wells.acquire.simulated import SimulatedSpectrometer
from nightwell.wells.composition import Composition, Zone, published_composition
from nightwell.wells.container import make_scans
from nightwell.wells.contract import Origin
from nightwell.wells.instrument import Instrument
from nightwell.wells.rig import DrillingSeries, Rig, drill
from nightwell.wells.streams import ScanKind, Stream

START = np.datetime64("2024-01-01T00:00:00", "ns")
GAS = Inlet(1, Stream.TRAP_GAS, ScanKind.SAMPLE)
BLANK = Inlet(2, Stream.TRAP_GAS, ScanKind.BLANK)
CRUSH = Inlet(6, Stream.CUTTINGS_CRUSH, ScanKind.SAMPLE, 1505.0)
MEMORY = (Decay(0.9, 3.0), Decay(0.1, 8.0))

#: A whole schedule whose times are small enough to reckon with by hand; ``replace`` pieces of it.
SMALL = """
format = 1
name = "small"
[rules]
standard_every_h = 2
largest_rop_m_h = 30
high = [{ mz = 15, above_a = 1e-9 }]
[carry_over]
terms = [{ share = 1.0, tau_s = 2.0 }]
tolerance = 0.01
contrast = 10
[[element]]
name = "gas"
stream = "trap_gas"
valve_port = 1
purge_s = 20
settle_s = 2
dwell_s = 1
mz = [15, 28, 40]
trigger = { by = "idle" }
maximum_age_s = 300
[[element]]
name = "blank"
stream = "trap_gas"
kind = "blank"
valve_port = 2
purge_s = 20
settle_s = 2
dwell_s = 1
mz = [15, 28, 40]
trigger = { by = "rule" }
[[element]]
name = "standard"
stream = "trap_gas"
kind = "standard"
valve_port = 3
purge_s = 20
settle_s = 2
dwell_s = 1
scans = 2
mz = [15, 28, 40]
trigger = { by = "time", every_s = 5400 }
[[element]]
name = "crush"
stream = "cuttings_crush"
valve_port = 6
purge_s = 20
settle_s = 2
dwell_s = 1
scans = 4
mz = [15, 28, 40]
trigger = { by = "depth", every_m = 10 }
maximum_age_s = 1200
"""


@cache
def small_well() -> tuple[Composition, DrillingSeries, Rig]:
    """Return ten metres with a zone in them, drilled within the hour."""
    rig = Rig(start=START, flow_m3_s=0.12, rop_m_h=14.0)
    composition = published_composition(top_m=1500.0, bottom_m=1510.0, zones=(Zone(1505.0, 1507.8, "ekofisk"),))
    return composition, drill(composition.depth_m, None, rig), rig


def simulated(clock: SimulatedClock | None = None) -> SimulatedSpectrometer:
    """Return a simulated instrument on the small well, not connected."""
    composition, series, _ = small_well()
    return SimulatedSpectrometer(composition, series, clock or SimulatedClock(START), memory=MEMORY)


def recording(*, simulated: bool = False, size: int = 8, step_s: float = 10.0) -> xr.DataTree:
    """Return a recording of some scans, all different; m/z 30 was not measured."""
    intensity = np.arange(size * 5, dtype=np.float32).reshape(size, 5) * 1e-12 + 1e-9
    intensity[:, 3] = np.nan
    kinds = np.where(np.arange(size) % 4 == 3, ScanKind.BLANK.code, ScanKind.SAMPLE.code)
    scans = {
        "intensity": intensity,
        "mz": [15.0, 18.0, 28.0, 30.0, 40.0],
        "time": START + (np.arange(size) * step_s * 1e9).astype("timedelta64[ns]"),
        "stream": np.full(size, Stream.TRAP_GAS.code),
        "kind": kinds,
        "valve": 1 + kinds,
        "pressure": np.full(size, 1e-4),
    }
    said = "All spectra are simulated." if simulated else "Spectra measured."
    return make_scans(Origin("recorded", Instrument("a quadrupole"), simulated, said), scans)


class StandingSpectrometer:
    """An instrument whose currents are what a test says, on a simulated clock; it remembers what was asked of it."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        self.current_a: dict[Stream, float] = {}
        self.visits: list[Inlet] = []
        self.failing: list[Exception] = []
        self._inlet: Inlet | None = None

    @property
    def facts(self) -> Facts:
        return Facts("standing", Instrument("a stand-in"), True, "simulated: a stand-in of a test", 1, 200)  # noqa: FBT003

    def connect(self, scans_taken: int) -> None:
        pass

    def upcoming(self) -> Inlet | None:
        return None

    def admit(self, inlet: Inlet) -> None:
        if inlet != self._inlet:
            self.visits.append(inlet)
        self._inlet = inlet

    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:
        if self.failing:
            raise self.failing.pop(0)
        assert self._inlet is not None
        self.clock.sleep(dwell_s * len(mz))
        is_sample = self._inlet.kind is ScanKind.SAMPLE
        current = self.current_a.get(self._inlet.stream, 1e-12) if is_sample else 1e-12
        return Reading(np.full(len(mz), current, dtype=np.float32), 1e-4)

    def close(self) -> None:
        self._inlet = None


class Memory:
    """Keeps what the engine appends, as the archive would."""

    def __init__(self, mz: Sequence[int], progress: Progress | None = None) -> None:
        self.mz = tuple(mz)
        self.progress = progress or Progress()
        self.scans: list[ScanRow] = []
        self.gaps: list[Gap] = []
        self.drilling_rows = 0
        self.last_drilling: np.datetime64 | None = None

    def append(
        self, scan: ScanRow | None, drilling: DrillingSeries | None, gaps: Sequence[Gap], progress: Progress
    ) -> str:
        if scan is not None:
            self.scans.append(scan)
        if drilling is not None:
            self.drilling_rows += drilling.time.size
            self.last_drilling = drilling.time[-1]
        self.gaps += gaps
        self.progress = progress
        return str(len(self.scans))

    def names(self, kinds: Sequence[str] = ()) -> list[str]:
        """Return stream and kind of each scan."""
        return [f"{tuple(Stream)[one.stream]} {tuple(ScanKind)[one.kind]}" for one in self.scans]


class StandingRig:
    """A rig that does what a test says."""

    gas_line_delay_s = 45.0

    def __init__(self, *, drilling: bool = True, depth_of: object = None) -> None:
        self.drilling = drilling
        self.depth_m: float | None = None
        self.track: list[tuple[float, float]] = []

    def state(self, now: np.datetime64) -> RigState:
        seconds = float((now - START) / np.timedelta64(1, "s"))
        depth = self.depth_m
        if self.track:
            times, depths = zip(*self.track, strict=True)
            depth = float(np.interp(seconds, times, depths))
        since = float(START.astype(np.int64)) / 1e9
        return RigState(since if self.drilling else None, depth)

    def rows(self, after: np.datetime64 | None, until: np.datetime64) -> DrillingSeries | None:
        return None


EXAMPLE = Path(__file__).resolve().parents[3] / "nightwell" / "wells" / "acquire" / "four_streams.toml"
