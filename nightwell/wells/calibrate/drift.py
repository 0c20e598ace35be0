r"""Drift of sensitivity, interpolated between the standards that bracket a scan.

A run of standard scans against the mean of all runs gives, for each m/z, a factor. It is written
``ln D_m = gain + tilt * ln(m / 28)``: multiplier and source age together, and the quadrupole's transmission tilts with
mass, so species and fragments that no standard holds drift with the others. Between two standards both parameters are
linear in time, and their variance is that of a random walk tied at both ends (a Brownian bridge, [Rasmussen2006]_):
``v (t - t0)(t1 - t)/(t1 - t0)``, with ``v`` from the steps between standards; beyond the last one it grows as
``v (t - t1)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_REFERENCE_MZ = 28.0
_LEAST_SIGNAL_SIGMAS = 20.0


@dataclass(frozen=True, slots=True)
class Drift:
    """Change of sensitivity at the standards; empty when there is none to follow.

    Parameters
    ----------
    time_s
        Seconds since 1970 of each run of standards; increasing.
    gain, tilt
        ``ln D`` at m/z 28, and its slope over ``ln(m/z)``, against the mean of the runs.
    gain_sigma, tilt_sigma
        One-sigma of both.
    walk
        Variance per second of a random walk, of ``gain`` and of ``tilt``.
    """

    time_s: tuple[float, ...] = ()
    gain: tuple[float, ...] = ()
    gain_sigma: tuple[float, ...] = ()
    tilt: tuple[float, ...] = ()
    tilt_sigma: tuple[float, ...] = ()
    walk: tuple[float, float] = (0.0, 0.0)

    def at(self, time_s: Floats, mz: Floats) -> tuple[Floats, Floats]:
        """Return ``D`` and its relative variance at any time: float64 (scan, mz)."""
        if len(self.time_s) == 0:
            return np.ones((time_s.size, mz.size)), np.zeros((time_s.size, mz.size))
        gain, gain_variance = self._between(time_s, self.gain, self.gain_sigma, self.walk[0])
        tilt, tilt_variance = self._between(time_s, self.tilt, self.tilt_sigma, self.walk[1])
        lever = np.log(mz / _REFERENCE_MZ)
        factor = np.exp(gain[:, None] + tilt[:, None] * lever)
        return factor, gain_variance[:, None] + tilt_variance[:, None] * lever**2

    def _between(
        self, time_s: Floats, value: tuple[float, ...], sigma: tuple[float, ...], walk: float
    ) -> tuple[Floats, Floats]:
        known = np.array(self.time_s)
        middle = np.interp(time_s, known, value)
        after = np.clip(np.searchsorted(known, time_s), 0, known.size - 1)
        before = np.maximum(after - 1, 0)
        span = np.where(after > before, known[after] - known[before], 1.0)
        share = np.clip((time_s - known[before]) / span, 0.0, 1.0)
        square = np.array(sigma) ** 2
        variance = (1.0 - share) ** 2 * square[before] + share**2 * square[after]
        bridge = np.clip((time_s - known[before]) * (known[after] - time_s) / span, 0.0, None)
        outside = np.maximum(known[0] - time_s, 0.0) + np.maximum(time_s - known[-1], 0.0)
        return middle, variance + walk * np.where(outside > 0.0, outside, bridge)


def fit_drift(time_s: Floats, mz: Floats, signal: Floats, variance: Floats) -> Drift:
    """Fit the drift from runs of one standard.

    Parameters
    ----------
    time_s
        float64 (run), seconds since 1970, increasing.
    mz
        float64 (mz).
    signal, variance
        float64 (run, mz): current of the standard, blank removed, A and A2.

    Returns
    -------
    Drift
        Empty with fewer than two runs, or when fewer than two m/z stand out of the noise.
    """
    if time_s.size < 2:  # noqa: PLR2004 - nothing to compare with
        return Drift()
    mean = signal.mean(axis=0)
    with np.errstate(invalid="ignore"):
        strong = np.isfinite(signal).all(axis=0) & (mean > _LEAST_SIGNAL_SIGMAS * np.sqrt(variance.max(axis=0)))
    strong &= (signal > 0.0).all(axis=0)
    if strong.sum() < 2:  # noqa: PLR2004 - gain and tilt
        return Drift()
    lever = np.log(mz[strong] / _REFERENCE_MZ)
    design = np.stack([np.ones(lever.size), lever], axis=1)
    found = []
    for y, noise in zip(
        np.log(signal[:, strong] / mean[strong]), variance[:, strong] / signal[:, strong] ** 2, strict=True
    ):
        weight = 1.0 / noise
        covariance = np.linalg.inv(design.T @ (design * weight[:, None]))
        fitted = covariance @ (design.T @ (weight * y))
        chi2 = float((weight * (y - design @ fitted) ** 2).sum() / max(lever.size - 2, 1))
        found.append((*fitted, *np.sqrt(np.diag(covariance) * max(1.0, chi2))))
    gain, tilt, gain_sigma, tilt_sigma = (np.array(column) for column in zip(*found, strict=True))
    return Drift(
        _numbers(time_s),
        _numbers(gain),
        _numbers(gain_sigma),
        _numbers(tilt),
        _numbers(tilt_sigma),
        (_walk(time_s, gain, gain_sigma), _walk(time_s, tilt, tilt_sigma)),
    )


def _walk(time_s: Floats, value: Floats, sigma: Floats) -> float:
    """Variance per second of a random walk: mean square of the steps, less what their own noise makes."""
    steps = np.diff(value) ** 2 - sigma[1:] ** 2 - sigma[:-1] ** 2
    return max(float(steps.sum() / np.diff(time_s).sum()), 0.0)


def _numbers(array: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in array)
