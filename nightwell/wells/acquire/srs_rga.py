"""Stanford Research Systems RGA100, 200 and 300, through the maker's package ``srsinst.rga`` (extra ``srs-rga``).

The head speaks RS-232 at 28,800 baud; currents come as four bytes, little-endian, two's complement, in 1e-16 A
([SrsRgaManual], chapter "Programming the RGA Head"). A range of m/z is a histogram scan (``HS1``), a list of single
masses is read mass by mass (``MR``). Both are repeated until the dwell time has passed, and averaged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nightwell.errors import ConflictError, InputError, NightwellError, UnreachableError
from nightwell.wells.acquire.port import Facts, Inlet, Reading
from nightwell.wells.acquire.valve import Valve
from nightwell.wells.instrument import Instrument

T = TypeVar("T")

CURRENT_UNIT_A = 1e-16
PASCAL_PER_TORR = 101_325.0 / 760.0

_BAUD = 28_800
_LONG_BYTES = 4
_FULL_SCALE_A = (2**31 - 1) * CURRENT_UNIT_A  # the largest number that the head can send
_FIRST_MODEL_MZ, _LAST_MODEL_MZ = 1, 300
_LEAST_EMISSION_MA = 0.02
_COMMUNICATION_ERROR = 0x01
_HARMLESS = frozenset({"FL0", "NE"})  # one of two filaments left; no error


class SrsRgaSpectrometer:
    """A Stanford Research Systems RGA behind an inlet valve.

    Parameters
    ----------
    device
        Serial device: ``/dev/ttyUSB0``.
    valve
        What chooses the stream; the RGA has no valve of its own.
    multiplier
        Whether to use the electron multiplier, at the voltage stored in the head. Total pressure is then unknown.
    emission_ma
        Emission current of the filament, which is turned on when it is off [mA].
    speed
        ``NF``, 0 (slow, least noise) to 7 (fast).
    timeout_s
        How long the head may be silent.
    """

    def __init__(
        self,
        device: str,
        valve: Valve,
        *,
        multiplier: bool = False,
        emission_ma: float = 1.0,
        speed: int = 4,
        timeout_s: float = 10.0,
    ) -> None:
        self._device, self._valve, self._multiplier = device, valve, multiplier
        self._emission_ma, self._speed, self._timeout_s = emission_ma, speed, timeout_s
        self._rga: Any = None
        self._model, self._serial, self._last_mz = "SRS RGA", "unknown", _LAST_MODEL_MZ

    @property
    def facts(self) -> Facts:
        """What it is; model, serial number and m/z range once it was connected."""
        detector = "electron multiplier" if self._multiplier else "Faraday cup"
        name = f"Stanford Research Systems {self._model}, serial number {self._serial}, {detector}"
        return Facts(
            driver="srs-rga",
            instrument=Instrument(name, full_scale_a=_FULL_SCALE_A),
            simulated=False,
            provenance=f"Spectra measured by {name}, NF {self._speed}, emission {self._emission_ma:g} mA.",
            first_mz=_FIRST_MODEL_MZ,
            last_mz=self._last_mz,
            ports=self._valve.ports,
        )

    def connect(self, scans_taken: int) -> None:  # noqa: ARG002 - the port's word; the head keeps no scans
        """Open the serial line, check who answers, turn the filament on."""
        if self._rga is not None:
            return
        self._check_own_settings()
        rga = _package()()
        try:
            self._asked(lambda: rga.connect("serial", self._device, _BAUD, True), rga)  # noqa: FBT003 - RTS/CTS
            rga.comm.set_timeout(self._timeout_s)
            rga.scan.scan_read = None  # nothing may be read but by the reader below
            model, serial, _ = self._asked(rga.check_id, rga)
            if model is None:
                raise self._silent("no answer to ID?")  # noqa: TRY301 - the line is closed below
            self._model, self._serial, self._last_mz = str(model), str(serial), int(rga.get_max_mass())
            rga.scan.scan_read = lambda: _whole_long(rga)
            self._set_up(rga)
        except BaseException:
            _let_go(rga)
            raise
        self._rga = rga

    def upcoming(self) -> Inlet | None:
        """Return None: it is switched, it does not lead."""
        return None

    def admit(self, inlet: Inlet) -> None:
        """Turn the valve."""
        self._connected()
        self._valve.turn(inlet.port)

    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:
        """Take one scan."""
        rga = self._connected()
        if mz[0] < _FIRST_MODEL_MZ or mz[-1] > self._last_mz:
            raise self._refuse(
                f"m/z {_FIRST_MODEL_MZ} to {self._last_mz}", f"m/z {mz[0]} to {mz[-1]}", "the schedule asks for more"
            )
        is_range = len(mz) > 1 and mz[-1] - mz[0] + 1 == len(mz)
        read = self._histogram if is_range else self._single_masses
        currents = self._asked(lambda: read(rga, mz, dwell_s), rga)
        pressure_pa = math.nan if self._multiplier else self._asked(lambda: _pressure_pa(rga), rga)
        self._check_errors(rga)
        return Reading(currents.astype(np.float32), pressure_pa)

    def close(self) -> None:
        """Let the rods rest and close the line; filament and multiplier stay as they are, to stay warm."""
        if self._rga is not None:
            _let_go(self._rga)
            self._rga = None

    def _set_up(self, rga: Any) -> None:
        self._asked(lambda: setattr(rga.scan, "speed", self._speed), rga)
        if self._asked(lambda: float(rga.ionizer.emission_current), rga) < _LEAST_EMISSION_MA:
            self._asked(lambda: rga.filament.turn_on(self._emission_ma), rga)
        if self._multiplier:
            self._asked(rga.cem.turn_on, rga)
        else:
            self._asked(rga.cem.turn_off, rga)
        self._check_errors(rga)

    def _histogram(self, rga: Any, mz: tuple[int, ...], dwell_s: float) -> NDArray[np.float64]:
        if (rga.scan.initial_mass, rga.scan.final_mass) != (mz[0], mz[-1]):
            # The final mass first, upwards: the head refuses an initial mass above it.
            rga.scan.final_mass = self._last_mz
            rga.scan.initial_mass, rga.scan.final_mass = mz[0], mz[-1]
        total, passes, began_s = np.zeros(len(mz)), 0, time.monotonic()
        while passes == 0 or time.monotonic() - began_s < dwell_s * len(mz):
            points = np.asarray(rga.scan.get_histogram_scan(), dtype=np.float64)
            if points.shape != total.shape:
                raise _ShortError(f"{points.size} points instead of {len(mz)}")
            total += points
            passes += 1
        return total / passes * CURRENT_UNIT_A

    def _single_masses(self, rga: Any, mz: tuple[int, ...], dwell_s: float) -> NDArray[np.float64]:
        found = np.zeros(len(mz))
        for column, mass in enumerate(mz):
            total, passes, began_s = 0.0, 0, time.monotonic()
            while passes == 0 or time.monotonic() - began_s < dwell_s:
                total += float(rga.scan.get_single_mass_scan(mass))
                passes += 1
            found[column] = total / passes
        return found * CURRENT_UNIT_A

    def _check_errors(self, rga: Any) -> None:
        status = self._asked(lambda: int(rga.status.error_status), rga)
        if status == 0:
            return
        bits = self._asked(rga.status.get_errors, rga)
        if not set(filter(None, bits.split(":"))) - _HARMLESS:
            return
        text = rga.status.get_error_text(bits)
        if status == _COMMUNICATION_ERROR:
            raise self._silent(text)
        raise ConflictError(
            f"{self._model} on {self._device}",
            expected="no error of the instrument",
            found=text,
            cause="the vacuum, the filament, the multiplier or the electronics of the head have failed",
            next_step="mend what it names, then start again: acquisition goes on from the last scan",
        )

    def _check_own_settings(self) -> None:
        if not 0 <= self._speed <= 7:  # noqa: PLR2004 - NF of the manual
            raise self._refuse("speed (NF) from 0 to 7", str(self._speed), "a mistyped setting")
        if not _LEAST_EMISSION_MA <= self._emission_ma <= 3.5:  # noqa: PLR2004 - FL of the manual
            raise self._refuse("emission from 0.02 to 3.5 mA", f"{self._emission_ma:g} mA", "a mistyped setting")

    def _asked(self, call: Callable[[], T], rga: Any) -> T:
        """Call the maker's package; whatever a dead line makes of it is one kind of error."""
        inst = _exceptions()
        try:
            return call()
        except NightwellError:
            raise
        except inst.InstIdError as error:
            raise self._refuse("an SRS RGA", str(error), "another instrument is on this line") from error
        except (inst.InstException, OSError, _ShortError, ValueError, IndexError) as error:
            del rga
            raise self._silent(str(error) or type(error).__name__) from error

    def _silent(self, found: str) -> UnreachableError:
        return UnreachableError(
            f"{self._model} on {self._device}",
            expected=f"a whole answer within {self._timeout_s:g} s",
            found=found,
            cause="the head is off, its cable is out, or another program holds the line",
            next_step="check power, cable and device name",
        )

    def _refuse(self, expected: str, found: str, cause: str) -> InputError:
        return InputError(
            f"{self._model} on {self._device}",
            expected=expected,
            found=found,
            cause=cause,
            next_step="name the device of the RGA, and a schedule that it can run",
        )

    def _connected(self) -> Any:
        if self._rga is None:
            raise self._refuse("an instrument that was connected", "one that was not", "the order was not kept")
        return self._rga


