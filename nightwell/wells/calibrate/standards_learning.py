"""Drift, sensitivities and patterns from the scans of standards, once dead time and carry-over are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.calibrate.calibration import Calibration, Fragment, Recovery
from nightwell.wells.calibrate.drift import Drift, fit_drift
from nightwell.wells.calibrate.fragments import Observation, Responses, learn_responses
from nightwell.wells.calibrate.standards import Balance, Standard, StandardsDocument, air_standard
from nightwell.wells.clean_scans import clean_scans
from nightwell.wells.corrections import Corrections, CubeSettings, learn, scaled
from nightwell.wells.instrument import Instrument
from nightwell.wells.nnls import solve
from nightwell.wells.raw_scans import RawScans
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.streams import ScanKind

Floats = NDArray[np.float64]

_PATTERN_ERROR = 0.02  # of the weights with which a standard is read by the library as it is


@dataclass(frozen=True, slots=True)
class _Runs:
    """Runs of one standard: seconds since 1970, and float64 (run, mz) mean current of the gases and its variance."""

    standard: Standard
    time_s: Floats
    signal: Floats
    variance: Floats
    steadied: bool


def learn_standards(
    found: Calibration,
    scans: RawScans,
    instrument: Instrument,
    library: SpeciesLibrary,
    document: StandardsDocument,
    cube: CubeSettings,
    *,
    learn_from_air: bool,
) -> Calibration:
    """Complete a calibration with what the standards teach.

    Parameters
    ----------
    found
        With dead time and carry-over.
    scans, instrument, library, document, cube
        What was measured, with what, and what the standards are.
    learn_from_air
        Whether blanks that breathe air are standards of air.

    Raises
    ------
    InputError
        A standard has no scans or no blanks, or the library or the axis does not know one of its gases.
    """
    covered, _ = library.covered(scans.mz)
    correction = learn(scans, replace(cube, calibration=found), instrument)
    certified = [_runs(one, scans, correction) for one in document.standard]
    for runs in certified:
        _check_gases(runs.standard, covered)
    drifts = {steadied: _drift(scans.mz, certified, steadied=steadied) for steadied in (True, False)}
    air = [_runs(air_standard(stream), scans, correction) for stream in sorted(correction.steadied)[:1]]
    used = [*certified, *(air if learn_from_air else [])]
    notes = found.notes + _notes(int((scans.kind == ScanKind.STANDARD.code).sum()), document, drifts, air)
    found = replace(found, steadied_drift=drifts[True], raw_drift=drifts[False], notes=notes)
    if not used:
        return found
    design, scale = _design(covered, scans, instrument, used)
    if scale is None:
        return replace(found, notes=(*notes, "no certified amount: sensitivities stay relative"))
    observations = [_observation(one, scans, covered, found) for one in used]
    responses = learn_responses(design, np.array([one.sensitivity_error for one in covered.species]), observations)
    return replace(
        found,
        nitrogen_sensitivity_a_per_ppm=scale,
        fragments=_fragments(covered, scans, design, responses, scale),
        recoveries=tuple(one for runs in certified for one in _recoveries(runs, covered, design)),
    )


def _runs(standard: Standard, scans: RawScans, correction: Corrections) -> _Runs:
    """Read all runs of a standard, corrected; what the stream's blank adds is taken off where it is the balance."""
    chosen = (scans.stream == standard.stream.code) & (scans.kind == standard.kind.code)
    if standard.valve is not None:
        chosen &= scans.dataset["valve"].to_numpy() == standard.valve
    rows = np.flatnonzero(chosen)
    if rows.size == 0:
        raise _no_scans(standard)
    blank = standard.balance is Balance.BLANK
    if blank and standard.stream not in correction.blanks:
        raise _no_blanks(standard)
    steadied = standard.stream in correction.steadied and (blank or standard.kind is ScanKind.BLANK)
    current, variance = [], []
    # The calibration in hand has no drift yet, so what is read here still drifts.
    for cleaned in clean_scans(scans, correction.columns, correction.noise, correction.calibration, 8192):
        mine = np.flatnonzero(chosen[cleaned.block])
        at = mine + cleaned.block.start
        # A standard without air in a stream that has some would be scaled by argon that it does not hold.
        own_gain = standard.stream not in correction.steadied or steadied
        gain = correction.gain[at] if own_gain else np.ones(at.size)
        gain_variance = correction.gain_variance[at] if own_gain else np.zeros(at.size)
        one, own, shared = scaled(cleaned.rows(mine), gain, gain_variance)
        current.append(one)
        variance.append(own + shared)
    signal, noise = np.concatenate(current), np.concatenate(variance)
    if blank:
        air, air_variance = correction.blanks[standard.stream].at(scans.time_s[rows])
        left = 1.0 - standard.share
        # On the argon of the blanks the air is all there, and the gases stand 1 / left too high.
        signal = (signal - air) * left if steadied else signal - air * left
        noise = noise * (left**2 if steadied else 1.0) + air_variance * left**2
    # A run is what stands together among the scans of its stream.
    place = np.cumsum(scans.stream == standard.stream.code)[rows]
    starts = np.flatnonzero(np.concatenate(([True], np.diff(place) != 1)))
    size = np.diff(np.append(starts, rows.size))[:, None]
    mean = np.add.reduceat(signal, starts, axis=0) / size
    time_s = scans.start_s + np.add.reduceat(scans.time_s[rows], starts) / size[:, 0]
    return _Runs(standard, time_s, mean, np.add.reduceat(noise, starts, axis=0) / size**2, steadied)


