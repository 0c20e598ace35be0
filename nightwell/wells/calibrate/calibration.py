"""A calibration: everything that was learned of one instrument for one well, as one frozen, versioned value."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from nightwell.errors import FormatError, InputError
from nightwell.wells.calibrate.dead_time import DeadTime
from nightwell.wells.calibrate.drift import Drift
from nightwell.wells.calibrate.fragments import LEARNED_SHARE, PATTERN_PRIOR
from nightwell.wells.calibrate.mass_scale import MassScale
from nightwell.wells.carry_over import CarryOver
from nightwell.wells.instrument import Instrument
from nightwell.wells.species import SpeciesLibrary
from nightwell.whole_file import written_whole

Floats = NDArray[np.float64]

CALIBRATION_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Fragment:
    """One learned response: A/ppm divided by the sensitivity of nitrogen, its one-sigma, and the library's."""

    species: str
    mz: int
    response: float
    sigma: float
    library_response: float

    @property
    def learned(self) -> bool:
        """Whether the standards say more of it than a library does; others only follow their species."""
        return self.sigma < LEARNED_SHARE * PATTERN_PRIOR * self.response


@dataclass(frozen=True, slots=True)
class Recovery:
    """A certified gas in one run of standards: seconds since 1970, stream, found over certified, one-sigma."""

    time_s: float
    stream: str
    gas: str
    ratio: float
    sigma: float


@dataclass(frozen=True, slots=True, repr=False)
class Calibration:
    """What was learned; equal versions give equal results.

    Parameters
    ----------
    well, instrument
        Whose scans it was learned from.
    simulated
        Whether those are simulated.
    library_version
        Of the library that the fragments override.
    dead_time, mass_scale, carry_over
        Of the detector, the quadrupole, the line.
    steadied_drift, raw_drift
        Of streams with, and of those without an internal standard.
    transmission_exponent
        k that the responses were divided by.
    nitrogen_sensitivity_a_per_ppm
        The instrument's, or, where it was unknown, what the standards gave.
    fragments
        Learned responses.
    recoveries
        How the standards came out, with the library as it was.
    notes
        What could not be learned, and why.
    """

    well: str
    instrument: str
    simulated: bool
    library_version: str
    dead_time: DeadTime = field(default_factory=DeadTime)
    mass_scale: MassScale = field(default_factory=MassScale)
    carry_over: CarryOver = field(default_factory=CarryOver)
    steadied_drift: Drift = field(default_factory=Drift)
    raw_drift: Drift = field(default_factory=Drift)
    transmission_exponent: float = 0.0
    nitrogen_sensitivity_a_per_ppm: float | None = None
    fragments: tuple[Fragment, ...] = ()
    recoveries: tuple[Recovery, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Name the version: settings that hold a calibration are written into results."""
        return f"Calibration({self.version})"

    @property
    def version(self) -> str:
        """Digest of every number in it."""
        return blake3(_ADAPTER.dump_json(self)).hexdigest(length=8)

    def library(self, library: SpeciesLibrary) -> SpeciesLibrary:
        """Return a library with the learned responses in place of its own, fragment by fragment."""
        for species in dict.fromkeys(one.species for one in self.fragments):
            if species not in library.names:
                continue
            index = library.index(species)
            known = library.species[index]
            peaks = {mz: known.sensitivity * share for mz, share in known.peaks}
            for one in self.fragments:
                if one.species == species:
                    peaks[one.mz] = one.response / (28.0 / one.mz) ** self.transmission_exponent
            total = sum(peaks.values())
            source = f"{known.source}; learned from standards"
            library = library.with_pattern(species, peaks, source=source)
            learned = replace(library.species[index], sensitivity=total, sensitivity_source="learned from standards")
            library = SpeciesLibrary((*library.species[:index], learned, *library.species[index + 1 :]))
        return library

    def pattern_errors(self, library: SpeciesLibrary, mz: Floats, otherwise: float) -> Floats:
        """Return the relative error of each response, float64 (mz, species): learned, or ``otherwise``."""
        errors = np.full((mz.size, len(library.species)), otherwise)
        row_of = {round(value): row for row, value in enumerate(mz.tolist())}
        for one in self.fragments:
            if one.species in library.names and one.mz in row_of and one.learned:
                errors[row_of[one.mz], library.index(one.species)] = one.sigma / one.response
        return errors

    def scale_errors(self, library: SpeciesLibrary) -> Floats:
        """Return the relative error that all fragments of a species share, float64 (species): its best fragment's."""
        errors = np.zeros(len(library.species))
        for column, name in enumerate(library.names):
            mine = [one.sigma / one.response for one in self.fragments if one.species == name and one.learned]
            errors[column] = min(mine, default=0.0)
        return errors

    def complete(self, instrument: Instrument) -> Instrument:
        """Return an instrument with what it did not know of itself and the standards gave."""
        if instrument.nitrogen_sensitivity_a_per_ppm is not None:
            return instrument
        return replace(instrument, nitrogen_sensitivity_a_per_ppm=self.nitrogen_sensitivity_a_per_ppm)

    def summary(self) -> dict[str, object]:
        """Return what a result says of it, in words and numbers."""
        return {
            "calibration_version": self.version,
            "dead_time": f"{self.dead_time.loss_per_a:.6g} +- {self.dead_time.sigma_per_a:.2g} per A, "
            f"{self.dead_time.source}",
            "mz_scale": self.mass_scale.source,
            "calibration_simulated": int(self.simulated),
            "calibration_notes": list(self.notes),
        }


_ADAPTER = TypeAdapter(Calibration)


def save_calibration(calibration: Calibration, path: Path | str) -> None:
    """Write a calibration as one JSON document, whole or not at all."""
    document: dict[str, object] = {"nightwell_calibration": CALIBRATION_FORMAT, "version": calibration.version}
    document["calibration"] = json.loads(_ADAPTER.dump_json(calibration))
    with written_whole(Path(path)) as draft:
        draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load_calibration(path: Path | str) -> Calibration:
    """Read a calibration.

    Raises
    ------
    InputError
        The file is no calibration, or was changed after it was written.
    FormatError
        A newer release wrote it.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        form = int(document["nightwell_calibration"])
        if form > CALIBRATION_FORMAT:
            raise FormatError(
                f"calibration {path}",
                expected=f"format up to {CALIBRATION_FORMAT}",
                found=str(form),
                cause="a newer release of nightwell wrote it",
                next_step="read it with that release, or calibrate again",
            )
        calibration = _ADAPTER.validate_python(_as_tuples(document["calibration"]))
        version = str(document["version"])
    except (ValueError, KeyError, TypeError, UnicodeDecodeError, ValidationError) as error:
        raise _bad(path, "a calibration as `well calibrate` writes it", str(error).splitlines()[0]) from error
    if calibration.version != version:
        raise _bad(path, f"version {version}, as the file says", calibration.version)
    return calibration


def _as_tuples(value: object) -> object:
    if isinstance(value, list):
        return tuple(_as_tuples(one) for one in value)
    if isinstance(value, dict):
        return {name: _as_tuples(one) for name, one in value.items()}
    return value


def _bad(path: Path | str, expected: str, found: str) -> InputError:
    return InputError(
        f"calibration {path}",
        expected=expected,
        found=found,
        cause="another file, or one that was edited",
        next_step="make it again with `nightwell well calibrate`",
    )
