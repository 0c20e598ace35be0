"""The port that every instrument driver implements: an inlet valve and a mass spectrometer behind it.

Rules for every driver:

- One caller at a time. Nothing is switched or measured before :meth:`Spectrometer.connect`.
- A current that was not measured is NaN, never zero; a scan that could not be read whole is an error, never a scan.
- A driver only classifies errors: :class:`~nightwell.errors.UnreachableError` when trying again may succeed, any other
  :class:`~nightwell.errors.NightwellError` when a person must act. It does not retry; the engine does.
- A driver that simulates says so in its facts, always.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nightwell.wells.instrument import Instrument
from nightwell.wells.streams import ScanKind, Stream


@dataclass(frozen=True, slots=True)
class Facts:
    """What a driver says of itself and of its instrument; the same for the life of the driver object.

    Parameters
    ----------
    driver
        Name of the driver.
    instrument
        Travels with the scans.
    simulated
        Whether any part of what it gives is not measured.
    provenance
        Where the scans come from, in words.
    first_mz, last_mz
        m/z that it can measure.
    ports
        Valve ports that it can let in; empty: any.
    leads
        True for a recording: it cannot be switched, and says itself what comes next (:meth:`Spectrometer.upcoming`).
    """

    driver: str
    instrument: Instrument
    simulated: bool
    provenance: str
    first_mz: int
    last_mz: int
    ports: frozenset[int] = frozenset()
    leads: bool = False


@dataclass(frozen=True, slots=True)
class Inlet:
    """What is let in. A real valve looks at the port only; a simulation at all of it."""

    port: int
    stream: Stream
    kind: ScanKind
    sample_depth_m: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One scan.

    Parameters
    ----------
    intensity_a
        float32 (mz), in the order asked for; NaN where not measured.
    pressure_pa
        Pressure in the analyser; NaN when unknown.
    time
        When the scan began, by the instrument's own clock; None when it has none, and the computer's counts.
    """

    intensity_a: NDArray[np.float32]
    pressure_pa: float
    time: np.datetime64 | None = None


class Spectrometer(Protocol):
    """An instrument as the engine uses it."""

    @property
    def facts(self) -> Facts:
        """What it is. Idempotent, does not block; complete only after :meth:`connect`."""

    def connect(self, scans_taken: int) -> None:
        """Make ready to measure, after so many scans of the well were taken in earlier runs.

        Idempotent; blocks until the instrument answers. UnreachableError: no answer. Final: InputError (it is another
        kind of instrument, a missing extra), ConflictError (a fault that a person must clear).
        """

    def upcoming(self) -> Inlet | None:
        """Return what a recording gives next, None at its end. Idempotent. Only asked when ``facts.leads``."""

    def admit(self, inlet: Inlet) -> None:
        """Turn the inlet valve. Idempotent: turning to where it stands does nothing. Blocks until it stands there.

        UnreachableError: no answer, the valve's place is unknown. Final: InputError (no such port).
        """

    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:
        """Take one scan of what is let in. Not idempotent; blocks for the scan's time.

        UnreachableError: no answer, or a scan cut short. Final: InputError (an m/z out of range, not connected),
        ConflictError (filament, vacuum, multiplier: a person must act).
        """

    def close(self) -> None:
        """Let go of the instrument. Idempotent, also before connect; never raises for what is already gone."""