def _drift(mz: Floats, certified: Sequence[_Runs], *, steadied: bool) -> Drift:
    """Return the drift that the standard with the most runs shows."""
    mine = [one for one in certified if one.steadied is steadied]
    if not mine:
        return Drift()
    most = max(mine, key=lambda one: one.time_s.size)
    return fit_drift(most.time_s, mz, most.signal, most.variance)


def _mean(runs: _Runs, scans: RawScans, found: Calibration) -> tuple[Floats, Floats]:
    """Return the mean current of a standard without drift, and its variance: float64 (mz)."""
    drift = found.steadied_drift if runs.steadied else found.raw_drift
    factor, uncertain = drift.at(runs.time_s, scans.mz)
    signal, variance = runs.signal / factor, runs.variance / factor**2
    mean = signal.mean(axis=0)
    size = signal.shape[0]
    # Runs that scatter more than their noise widen the error of their mean.
    scatter = signal.var(axis=0, ddof=1) / size if size > 2 else 0.0  # noqa: PLR2004 - of two, a variance is luck
    # What drift did between standards all runs of a stretch share: it does not average out.
    return mean, np.maximum(variance.sum(axis=0) / size**2, scatter) + mean**2 * uncertain.mean(axis=0)


def _observation(runs: _Runs, scans: RawScans, library: SpeciesLibrary, found: Calibration) -> Observation:
    signal, variance = _mean(runs, scans, found)
    amounts, sigma = np.zeros(len(library.species)), np.zeros(len(library.species))
    for gas in runs.standard.gas:
        if gas.species in library.names:
            amounts[library.index(gas.species)] = np.nan if gas.ppm is None else gas.ppm
            sigma[library.index(gas.species)] = gas.sigma_ppm
    return Observation(signal, variance, amounts, sigma)


