"""The method of an analysis: all that a result depends on besides the scans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from blake3 import blake3

import nightwell
from nightwell.wells.cube import CubeSettings
from nightwell.wells.deconvolve import Deconvolution
from nightwell.wells.interpret import Classification, load_classifications
from nightwell.wells.profiles import Profile, load_profiles
from nightwell.wells.rules import Rules, load_rules
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.species_file import load_library


@dataclass(frozen=True, slots=True)
class Method:
    """All that a result depends on besides the scans.

    Parameters
    ----------
    library, profiles, classifications, rules
        What to look for and how to read it; ``None`` for what ships.
    cube, deconvolution
        Settings.
    """

    library: SpeciesLibrary
    profiles: tuple[Profile, ...]
    classifications: tuple[Classification, ...]
    cube: CubeSettings
    deconvolution: Deconvolution
    rules: Rules

    @classmethod
    def default(
        cls,
        library: SpeciesLibrary | None = None,
        profiles: Iterable[Profile] | None = None,
        classifications: Iterable[Classification] | None = None,
        *,
        cube: CubeSettings | None = None,
        deconvolution: Deconvolution | None = None,
        rules: Rules | None = None,
    ) -> Method:
        """Return a method with what ships for everything not given."""
        return cls(
            load_library() if library is None else library,
            load_profiles() if profiles is None else tuple(profiles),
            load_classifications() if classifications is None else tuple(classifications),
            cube or CubeSettings(),
            deconvolution or Deconvolution(),
            rules or load_rules(),
        )

    @classmethod
    def with_own(
        cls,
        directory: Path | str | None,
        library: SpeciesLibrary | None = None,
        *,
        cube: CubeSettings | None = None,
        deconvolution: Deconvolution | None = None,
    ) -> Method:
        """Return what ships with the profiles, classifications and rules of a directory of one's own (InputError)."""
        return cls.default(
            library,
            profiles=load_profiles(directory),
            classifications=load_classifications(directory),
            rules=load_rules(directory),
            cube=cube,
            deconvolution=deconvolution,
        )

    def calibrated(self) -> Method:
        """Return the method with the library that its calibration, if it has one, makes of its own."""
        calibration = self.cube.calibration
        return self if calibration is None else replace(self, library=calibration.library(self.library))

    def as_attributes(self) -> dict[str, object]:
        """Return the versions of everything, as attributes of a result."""
        return {
            "software_version": nightwell.__version__,
            "library_version": self.library.version,
            "profiles": [profile.identity for profile in self.profiles],
            "profiles_version": _digest(repr(profile) for profile in self.profiles),
            "classifications": [one.identity for one in self.classifications],
            "rules": [rule.identity for rule in self.rules],
            # Rules are thresholds as classes are: one version speaks for how indicators were read.
            "classifications_version": _digest(repr(one) for one in (*self.classifications, *self.rules)),
            "cube_settings": repr(self.cube),
            "calibration_version": "none" if self.cube.calibration is None else self.cube.calibration.version,
            "deconvolution_settings": self.deconvolution.version,
        }


def _digest(texts: Iterable[str]) -> str:
    return blake3("\n".join(texts).encode()).hexdigest(length=8)
