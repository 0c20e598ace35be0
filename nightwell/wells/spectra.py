"""Amounts to ion currents: the forward model of the instrument, with everything that makes a spectrum look real."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightwell.wells.instrument import Instrument
from nightwell.wells.species import SpeciesLibrary

ELEMENTARY_CHARGE_C = 1.602176634e-19

_BLOCK_ROWS = 8192


def simulated_instrument() -> Instrument:
    """Return the instrument of the simulation: a portable quadrupole with a multiplier, about 120 counts per ppm."""
    return Instrument(
        name="simulated quadrupole, m/z 1-120, secondary electron multiplier",
        nitrogen_sensitivity_a_per_ppm=1e-12,
        transmission_exponent=0.5,
        dwell_s=0.2,
        ion_charge_c=1e4 * ELEMENTARY_CHARGE_C,
        excess_noise=1.3,
        noise_floor_a=2e-14,
        full_scale_a=1e-5,
    )


@dataclass(frozen=True, slots=True)
class Imperfections:
    """What keeps a spectrum from being ideal.

    Parameters
    ----------
    baseline_a
        Current without ions, at m/z 1; falls by a third towards high m/z and drifts by ``baseline_drift``, relative.
    drift, flicker
        One-sigma of the slow (hours) and of the scan-to-scan variation of sensitivity, relative; common to all m/z.
    pattern_error
        One-sigma error of the fragment patterns against the library, relative, the same for the whole well.
    sensitivity_error
        One-sigma error of the sensitivities but nitrogen's, relative, the same for the whole well.
    tilt_drift
        One-sigma of the slow variation of an exponent ``w`` by which currents tilt as ``(m/z / 28) ** w``.
    dead_time_s
        Of the detector: ``m = n / (1 + n * tau)``.
    mass_shift
        By how much the readings stand above their m/z, on Gaussian peaks of 0.6 at half height.
    memory
        ``(species, a, tau_s)``: share ``a * exp(-t / tau_s)`` of the scan before that still stands in the line.
    """

    baseline_a: float = 8e-13
    baseline_drift: float = 0.05
    drift: float = 0.02
    flicker: float = 0.003
    pattern_error: float = 0.0
    sensitivity_error: float = 0.0
    tilt_drift: float = 0.0
    dead_time_s: float = 0.0
    mass_shift: float = 0.0
    memory: tuple[tuple[str, float, float], ...] = ()

    @property
    def label(self) -> str:
        """The planted faults in words, for the provenance; empty when there is none of them."""
        planted = {
            "pattern error": self.pattern_error,
            "sensitivity error": self.sensitivity_error,
            "drift that tilts with m/z": self.tilt_drift,
            "dead time [s]": self.dead_time_s,
            "shift of the m/z scale": self.mass_shift,
        }
        named = [f"{name} {value:g}" for name, value in planted.items() if value]
        named += [f"memory of {name} (a {a:g}, tau {tau_s:g} s)" for name, a, tau_s in self.memory]
        return f" Planted faults: {', '.join(named)}." if named else ""


@dataclass(frozen=True, slots=True)
class SpectrumMaker:
    """Makes scans of one well: one instrument, one set of (im)perfect patterns."""

    matrix: NDArray[np.float32]
    instrument: Instrument
    mz: NDArray[np.float64]
    imperfections: Imperfections

    def scans(
        self, ppm: NDArray[np.float32], time_s: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return ion currents and analyser pressures.

        Parameters
        ----------
        ppm
            float32 (scan, species): what the instrument breathes, blank included.
        time_s
            float64 (scan), increasing.
        rng
            Source of the noise.

        Returns
        -------
        intensity
            float32 (scan, mz), A. Never above full scale; may be slightly negative where there is only noise.
        pressure
            float64 (scan), Pa.
        """
        faults, facts = self.imperfections, self.instrument
        sensitivity = 1.0 + faults.drift * _wander(rng, time_s, 6 * 3600.0)
        sensitivity *= 1.0 + faults.flicker * rng.standard_normal(time_s.size)
        baseline = faults.baseline_a * (1.0 + faults.baseline_drift * _wander(rng, time_s, 3600.0))
        slope = (1.0 - (self.mz - 1.0) / (3.0 * max(float(self.mz[-1]), 2.0))).astype(np.float32)
        counting = (facts.excess_noise or 1.0) * (facts.ion_charge_c or 0.0) / (facts.dwell_s or 1.0)
        floor = (facts.noise_floor_a or 0.0) ** 2
        intensity = np.empty((time_s.size, self.mz.size), dtype=np.float32)
        # Faults that are planted draw their own numbers: without them a seed gives what it always gave.
        tilt = faults.tilt_drift * _wander(rng.spawn(1)[0], time_s, 6 * 3600.0) if faults.tilt_drift else None
        shift = _peak_shape(self.mz, faults.mass_shift) if faults.mass_shift else None
        for start in range(0, time_s.size, _BLOCK_ROWS):  # blocks keep the noise out of the memory budget
            rows = slice(start, start + _BLOCK_ROWS)
            current = ppm[rows] @ self.matrix.T
            current *= sensitivity[rows, None].astype(np.float32)
            if tilt is not None:
                current *= ((self.mz / 28.0) ** tilt[rows, None]).astype(np.float32)
            noise = rng.standard_normal(current.shape, dtype=np.float32)
            noise *= np.sqrt(np.float32(counting) * current + np.float32(floor))
            current += noise
            if faults.dead_time_s:
                loss = np.float32(faults.dead_time_s / (facts.ion_charge_c or np.inf))
                current /= 1.0 + loss * np.maximum(current, np.float32(0.0))
            if shift is not None:
                current = current @ shift
            current += baseline[rows, None].astype(np.float32) * slope
            np.minimum(current, np.float32(facts.full_scale_a or np.inf), out=intensity[rows])
        pressure = 1e-3 * sensitivity * (1.0 + 1e-3 * rng.standard_normal(time_s.size))
        return intensity, pressure


