"""All three drivers in one suite, and for each clause a driver that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from wells.acquisition.rigs import BLANK, CRUSH, GAS, recording, simulated

from nightwell.errors import ConflictError, InputError
from nightwell.testing.instruments import CLAUSES, Clause, ClauseBrokenError, InstrumentUnderTest, check
from nightwell.testing.srs_rga_emulator import SrsRgaEmulator
from nightwell.wells.acquire.port import Facts, Inlet, Reading, Spectrometer
from nightwell.wells.acquire.replay import ReplaySpectrometer
from nightwell.wells.acquire.simulated import SimulatedSpectrometer
from nightwell.wells.acquire.srs_rga import SrsRgaSpectrometer
from nightwell.wells.acquire.valve import CommandValve

PORTS = frozenset({1, 2, 6})
names = lambda clause: clause.__name__  # noqa: E731 - an id function


@pytest.fixture(scope="module")
def emulator() -> Iterator[SrsRgaEmulator]:
    with SrsRgaEmulator() as running:
        yield running


@pytest.fixture(scope="module")
def worked_out() -> SimulatedSpectrometer:
    """A simulated instrument that was connected: its forward model is worked out once for the whole suite."""
    driver = simulated()
    driver.connect(0)
    return driver


def fresh(worked_out: SimulatedSpectrometer) -> Callable[[], SimulatedSpectrometer]:
    """Return how to open simulated instruments that share one forward model."""

    def open_driver() -> SimulatedSpectrometer:
        driver = simulated()
        model, connect = worked_out._model, driver.connect

        def quickly(scans_taken: int) -> None:
            driver._model = model
            connect(scans_taken)

        driver.connect = quickly  # type: ignore[method-assign]  # the model takes a second
        return driver

    return open_driver


@pytest.mark.parametrize("clause", CLAUSES, ids=names)
def test_simulated_keeps(clause: Clause, worked_out: SimulatedSpectrometer) -> None:
    check(clause, InstrumentUnderTest(open_driver=fresh(worked_out), inlets=(GAS, BLANK, CRUSH), mz=(18, 28, 40)))


@pytest.mark.parametrize("clause", CLAUSES, ids=names)
@pytest.mark.parametrize("is_simulated", [False, True])
def test_replay_keeps(clause: Clause, is_simulated: bool) -> None:  # noqa: FBT001 - a parameter
    scans = recording(simulated=is_simulated)
    rig = InstrumentUnderTest(
        open_driver=lambda: ReplaySpectrometer(scans, source="r.csv"), mz=(18, 28, 40), unmeasured_mz=30
    )
    check(clause, rig)


@pytest.mark.parametrize("clause", CLAUSES, ids=names)
def test_srs_rga_keeps(clause: Clause, emulator: SrsRgaEmulator) -> None:
    def silence() -> None:
        emulator.faults.silent = not emulator.faults.silent

    def open_driver() -> Spectrometer:
        return SrsRgaSpectrometer(emulator.device, CommandValve(("true", "{port}"), PORTS), timeout_s=0.2)

    check(clause, InstrumentUnderTest(open_driver, (GAS, BLANK), (18, 28, 40), 0.0, silence))


# ---------------------------------------------------------------- and each clause can fail


class Wrapped:
    """A driver that does all that the one inside does."""

    def __init__(self, inner: Spectrometer) -> None:
        self.inner = inner

    @property
    def facts(self) -> Facts:
        return self.inner.facts

    def connect(self, scans_taken: int) -> None:
        self.inner.connect(scans_taken)

    def upcoming(self) -> Inlet | None:
        return self.inner.upcoming()

    def admit(self, inlet: Inlet) -> None:
        self.inner.admit(inlet)

    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:
        return self.inner.measure(mz, dwell_s)

    def close(self) -> None:
        self.inner.close()


class ChangesItsFacts(Wrapped):
    scans = 0

    @property
    def facts(self) -> Facts:
        return replace(self.inner.facts, driver=f"driver {self.scans}")

    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:
        self.scans += 1
        return super().measure(mz, dwell_s)


class HidesThatItSimulates(Wrapped):
    @property
    def facts(self) -> Facts:
        return replace(self.inner.facts, simulated=False)


class CannotConnectTwice(Wrapped):
    connected = False

    def connect(self, scans_taken: int) -> None:
        if self.connected:
            raise ConflictError("x", expected="x", found="x", cause="x", next_step="x")
        self.connected = True
        super().connect(scans_taken)

    def close(self) -> None:
        self.connected = False
        super().close()


class AlwaysGivesThree(Wrapped):
    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:
        reading = super().measure(mz, dwell_s)
        return replace(reading, intensity_a=np.resize(reading.intensity_a, 3))


class MixesUpMasses(Wrapped):
    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:
        reading = super().measure(mz, dwell_s)
        return replace(reading, intensity_a=np.roll(reading.intensity_a, 1))


class TakesMissingForZero(Wrapped):
    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:
        reading = super().measure(mz, dwell_s)
        return replace(reading, intensity_a=np.nan_to_num(reading.intensity_a))


class ConnectsOfItself(Wrapped):
    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:
        try:
            return super().measure(mz, dwell_s)
        except InputError:
            return Reading(np.zeros(len(mz), dtype=np.float32), 0.0)


class GivesNothingBeyondItsRange(Wrapped):
    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:
        inside = tuple(mass for mass in mz if mass <= self.facts.last_mz)
        return super().measure(inside, dwell_s)


class TurnsAnywhere(Wrapped):
    def admit(self, inlet: Inlet) -> None:
        if not self.facts.leads:
            super().admit(inlet)


class TurnsOnlyOnce(Wrapped):
    last: Inlet | None = None

    def admit(self, inlet: Inlet) -> None:
        if inlet == self.last:
            raise ConflictError("x", expected="x", found="x", cause="x", next_step="x")
        self.last = inlet
        super().admit(inlet)


class SticksAtTheSecondPort(Wrapped):
    def admit(self, inlet: Inlet) -> None:
        if inlet == BLANK:
            raise ConflictError("x", expected="x", found="x", cause="x", next_step="x")
        super().admit(inlet)


class ClosesOnce(Wrapped):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise OSError("closed already")
        self.closed = True
        super().close()


class StaysClosed(Wrapped):
    closed = False

    def connect(self, scans_taken: int) -> None:
        if not self.closed:
            super().connect(scans_taken)

    def close(self) -> None:
        self.closed = True
        super().close()


class RunsBackwards(Wrapped):
    scans = 0

    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:
        self.scans += 1
        earlier = np.datetime64("2024-01-01", "ns") - np.timedelta64(self.scans, "s")
        return replace(super().measure(mz, dwell_s), time=earlier)


class BeginsAgain(Wrapped):
    def connect(self, scans_taken: int) -> None:
        super().connect(0)


class NeverEnds(Wrapped):
    def upcoming(self) -> Inlet | None:
        return self.inner.upcoming() or GAS


class TakesSilenceForZeros(Wrapped):
    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:
        try:
            return super().measure(mz, dwell_s)
        except Exception:  # noqa: BLE001 - that is the fault
            return Reading(np.zeros(len(mz), dtype=np.float32), 0.0)


BROKEN: dict[str, tuple[type[Wrapped], str]] = {
    "says_what_it_is": (ChangesItsFacts, "simulated"),
    "labels_what_is_simulated": (HidesThatItSimulates, "simulated"),
    "connects_twice": (CannotConnectTwice, "simulated"),
    "measures_what_was_asked": (AlwaysGivesThree, "simulated"),
    "puts_currents_in_their_place": (MixesUpMasses, "simulated"),
    "leaves_out_what_it_did_not_measure": (TakesMissingForZero, "replay"),
    "refuses_before_connect": (ConnectsOfItself, "replay"),
    "refuses_foreign_masses": (GivesNothingBeyondItsRange, "simulated"),
    "refuses_foreign_ports": (TurnsAnywhere, "replay"),
    "admits_twice": (TurnsOnlyOnce, "simulated"),
    "switches": (SticksAtTheSecondPort, "simulated"),
    "closes_twice": (ClosesOnce, "simulated"),
    "connects_again_after_close": (StaysClosed, "replay"),
    "keeps_the_order_of_time": (RunsBackwards, "replay"),
    "goes_on_where_it_was_left": (BeginsAgain, "replay"),
    "tells_its_end": (NeverEnds, "replay"),
    "silence_is_an_error": (TakesSilenceForZeros, "srs-rga"),
}


def test_every_clause_has_a_broken_driver() -> None:
    assert set(BROKEN) == {clause.__name__ for clause in CLAUSES}


@pytest.mark.parametrize("clause", CLAUSES, ids=names)
def test_a_driver_that_breaks_it_fails(
    clause: Clause, worked_out: SimulatedSpectrometer, emulator: SrsRgaEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightwell.testing.instruments._MANY", 20)
    broken, kind = BROKEN[clause.__name__]

    def silence() -> None:
        emulator.faults.silent = not emulator.faults.silent

    valve = CommandValve(("true",), PORTS)
    sound: dict[str, Callable[[], Spectrometer]] = {
        "simulated": fresh(worked_out),
        "replay": lambda: ReplaySpectrometer(recording(), source="r.csv"),
        "srs-rga": lambda: SrsRgaSpectrometer(emulator.device, valve, timeout_s=0.1),
    }
    rig = InstrumentUnderTest(
        open_driver=lambda: broken(sound[kind]()),
        inlets=(GAS, BLANK),
        silence=silence if kind == "srs-rga" else None,
        unmeasured_mz=30 if kind == "replay" else None,
    )
    with pytest.raises(ClauseBrokenError):
        check(clause, rig)
