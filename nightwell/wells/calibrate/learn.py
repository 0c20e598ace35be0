"""Learn a calibration from a well's own blanks and standards."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.baseline import off_mass_columns, remove_baseline
from nightwell.wells.calibrate.calibration import Calibration
from nightwell.wells.calibrate.dead_time import ISOTOPE_PAIRS, DeadTime, fit_dead_time, restore_lost
from nightwell.wells.calibrate.mass_scale import KNOWN_PEAKS, MassScale, check_bars
from nightwell.wells.calibrate.saturation import saturated_currents
from nightwell.wells.calibrate.standards import StandardsDocument, standards_of
from nightwell.wells.calibrate.standards_learning import learn_standards
from nightwell.wells.carry_over import CarryOver, Steps, fit_carry_over
from nightwell.wells.clean_scans import noise_of_scans
from nightwell.wells.contract import Origin
from nightwell.wells.corrections import CubeSettings
from nightwell.wells.lag import Registration
from nightwell.wells.raw_scans import RawScans, raw_scans
from nightwell.wells.scan_noise import ScanNoise
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.species_file import load_library
from nightwell.wells.streams import ScanKind, Stream

Floats = NDArray[np.float64]

#: A gap longer than this is no purge but a pause: what was in the line before it does not count.
LONGEST_PURGE_S = 3600.0

#: The baseline is measured at m/z 5 and 9; elsewhere it may differ by this share of it.
BASELINE_SLOPE = 0.1


#: What patterns are off by when a step is read by the library as it is.
STEP_ERROR = 0.1


@dataclass(frozen=True, slots=True)
class CalibrationSettings:
    """How a calibration is learned.

    Parameters
    ----------
    cube
        How scans are corrected meanwhile; its own calibration is not used.
    dead_time_s
        Given; needs the instrument's ``ion_charge_c``. ``None`` fits it from isotope pairs.
    dead_time_sigma_s
        One-sigma of a given dead time.
    learn_from_air
        Whether the blanks of streams with an internal standard are a standard of air too.
    """

    cube: CubeSettings = field(default_factory=CubeSettings)
    dead_time_s: float | None = None
    dead_time_sigma_s: float = 0.0
    learn_from_air: bool = True


@dataclass(frozen=True, slots=True)
class _Quiet:
    """Blanks, and of each the scan before it: all that dead time and carry-over need."""

    rows: NDArray[np.intp]
    current: Floats
    before: Floats
    noise: ScanNoise
    baseline_a: float  # median of what was subtracted


def calibrate(
    tree: xr.DataTree,
    library: SpeciesLibrary | None = None,
    standards: StandardsDocument | None = None,
    settings: CalibrationSettings | None = None,
) -> Calibration:
    """Learn dead time, carry-over, drift, sensitivities and patterns from a well's raw scans.

    Parameters
    ----------
    tree
        Raw scans; arrays may be read when they are used.
    library
        What the standards correct; by default what ships.
    standards
        Which gases the standards are; by default the group ``/standards`` of the scans.
    settings
        How.

    Returns
    -------
    Calibration
        What could not be learned is left as it was, and a note says why.

    Raises
    ------
    InputError
        The m/z scale is off; a standard has no scans, no blanks, or a gas that the library does not know; a given dead
        time without the charge of an ion.
    """
    settings, library = settings or CalibrationSettings(), library or load_library()
    document = standards if standards is not None else standards_of(tree)
    cube = replace(settings.cube, calibration=None)
    origin = Origin.of(tree)
    scans = raw_scans(tree, _nowhere(tree), origin)
    columns = off_mass_columns(scans.mz, cube.off_mass)
    noise = noise_of_scans(scans, columns, origin.instrument, cube.block_rows)
    quiet = _quiet(scans, columns, noise, cube.block_rows)
    scale = _mass_scale(scans, quiet, cube)
    dead_time = _dead_time(scans, quiet, settings, origin)
    carry_over = _carry_over(scans, quiet, dead_time, library, origin)
    found = Calibration(
        well=origin.well,
        instrument=origin.instrument.name,
        simulated=origin.simulated,
        library_version=library.version,
        dead_time=dead_time,
        mass_scale=scale,
        carry_over=carry_over,
        transmission_exponent=origin.instrument.transmission_exponent or 0.0,
        nitrogen_sensitivity_a_per_ppm=origin.instrument.nitrogen_sensitivity_a_per_ppm,
        notes=() if quiet.rows.size else ("no blanks: neither dead time nor carry-over can be learned",),
    )
    return learn_standards(
        found, scans, origin.instrument, library, document, cube, learn_from_air=settings.learn_from_air
    )


def _nowhere(tree: xr.DataTree) -> Registration:
    """Return a registration without depths: to calibrate, none is needed."""
    size = tree["scans"].sizes["scan"]
    none = np.zeros(size, dtype=np.bool_)
    return Registration(np.full(size, np.nan), np.full(size, np.nan), none, none)


def _quiet(scans: RawScans, columns: NDArray[np.intp], noise: ScanNoise, block_rows: int) -> _Quiet:
    """Gather all blanks and the scans before them, saturated readings missing, baseline removed."""
    is_blank = scans.kind == ScanKind.BLANK.code
    last = np.full((1, scans.mz.size), np.nan)
    current, before = [np.zeros((0, scans.mz.size))], [np.zeros((0, scans.mz.size))]
    levels = [np.zeros(0)]
    for block, intensity in scans.blocks(block_rows):
        intensity[saturated_currents(intensity, scans.full_scale_a)] = np.nan
        levels.append(remove_baseline(intensity, columns))
        chosen = is_blank[block]
        previous = np.concatenate([last, intensity[:-1]])
        current.append(intensity[chosen])
        before.append(previous[chosen])
        last = intensity[-1:]
    level = float(np.median(np.concatenate(levels))) if scans.time_s.size else 0.0
    return _Quiet(np.flatnonzero(is_blank), np.concatenate(current), np.concatenate(before), noise, level)


def _mass_scale(scans: RawScans, quiet: _Quiet, cube: CubeSettings) -> MassScale:
    airy = np.isin(scans.stream[quiet.rows], [stream.code for stream in cube.internal_standard_streams])
    spectra = quiet.current[airy]
    if spectra.shape[0] == 0:
        return MassScale(source="no blank that breathes air to check it by")
    known = np.isfinite(spectra).sum(axis=0)
    count = np.maximum(known, 1)
    mean = np.where(known > 0, np.nansum(spectra, axis=0) / count, np.nan)
    sigma = np.sqrt(quiet.noise.variance(np.nan_to_num(mean)) / count)
    return check_bars(scans.mz, mean, sigma, KNOWN_PEAKS)


def _dead_time(scans: RawScans, quiet: _Quiet, settings: CalibrationSettings, origin: Origin) -> DeadTime:
    charge = origin.instrument.ion_charge_c
    if settings.dead_time_s is not None:
        if charge is None:
            raise _no_charge(settings.dead_time_s)
        return DeadTime(settings.dead_time_s / charge, settings.dead_time_sigma_s / charge, "given")
    column_of = {round(value): column for column, value in enumerate(scans.mz.tolist())}
    pairs = {}
    for big, small in ISOTOPE_PAIRS:
        if big in column_of and small in column_of:
            pair = quiet.current[:, [column_of[big], column_of[small]]]
            noise = quiet.noise
            floor = noise.floor if noise.floor.ndim == 0 else noise.floor[[column_of[big], column_of[small]]]
            variance = floor + noise.rate * np.maximum(pair, 0.0)
            pairs[big, small] = (pair[:, 0], pair[:, 1], variance[:, 0], variance[:, 1])
    return fit_dead_time(pairs, offset_a=BASELINE_SLOPE * abs(quiet.baseline_a))


def _carry_over(
    scans: RawScans, quiet: _Quiet, dead_time: DeadTime, library: SpeciesLibrary, origin: Origin
) -> CarryOver:
    after, _ = restore_lost(quiet.current, dead_time)
    before, _ = restore_lost(quiet.before, dead_time)
    purge_s = np.zeros(quiet.rows.size)
    later = quiet.rows > 0
    purge_s[later] = scans.time_s[quiet.rows[later]] - scans.time_s[quiet.rows[later] - 1]
    used = later & (purge_s > 0.0) & (purge_s < LONGEST_PURGE_S)
    covered, _ = library.covered(scans.mz)
    if not used.any() or not covered.species:
        return CarryOver()
    # Blanks within a day go back to the same clean level; over a longer time the blank itself may change.
    day = (scans.time_s[quiet.rows] // 86_400.0).astype(np.intp)
    group = day * len(Stream) + scans.stream[quiet.rows]
    variance, variance_before = (quiet.noise.variance(np.nan_to_num(one[used])) for one in (after, before))
    estimator, signature = _estimator(covered, scans.mz, np.abs(after[used] - before[used]), variance, origin)
    step = np.nan_to_num(after[used]) @ estimator.T
    earlier = np.nan_to_num(before[used]) @ estimator.T
    found = fit_carry_over(
        covered.names,
        Steps(
            before=earlier,
            after=step,
            before_variance=variance_before @ (estimator**2).T,
            after_variance=variance @ (estimator**2).T,
            purge_s=_usual(purge_s[used]),
            group=group[used],
        ),
    )
    rows = [covered.index(name) for name in found.species]
    return replace(
        found,
        mz=tuple(round(value) for value in scans.mz.tolist()) if rows else (),
        estimator=tuple(tuple(float(value) for value in estimator[row]) for row in rows),
        signature=tuple(tuple(float(value) for value in signature[row]) for row in rows),
    )


def _estimator(
    library: SpeciesLibrary, mz: Floats, steps: Floats, variance: Floats, origin: Origin
) -> tuple[Floats, Floats]:
    """Return amount per current and current per amount, float64 (species, mz): weighted least squares, regularised.

    The weights are those of a typical step to a blank: its noise, and what patterns are off by.
    """
    transmission = (28.0 / mz) ** (origin.instrument.transmission_exponent or 0.0)
    design = library.pattern_matrix(mz) * library.sensitivities * transmission[:, None]
    design *= origin.instrument.nitrogen_sensitivity_a_per_ppm or 1.0
    measured = np.isfinite(steps).all(axis=0)
    spread = np.where(measured, np.nanmean(np.where(measured, steps, 0.0), axis=0), np.inf)
    weight = 1.0 / (variance.mean(axis=0) + (STEP_ERROR * spread) ** 2 + np.finfo(np.float64).tiny)
    normal = design.T @ (design * weight[:, None])
    scale = np.sqrt(np.diag(normal)) + np.finfo(np.float64).tiny
    inverse = np.linalg.pinv(normal / np.outer(scale, scale), rcond=1e-10, hermitian=True) / np.outer(scale, scale)
    return inverse @ (design * weight[:, None]).T, design.T


def _usual(purge_s: Floats) -> Floats:
    """Round purge times to two figures, so that steps of nearly the same one are fitted together."""
    with np.errstate(divide="ignore"):
        scale = 10.0 ** np.floor(np.log10(np.maximum(purge_s, 1e-3)) - 1.0)
    return np.asarray(np.round(purge_s / scale) * scale)


def _no_charge(dead_time_s: float) -> InputError:
    return InputError(
        f"a dead time of {dead_time_s:g} s",
        expected="an instrument whose ion_charge_c is known, to turn current into counts per second",
        found="none among the attributes of the scans",
        cause="the charge that one ion leaves at the detector was not given at import",
        next_step="add ion_charge_c to the scans, or leave the dead time to be fitted",
    )
