"""The conformance suite of the instrument port: what every driver keeps.

A driver joins with one parametrised test::

    @pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
    def test_my_instrument_keeps(clause: Clause) -> None:
        check(clause, InstrumentUnderTest(open_driver=MySpectrometer, inlets=(GAS, BLANK), mz=(18, 28, 40)))

The suite looks at what the driver gives, never at how. Clauses about recordings (``facts.leads``) hold for drivers that
cannot be switched; the clause about silence holds where the rig can make the instrument silent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from nightwell.errors import InputError, NightwellError
from nightwell.wells.acquire.port import Inlet, Reading, Spectrometer

Clause = Callable[["InstrumentUnderTest"], None]

_MANY = 100_000  # more scans than any recording that is tried with
_NO_PORT = 126


class ClauseBrokenError(AssertionError):
    """A driver does not keep a clause of its port."""


@dataclass(frozen=True, slots=True)
class InstrumentUnderTest:
    """A driver and how to try it.

    Parameters
    ----------
    open_driver
        Returns a driver object that knows nothing of those opened before, as another process would have it.
    inlets
        What may be let in; two at least, unless it is a recording.
    mz
        Three m/z at least that it can measure, increasing, and not all of its range.
    dwell_s
        Dwell time to ask for.
    silence
        Makes the instrument stop answering until it is called again; None when that cannot be brought about.
    unmeasured_mz
        An m/z within the range that the instrument has no value for; None when it has all.
    """

    open_driver: Callable[[], Spectrometer]
    inlets: tuple[Inlet, ...] = ()
    mz: tuple[int, ...] = (18, 28, 40)
    dwell_s: float = 0.001
    silence: Callable[[], None] | None = None
    unmeasured_mz: int | None = None
    opened: list[Spectrometer] = field(default_factory=list)

    def open(self, scans_taken: int = 0) -> Spectrometer:
        """Return a driver that was opened and connected."""
        driver = self.open_driver()
        driver.connect(scans_taken)
        return driver

    def scan(self, driver: Spectrometer, mz: tuple[int, ...] | None = None, *, inlet: int = 0) -> Reading:
        """Let in what is to be let in, and take a scan."""
        coming = driver.upcoming() if driver.facts.leads else self.inlets[inlet]
        if coming is None:
            raise ClauseBrokenError("the recording ended before the suite did: give one of at least six scans")
        driver.admit(coming)
        return driver.measure(mz or self.mz, self.dwell_s)


def says_what_it_is(rig: InstrumentUnderTest) -> None:
    """Check that the facts name driver, instrument, provenance and an m/z range, and stay the same."""
    driver = rig.open()
    facts = driver.facts
    for what, text in (
        ("driver", facts.driver),
        ("instrument", facts.instrument.name),
        ("provenance", facts.provenance),
    ):
        _require(bool(text.strip()), f"the facts have no {what}")
    _require(1 <= facts.first_mz <= rig.mz[0], f"first_mz is {facts.first_mz}, but {rig.mz[0]} is to be measured")
    _require(rig.mz[-1] <= facts.last_mz, f"last_mz is {facts.last_mz}, but {rig.mz[-1]} is to be measured")
    rig.scan(driver)
    _equal("the facts after a scan", driver.facts, facts)


def labels_what_is_simulated(rig: InstrumentUnderTest) -> None:
    """Check that the provenance says 'simulated' when the facts do, and the facts when the provenance does."""
    facts = rig.open().facts
    said = "simulated" in facts.provenance.lower() or "emulat" in facts.provenance.lower()
    _require(said == facts.simulated, f"simulated is {facts.simulated}, and the provenance: {facts.provenance}")


def connects_twice(rig: InstrumentUnderTest) -> None:
    """Check that connecting again changes nothing."""
    driver = rig.open()
    facts = driver.facts
    driver.connect(0)
    _equal("the facts after a second connect()", driver.facts, facts)
    _whole(rig.scan(driver), len(rig.mz))


def measures_what_was_asked(rig: InstrumentUnderTest) -> None:
    """Check that a scan has one float32 for each m/z asked for, of a range, of some and of one."""
    driver = rig.open()
    lists = [rig.mz, rig.mz[::2], rig.mz[1:2], tuple(range(rig.mz[0], rig.mz[-1] + 1))]
    for mz in lists:
        _whole(rig.scan(driver, mz), len(mz))


def puts_currents_in_their_place(rig: InstrumentUnderTest) -> None:
    """Check that the current of an m/z is the same asked for alone and among others, within noise."""
    first = rig.scan(rig.open(), rig.mz)
    for column, mass in enumerate(rig.mz):
        _close(rig)
        alone = rig.scan(rig.open(), (mass,)).intensity_a[0]
        among = first.intensity_a[column]
        size = max(abs(float(alone)), abs(float(among)), 1e-12)
        _require(
            abs(float(alone) - float(among)) <= 0.5 * size, f"m/z {mass}: {among:g} A among others, {alone:g} A alone"
        )


def leaves_out_what_it_did_not_measure(rig: InstrumentUnderTest) -> None:
    """Check that an m/z without a value is NaN, never zero."""
    if rig.unmeasured_mz is None:
        return
    value = float(rig.scan(rig.open(), (rig.unmeasured_mz,)).intensity_a[0])
    _require(math.isnan(value), f"m/z {rig.unmeasured_mz} was not measured, and its current is {value:g} A")


def refuses_before_connect(rig: InstrumentUnderTest) -> None:
    """Check that measuring before connecting is a final error."""
    driver = rig.open_driver()
    _refused(lambda: driver.measure(rig.mz, rig.dwell_s), "measure() before connect()")


def refuses_foreign_masses(rig: InstrumentUnderTest) -> None:
    """Check that an m/z out of range is a final error, and no scan."""
    driver = rig.open()
    rig.scan(driver)
    beyond = (*rig.mz, driver.facts.last_mz + 1)
    _refused(lambda: rig.scan(driver, beyond), f"measure() of m/z {beyond[-1]}")


def refuses_foreign_ports(rig: InstrumentUnderTest) -> None:
    """Check that a port that the valve lacks is a final error; a recording refuses all but what comes next."""
    driver = rig.open()
    facts = driver.facts
    coming = driver.upcoming() if facts.leads else rig.inlets[0]
    if coming is None or not (facts.ports or facts.leads):
        return
    _refused(lambda: driver.admit(replace(coming, port=_NO_PORT)), f"admit() of port {_NO_PORT}")


def admits_twice(rig: InstrumentUnderTest) -> None:
    """Check that letting in what is let in already changes nothing."""
    driver = rig.open()
    coming = driver.upcoming() if driver.facts.leads else rig.inlets[0]
    assert coming is not None
    driver.admit(coming)
    driver.admit(coming)
    _whole(driver.measure(rig.mz, rig.dwell_s), len(rig.mz))


def switches(rig: InstrumentUnderTest) -> None:
    """Check that every inlet can be let in, one after the other and back."""
    driver = rig.open()
    if driver.facts.leads:
        return
    for inlet in (*range(len(rig.inlets)), 0):
        _whole(rig.scan(driver, inlet=inlet), len(rig.mz))


def closes_twice(rig: InstrumentUnderTest) -> None:
    """Check that closing is possible before connecting, after it, and again."""
    driver = rig.open_driver()
    driver.close()
    driver.connect(0)
    driver.close()
    driver.close()


def connects_again_after_close(rig: InstrumentUnderTest) -> None:
    """Check that a driver measures again after it was closed and connected, and not in between."""
    driver = rig.open()
    rig.scan(driver)
    driver.close()
    if driver.facts.leads:
        _refused(lambda: driver.measure(rig.mz, rig.dwell_s), "measure() after close()")
    driver.connect(1)
    _whole(rig.scan(driver), len(rig.mz))


def keeps_the_order_of_time(rig: InstrumentUnderTest) -> None:
    """Check that the times of scans, where the instrument has a clock, never decrease; a recording has one."""
    driver = rig.open()
    times = [rig.scan(driver).time for _ in range(4)]
    known = [time for time in times if time is not None]
    _require(not driver.facts.leads or len(known) == len(times), "a scan of a recording has no time")
    _require(all(a <= b for a, b in pairwise(known)), f"times decrease: {known}")


def goes_on_where_it_was_left(rig: InstrumentUnderTest) -> None:
    """Check of a recording that another object goes on after the scans taken: none twice, none left out."""
    driver = rig.open()
    if not driver.facts.leads:
        return
    whole = [rig.scan(driver) for _ in range(4)]
    second = rig.open(2)
    parts = [rig.scan(second) for _ in range(2)]
    for one, other in zip(whole[2:], parts, strict=True):
        same = one.time == other.time and np.array_equal(one.intensity_a, other.intensity_a, equal_nan=True)
        _require(same, f"after two scans comes the one of {other.time}, not that of {one.time}")


def tells_its_end(rig: InstrumentUnderTest) -> None:
    """Check of a recording that upcoming() is None after the last scan, and measuring is a final error."""
    driver = rig.open()
    if not driver.facts.leads:
        return
    for _ in range(_MANY):
        if driver.upcoming() is None:
            break
        rig.scan(driver)
    _require(driver.upcoming() is None, "the recording does not end")
    _refused(lambda: driver.measure(rig.mz, rig.dwell_s), "measure() after the end")


def silence_is_an_error(rig: InstrumentUnderTest) -> None:
    """Check that an instrument that stops answering is a transient error, never a scan of zeros."""
    if rig.silence is None:
        return
    driver = rig.open()
    rig.scan(driver)
    rig.silence()
    try:
        found = driver.measure(rig.mz, rig.dwell_s)
    except NightwellError as error:
        _require(error.transient, f"silence is a final error: {error}")
        return
    except Exception as error:
        raise ClauseBrokenError(f"silence raises {error!r}, no error of nightwell") from error
    finally:
        rig.silence()
    raise ClauseBrokenError(f"a silent instrument gave the scan {found.intensity_a.tolist()}")


CLAUSES: tuple[Clause, ...] = (
    says_what_it_is,
    labels_what_is_simulated,
    connects_twice,
    measures_what_was_asked,
    puts_currents_in_their_place,
    leaves_out_what_it_did_not_measure,
    refuses_before_connect,
    refuses_foreign_masses,
    refuses_foreign_ports,
    admits_twice,
    switches,
    closes_twice,
    connects_again_after_close,
    keeps_the_order_of_time,
    goes_on_where_it_was_left,
    tells_its_end,
    silence_is_an_error,
)


def check(clause: Clause, rig: InstrumentUnderTest) -> None:
    """Check one clause, and close every driver it opened; ClauseBrokenError says what is broken."""
    watched = replace(rig, open_driver=lambda: _remembered(rig.open_driver(), rig.opened))
    try:
        clause(watched)
    except ClauseBrokenError:
        raise
    except Exception as error:
        raise ClauseBrokenError(f"{clause.__doc__} It raised {error!r}") from error
    finally:
        _close(rig)


def _close(rig: InstrumentUnderTest) -> None:
    while rig.opened:
        with suppress(Exception):  # what a broken driver raises here is the business of another clause
            rig.opened.pop().close()


def _remembered(driver: Spectrometer, opened: list[Spectrometer]) -> Spectrometer:
    opened.append(driver)
    return driver


def _require(condition: bool, message: str) -> None:  # noqa: FBT001 - reads like an assertion
    if not condition:
        raise ClauseBrokenError(message)


def _equal(what: str, found: object, expected: object) -> None:
    _require(found == expected, f"{what}: expected {expected!r}, found {found!r}")


def _whole(reading: Reading, size: int) -> None:
    _equal("the shape of a scan", reading.intensity_a.shape, (size,))
    _equal("the dtype of a scan", reading.intensity_a.dtype, np.dtype(np.float32))
    _require(not np.isinf(reading.intensity_a).any(), "a current is infinite")
    _require(not reading.pressure_pa < 0.0, f"the pressure is {reading.pressure_pa}")


def _refused(call: Callable[[], object], what: str) -> None:
    try:
        call()
    except InputError:
        return
    except Exception as error:
        raise ClauseBrokenError(f"{what} raised {error!r} and not InputError") from error
    raise ClauseBrokenError(f"{what} was not refused")