class _ShortError(Exception):
    """An answer was cut short; the maker's package would take what is missing for zeros."""


def _package() -> Any:
    try:
        from srsinst.rga.instruments.rga100.rga import RGA100  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise InputError(
            "driver srs-rga",
            expected="the package srsinst.rga",
            found=f"no module '{error.name}'",
            cause="the extra was not installed",
            next_step='install it: pip install "nightwell[srs-rga]"',
        ) from error
    return RGA100


def _exceptions() -> Any:
    import srsgui.inst.exceptions as exceptions  # noqa: PLC0415, PLR0402 - of the extra

    return exceptions


def _whole_long(rga: Any) -> int:
    data = rga.comm._read_binary(_LONG_BYTES)  # noqa: SLF001 - the package has no reader that tells a short answer
    if len(data) < _LONG_BYTES:
        raise _ShortError(f"{len(data)} bytes of a current of {_LONG_BYTES}")
    return int.from_bytes(data, "little", signed=True)


def _pressure_pa(rga: Any) -> float:
    """Total pressure from the ion current: P = I / ST, ST in mA/Torr; NaN where the head measures none."""
    with rga.comm.get_lock():
        rga.comm._send("TP?")  # noqa: SLF001 - as above
        current_a = _whole_long(rga) * CURRENT_UNIT_A
    sensitivity_a_per_torr = float(rga.pressure.total_pressure_sensitivity) * 1e-3
    if current_a <= 0.0 or sensitivity_a_per_torr <= 0.0:
        return math.nan
    return current_a / sensitivity_a_per_torr * PASCAL_PER_TORR


def _let_go(rga: Any) -> None:
    for call in (lambda: rga.comm.send("MR0"), rga.disconnect):
        with suppress(Exception):  # a line that is gone has nothing to let go of
            call()
