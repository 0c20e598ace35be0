"""A simulated instrument: the forward model behind a valve, with drift, noise, memory and saturation.

Everything it gives is simulated, and its facts say so. What the inlet breathes comes from a composition against depth;
memory is the carry-over of :mod:`nightwell.wells.acquire.purge`, counted from the moment the valve turned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.acquire.clock import Clock, seconds_of
from nightwell.wells.acquire.port import Facts, Inlet, Reading
from nightwell.wells.acquire.purge import Decay, carry_over
from nightwell.wells.annulus import annulus_of_drilling
from nightwell.wells.composition import Composition
from nightwell.wells.container import make_dataset
from nightwell.wells.contract import DRILLING
from nightwell.wells.lag import register_times
from nightwell.wells.rig import DrillingSeries
from nightwell.wells.simulate import BURST, STANDARD, Simulation
from nightwell.wells.spectra import SpectrumMaker, spectrum_maker
from nightwell.wells.stream_model import amounts_of_stream, blank_of_stream
from nightwell.wells.streams import ScanKind, Stream

Floats = NDArray[np.float64]

_DRIFT_KNOT_S = 6 * 3600.0
_DRIFT_KNOTS = 4096  # 2.8 years; then it begins again
_GAS_STEP_S = 5.0
_GAS_STEPS = 500_000
_LARGEST_PPM = 1e6
_SEED_DRIFT = 7


@dataclass(frozen=True, slots=True)
class _Model:
    """What the inlets breathe, worked out once."""

    amounts: dict[Stream, Floats]
    blanks: dict[Stream, Floats]
    standard: Floats
    maker: SpectrumMaker
    drift: Floats
    gas_s: Floats
    gas_depth_m: Floats


class SimulatedSpectrometer:
    """The forward model as an instrument.

    Parameters
    ----------
    composition
        Amounts in the trap gas against depth.
    drilling
        When the bit was where; the trap gas is lagged by it.
    clock
        What scans take their time from: a simulated clock for a simulation faster than time.
    settings
        Seed, rig, instrument, imperfections, library; the plan's m/z axis is what it can measure.
    memory
        Carry-over from what was let in before; empty: none.
    """

    def __init__(
        self,
        composition: Composition,
        drilling: DrillingSeries,
        clock: Clock,
        *,
        settings: Simulation | None = None,
        memory: tuple[Decay, ...] = (),
    ) -> None:
        self._composition, self._drilling, self._clock = composition, drilling, clock
        self._settings, self._memory = settings or Simulation(), memory
        self._model: _Model | None = None
        self._inlet: Inlet | None = None
        self._turned_s = 0.0
        self._scan_of_visit = 0
        self._left_behind: Floats | None = None

    @property
    def facts(self) -> Facts:
        """What it is; always simulated."""
        settings = self._settings
        return Facts(
            driver="simulated",
            instrument=settings.instrument,
            simulated=True,
            provenance=f"SIMULATED instrument: {self._composition.provenance} {self._drilling.provenance} All spectra, "
            f"blanks and standards are simulated (forward model, seed {settings.seed}, species library "
            f"{settings.library.version}), with drift, noise, saturation and "
            + (f"carry-over of {len(self._memory)} terms." if self._memory else "no carry-over."),
            first_mz=settings.plan.mz[0],
            last_mz=settings.plan.mz[-1],
        )

    def connect(self, scans_taken: int) -> None:  # noqa: ARG002 - the port's word; noise depends on the time alone
        """Work out the forward model (InputError: the m/z axis lacks peaks of a species)."""
        if self._model is not None:
            return
        settings, library = self._settings, self._settings.library
        quiet = replace(
            settings.imperfections, drift=0.0, baseline_drift=0.0
        )  # slow drift must go on from scan to scan
        axis = np.array(settings.plan.mz, dtype=np.float64)
        names = library.names
        gas_s, gas_depth_m = self._lagged()
        self._model = _Model(
            amounts={one: amounts_of_stream(self._composition, one, library, settings.seed) for one in Stream},
            blanks={one: blank_of_stream(one, library) for one in Stream},
            standard=np.array([STANDARD.get(name, 0.0) for name in names]),
            maker=spectrum_maker(library, axis, settings.instrument, quiet, settings.seed),
            drift=np.random.default_rng([settings.seed, _SEED_DRIFT]).standard_normal(_DRIFT_KNOTS),
            gas_s=gas_s,
            gas_depth_m=gas_depth_m,
        )

    def upcoming(self) -> Inlet | None:
        """Return None: a simulation is switched, it does not lead."""
        return None

    def admit(self, inlet: Inlet) -> None:
        """Turn the valve; what was let in before stays behind in part."""
        self._connected()
        if inlet == self._inlet:
            return
        if self._inlet is not None and inlet.port != self._inlet.port:
            self._left_behind = self._breathed(self._inlet)
            self._turned_s = seconds_of(self._clock.now())
        self._inlet, self._scan_of_visit = inlet, 0

    def measure(self, mz: tuple[int, ...], dwell_s: float) -> Reading:
        """Take a scan; the clock's time passes meanwhile."""
        model = self._connected()
        if self._inlet is None:
            raise _unready("a valve that was turned to a port", "none")
        axis = self._settings.plan.mz
        if absent := sorted(set(mz) - set(axis)):
            raise _unready(f"m/z {axis[0]} to {axis[-1]}", f"m/z {', '.join(map(str, absent))}")
        now = self._clock.now()
        ppm = (self._breathed(self._inlet) * self._sensitivity(model, seconds_of(now))).astype(np.float32)
        self._clock.sleep(dwell_s * len(mz))
        self._scan_of_visit += 1
        rng = np.random.default_rng([self._settings.seed, int(now.astype(np.int64))])
        dwell = replace(model.maker.instrument, dwell_s=dwell_s)
        intensity, pressure = replace(model.maker, instrument=dwell).scans(ppm[None, :], np.zeros(1), rng)
        columns = [axis.index(mass) for mass in mz]
        return Reading(intensity[0, columns], float(pressure[0]))

    def close(self) -> None:
        """Forget where the valve stands."""
        self._inlet, self._left_behind = None, None

    def _breathed(self, inlet: Inlet) -> Floats:
        """Amounts at the ion source, what was left behind included: float64 (species), ppm."""
        ppm = self._inside(inlet)
        if self._left_behind is None or not self._memory:
            return ppm
        share = min(carry_over(seconds_of(self._clock.now()) - self._turned_s, self._memory), 1.0)
        mixed: Floats = (1.0 - share) * ppm + share * self._left_behind
        return mixed

    def _inside(self, inlet: Inlet) -> Floats:
        model = self._connected()
        blank = model.blanks[inlet.stream]
        if inlet.kind is ScanKind.BLANK:
            return blank.copy()
        if inlet.kind is ScanKind.STANDARD:
            added = model.standard
        elif inlet.stream is Stream.TRAP_GAS:
            added = self._at(model, inlet.stream, self._gas_depth())
        else:
            added = self._at(model, inlet.stream, inlet.sample_depth_m)
        if inlet.stream is Stream.CUTTINGS_CRUSH and inlet.kind is ScanKind.SAMPLE:
            before = Stream.CUTTINGS_BACKGROUND
            added = added * BURST[min(self._scan_of_visit, len(BURST) - 1)]
            blank = self._at(model, before, inlet.sample_depth_m) + model.blanks[before]
        left = 1.0 - min(float(added.sum()), _LARGEST_PPM) / _LARGEST_PPM
        total: Floats = added + left * blank
        return total

    def _at(self, model: _Model, stream: Stream, depth_m: float | None) -> Floats:
        if depth_m is None or np.isnan(depth_m):
            return np.zeros(model.standard.size)
        known, table = self._composition.depth_m, model.amounts[stream]
        place = float(np.interp(depth_m, known, np.arange(known.size)))
        below = min(int(place), known.size - 2) if known.size > 1 else 0
        share = place - below
        blended: Floats = (1.0 - share) * table[below] + share * table[min(below + 1, known.size - 1)]
        return blended

    def _gas_depth(self) -> float:
        """Depth of the gas that arrives now; NaN before the first does."""
        model = self._connected()
        return float(
            np.interp(seconds_of(self._clock.now()), model.gas_s, model.gas_depth_m, left=np.nan, right=np.nan)
        )

    def _lagged(self) -> tuple[Floats, Floats]:
        """Depth of the gas at the instrument against time: seconds since 1970, m."""
        delay_s = self._settings.rig.gas_line_delay_s
        dataset = make_dataset(DRILLING, self._drilling.values(), {"gas_line_delay_s": delay_s})
        first_s, last_s = seconds_of(self._drilling.time[0]), seconds_of(self._drilling.time[-1])
        seconds = np.arange(first_s, last_s + delay_s, max(_GAS_STEP_S, (last_s - first_s) / _GAS_STEPS))
        times = (seconds * 1e9).astype(np.int64).astype("datetime64[ns]")
        return seconds, register_times(times, dataset, annulus_of_drilling(dataset)).depth_m

    def _sensitivity(self, model: _Model, now_s: float) -> float:
        place = now_s / _DRIFT_KNOT_S
        first = int(place) % _DRIFT_KNOTS
        share = place % 1.0
        level = (1.0 - share) * model.drift[first] + share * model.drift[(first + 1) % _DRIFT_KNOTS]
        return float(1.0 + self._settings.imperfections.drift * level)

    def _connected(self) -> _Model:
        if self._model is None:
            raise _unready("an instrument that was connected", "one that was not")
        return self._model


def _unready(expected: str, found: str) -> InputError:
    return InputError(
        "simulated instrument",
        expected=expected,
        found=found,
        cause="the caller does not follow the order of the port, or the schedule asks too much",
        next_step="connect, admit, then measure within the m/z axis",
    )