def _design(
    library: SpeciesLibrary, scans: RawScans, instrument: Instrument, used: Sequence[_Runs]
) -> tuple[Floats, float | None]:
    """Return the library's responses, A/ppm, and the sensitivity of nitrogen that they stand on."""
    transmission = (28.0 / scans.mz) ** (instrument.transmission_exponent or 0.0)
    design = library.pattern_matrix(scans.mz) * library.sensitivities * transmission[:, None]
    scale = instrument.nitrogen_sensitivity_a_per_ppm
    if scale is None:
        ratios = [
            one.signal.mean(axis=0).sum() / (design @ amounts).sum()
            for one in used
            if (amounts := np.nan_to_num(_observation(one, scans, library, _EMPTY).amounts)).any()
        ]
        scale = float(np.median(ratios)) if ratios else None
    return design * (scale or 1.0), scale


_EMPTY = Calibration("", "", simulated=False, library_version="")


def _recoveries(runs: _Runs, library: SpeciesLibrary, design: Floats) -> list[Recovery]:
    """Read each run by the library as it is: found over certified."""
    known = {gas.species: gas for gas in runs.standard.gas if gas.ppm is not None and gas.species in library.names}
    variance = runs.variance + (_PATTERN_ERROR * runs.signal) ** 2
    # Where the blank was taken off, what is left of air may be negative.
    signed = np.array([name in ("nitrogen", "oxygen", "argon", "water") for name in library.names])
    found = solve(design, runs.signal, variance, signed=signed)
    return [
        Recovery(
            float(time_s),
            str(runs.standard.stream),
            name,
            float(found.value[run, library.index(name)] / (gas.ppm or np.nan)),
            float(found.sigma[run, library.index(name)] / (gas.ppm or np.nan)),
        )
        for run, time_s in enumerate(runs.time_s)
        for name, gas in known.items()
    ]


def _fragments(
    library: SpeciesLibrary, scans: RawScans, design: Floats, learned: Responses, scale: float
) -> tuple[Fragment, ...]:
    """List the responses of all species that a standard held; those not learned follow their species, unlabelled."""
    touched = learned.sigma > 0.0
    return tuple(
        Fragment(
            library.names[column],
            round(float(scans.mz[row])),
            float(learned.response[row, column] / scale),
            float(learned.sigma[row, column] / scale),
            float(design[row, column] / scale),
        )
        for column in np.flatnonzero(touched.any(axis=0))
        if learned.learned[:, column].any()
        for row in np.flatnonzero(touched[:, column])
    )


def _notes(
    standard_scans: int, document: StandardsDocument, drifts: dict[bool, Drift], air: Sequence[_Runs]
) -> tuple[str, ...]:
    notes = []
    if not document.standard:
        notes.append(f"no standards are named; {standard_scans} scans of standards are not used")
    elif not any(drift.time_s for drift in drifts.values()):
        notes.append("fewer than two runs of standards: drift cannot be followed")
    if not air:
        notes.append("no stream has an internal standard: air teaches nothing")
    return tuple(notes)


def _check_gases(standard: Standard, library: SpeciesLibrary) -> None:
    unknown = [gas.species for gas in standard.gas if gas.species not in library.names]
    if unknown:
        raise InputError(
            f"standard '{standard.name}'",
            expected="gases that the library knows and the m/z axis shows",
            found=f"{', '.join(unknown)}",
            cause="the name is misspelt, or the scan list stops short of its peaks",
            next_step=f"use a name of the library: {', '.join(library.names)}",
        )


def _no_scans(standard: Standard) -> InputError:
    valve = "" if standard.valve is None else f" on valve {standard.valve}"
    return InputError(
        f"standard '{standard.name}'",
        expected=f"scans of kind {standard.kind} of stream {standard.stream}{valve}",
        found="none",
        cause="the schedule never switched to it, or its scans were imported as another kind",
        next_step="correct the document of standards, or the kinds of the scans",
    )


def _no_blanks(standard: Standard) -> InputError:
    return InputError(
        f"standard '{standard.name}'",
        expected=f"blanks of stream {standard.stream}, to take its balance off",
        found="none",
        cause="no blank was measured, or blanks are not removed by the settings",
        next_step='measure blanks, or say balance = "none" when its gases are all of it',
    )