def spectrum_maker(
    library: SpeciesLibrary,
    mz: NDArray[np.float64],
    instrument: Instrument,
    imperfections: Imperfections,
    seed: int,
) -> SpectrumMaker:
    """Return the maker of a well's scans.

    Parameters
    ----------
    library, mz
        Species and m/z axis.
    instrument
        Its facts; ``nitrogen_sensitivity_a_per_ppm`` must be known.
    imperfections, seed
        The seed fixes the pattern errors.

    Raises
    ------
    InputError
        The m/z axis lacks peaks of a species.
    """
    matrix = library.design_matrix(mz, transmission_exponent=instrument.transmission_exponent or 0.0)
    if imperfections.pattern_error > 0.0:
        rng = np.random.default_rng([seed, 99])
        total = matrix.sum(axis=0)
        matrix = matrix * np.exp(imperfections.pattern_error * rng.standard_normal(matrix.shape))
        matrix *= total / matrix.sum(axis=0)
    if imperfections.sensitivity_error > 0.0:
        rng = np.random.default_rng([seed, 98])
        error = imperfections.sensitivity_error * rng.standard_normal(len(library.species))
        matrix = matrix * np.where(np.array(library.names) == "nitrogen", 1.0, np.exp(error))
    scale = instrument.nitrogen_sensitivity_a_per_ppm or 1.0
    return SpectrumMaker((scale * matrix).astype(np.float32), instrument, mz, imperfections)


def remember(ppm: NDArray[np.float32], time_s: NDArray[np.float64], memory: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return amounts with what the scans before left: ``y_i = (1 - mu) x_i + mu y_(i-1)``.

    Parameters
    ----------
    ppm
        float32 (scan, species), in the order of time.
    time_s
        float64 (scan).
    memory
        float64 (species, 2): ``a`` and ``tau_s`` of ``mu = a exp(-t / tau_s)``; ``a`` 0 for none.
    """
    kept = np.flatnonzero(memory[:, 0] > 0.0)
    seen = ppm.copy()
    share = memory[kept, 0] * np.exp(-np.diff(time_s)[:, None] / memory[kept, 1])
    before = ppm[0, kept].astype(np.float64)
    for row in range(1, time_s.size):
        before = (1.0 - share[row - 1]) * ppm[row, kept] + share[row - 1] * before
        seen[row, kept] = before
    return seen


def _peak_shape(mz: NDArray[np.float64], shift: float) -> NDArray[np.float32]:
    """Return what a reading ``shift`` above each m/z sees of the peaks: float32 (peak, reading)."""
    width = 0.6 / (2.0 * np.sqrt(2.0 * np.log(2.0)))
    distance = mz[None, :] + shift - mz[:, None]
    shape: NDArray[np.float32] = np.exp(-0.5 * (distance / width) ** 2).astype(np.float32)
    return shape


def _wander(rng: np.random.Generator, time_s: NDArray[np.float64], scale_s: float) -> NDArray[np.float64]:
    """Slow random variation of standard deviation near one, linear between knots ``scale_s`` apart."""
    if time_s.size == 0:
        return np.zeros(0)
    knots = int((time_s[-1] - time_s[0]) / scale_s) + 2
    at = time_s[0] + scale_s * np.arange(knots)
    return np.interp(time_s, at, rng.standard_normal(knots))
