"""The species library: fragment patterns and relative sensitivities, and the design matrix made from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from blake3 import blake3
from numpy.typing import ArrayLike, NDArray

from nightwell.errors import InputError, NotFoundError

#: A library with a larger condition number is refused: one percent of noise would be worth more than the answer.
MAX_CONDITION = 200.0

#: Patterns at least this alike (cosine) cannot be told apart by a unit-resolution instrument.
LUMP_COSINE = 0.985

#: Share of a species' ions that an m/z axis must hold, besides its largest peak.
MIN_IONS_COVERED = 0.75


class SpeciesGroup(StrEnum):
    """What a species says about the rock."""

    INORGANIC = "inorganic"
    GASEOUS_PETROLEUM = "gaseous_petroleum"
    LIQUID_PETROLEUM = "liquid_petroleum"
    WATER_SOLUBLE_ORGANIC = "water_soluble_organic"


@dataclass(frozen=True, slots=True)
class Species:
    """One species, or several reported as one.

    Parameters
    ----------
    name, formula, group
        As reported; a lumped species carries its members' formulas joined by ``/``.
    peaks
        ``(m/z, share)`` pairs; the shares of all ions of the species sum to 1.
    sensitivity
        Total ion current per amount, relative to nitrogen = 1.
    sensitivity_error
        One-sigma of ``sensitivity``, relative.
    members
        Names of the species reported as this one; empty when it stands for itself.
    source, sensitivity_source
        Where the pattern and the sensitivity were read.
    """

    name: str
    formula: str
    group: SpeciesGroup
    peaks: tuple[tuple[int, float], ...]
    sensitivity: float
    sensitivity_error: float
    members: tuple[str, ...]
    source: str
    sensitivity_source: str

    @property
    def base_mz(self) -> int:
        """The m/z of the largest peak."""
        return max(self.peaks, key=lambda peak: peak[1])[0]


@dataclass(frozen=True, slots=True)
class SpeciesLibrary:
    """An ordered set of species, immutable.

    Parameters
    ----------
    species
        In the order of the columns of every matrix made from the library.
    """

    species: tuple[Species, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names in column order."""
        return tuple(one.name for one in self.species)

    @property
    def groups(self) -> tuple[SpeciesGroup, ...]:
        """Groups in column order."""
        return tuple(one.group for one in self.species)

    @property
    def sensitivities(self) -> NDArray[np.float64]:
        """Sensitivities relative to nitrogen, in column order."""
        return np.array([one.sensitivity for one in self.species])

    @property
    def version(self) -> str:
        """Hash of every number in the library; equal versions give equal results."""
        text = "\n".join(
            f"{one.name}|{one.group}|{one.sensitivity!r}|{one.sensitivity_error!r}|{one.peaks!r}"
            for one in self.species
        )
        return blake3(text.encode()).hexdigest(length=8)

    def index(self, name: str) -> int:
        """Return the column of a species.

        Raises
        ------
        NotFoundError
            The library has no such species.
        """
        if name not in self.names:
            raise _unknown_species(name, self.names)
        return self.names.index(name)

    def select(self, names: Iterable[str]) -> SpeciesLibrary:
        """Return the library of some species, in the order given (NotFoundError when one is unknown)."""
        return SpeciesLibrary(tuple(self.species[self.index(name)] for name in names))

    def without(self, names: Iterable[str]) -> SpeciesLibrary:
        """Return the library without some species (NotFoundError when one is unknown)."""
        leave = {self.index(name) for name in names}
        return SpeciesLibrary(tuple(one for index, one in enumerate(self.species) if index not in leave))

    def with_pattern(self, name: str, peaks: Mapping[int, float], *, source: str) -> SpeciesLibrary:
        """Return the library with a species' pattern replaced, for instance by one learned from a standard.

        Parameters
        ----------
        name
            The species.
        peaks
            Relative intensity by m/z, in any unit.
        source
            Where the pattern comes from.
        """
        index = self.index(name)
        learned = replace(self.species[index], peaks=_shares(peaks), source=source)
        return SpeciesLibrary((*self.species[:index], learned, *self.species[index + 1 :]))

    def pattern_matrix(self, mz: ArrayLike) -> NDArray[np.float64]:
        """Return the shares of the ions of each species on an m/z axis, without checks.

        Parameters
        ----------
        mz
            Whole, increasing numbers.

        Returns
        -------
        ndarray
            float64 (mz, species); a column sums to 1 when the axis holds all its peaks.
        """
        axis = np.asarray(mz, dtype=np.float64)
        row_of = {round(value): row for row, value in enumerate(axis.tolist())}
        matrix = np.zeros((axis.size, len(self.species)))
        for column, one in enumerate(self.species):
            for peak_mz, share in one.peaks:
                if peak_mz in row_of:
                    matrix[row_of[peak_mz], column] = share
        return matrix

    def design_matrix(
        self, mz: ArrayLike, *, transmission_exponent: float = 0.0, max_condition: float = MAX_CONDITION
    ) -> NDArray[np.float64]:
        """Return A of ``intensity = nitrogen_sensitivity_a_per_ppm * A @ ppm``.

        Parameters
        ----------
        mz
            m/z axis of the scans, whole numbers.
        transmission_exponent
            k of the transmission ``(28 / m/z) ** k``.
        max_condition
            Limit of :meth:`condition_number`.

        Returns
        -------
        ndarray
            float64 (mz, species): sensitivity x share x transmission.

        Raises
        ------
        InputError
            When the axis lacks peaks that a species is known by, or the library cannot be solved on it.
        """
        axis = np.asarray(mz, dtype=np.float64)
        self._check_coverage(axis)
        condition = self.condition_number(axis)
        if condition > max_condition:
            raise self._unsolvable(axis, condition, max_condition)
        transmission = (28.0 / axis) ** transmission_exponent
        return self.pattern_matrix(axis) * self.sensitivities * transmission[:, None]

    def condition_number(self, mz: ArrayLike) -> float:
        """Return the condition number of the pattern matrix with columns scaled to length 1 (2-norm)."""
        return float(np.linalg.cond(_unit_columns(self.pattern_matrix(mz))))

    def covered(self, mz: ArrayLike) -> tuple[SpeciesLibrary, dict[str, tuple[int, ...]]]:
        """Split off the species that an m/z axis cannot show.

        Parameters
        ----------
        mz
            m/z axis of the scans.

        Returns
        -------
        library
            The species whose largest peak and most ions are on the axis.
        missing
            The others, with the m/z that are missing.
        """
        axis = {round(value) for value in np.asarray(mz, dtype=np.float64).tolist()}
        missing: dict[str, tuple[int, ...]] = {}
        for one in self.species:
            absent = tuple(sorted(peak_mz for peak_mz, _ in one.peaks if peak_mz not in axis))
            share = math.fsum(share for peak_mz, share in one.peaks if peak_mz in axis)
            if one.base_mz in absent or share < MIN_IONS_COVERED:
                missing[one.name] = absent
        return self.without(missing), missing

    def lumped(self, *, cosine: float = LUMP_COSINE) -> SpeciesLibrary:
        """Return the library with species that cannot be told apart reported as one.

        Parameters
        ----------
        cosine
            Species whose patterns are at least this alike go together, and whatever is alike to one of them.

        Returns
        -------
        SpeciesLibrary
            A lumped species has its members' names joined by ``+``, and the mean of their patterns and sensitivities.
        """
        axis = np.arange(1, 1 + max(peak_mz for one in self.species for peak_mz, _ in one.peaks))
        unit = _unit_columns(self.pattern_matrix(axis))
        alike = unit.T @ unit >= cosine
        remaining = list(range(len(self.species)))
        merged: list[Species] = []
        while remaining:
            group = [remaining[0]]
            for member in group:  # grows while it is walked: likeness is passed on
                group += [other for other in remaining if alike[member, other] and other not in group]
            remaining = [index for index in remaining if index not in group]
            merged.append(lump(None, [self.species[index] for index in sorted(group)]))
        return SpeciesLibrary(tuple(merged))

    def _check_coverage(self, axis: NDArray[np.float64]) -> None:
        _, missing = self.covered(axis)
        if not missing:
            return
        listed = "; ".join(
            f"{name} needs m/z {', '.join(str(value) for value in values)}" for name, values in missing.items()
        )
        raise InputError(
            f"m/z axis {axis.min():g} to {axis.max():g}" if axis.size else "an empty m/z axis",
            expected=f"the peaks of all {len(self.species)} species of the library",
            found=f"peaks missing: {listed}",
            cause="the scan list of the instrument stops short of these species",
            next_step="scan the missing m/z, or leave these species out of the library",
        )

    def _unsolvable(self, axis: NDArray[np.float64], condition: float, limit: float) -> InputError:
        unit = _unit_columns(self.pattern_matrix(axis))
        likeness = np.triu(unit.T @ unit, k=1)
        first, second = np.unravel_index(int(np.argmax(likeness)), likeness.shape)
        return InputError(
            f"species library {self.version}",
            expected=f"a condition number up to {limit:g}",
            found=f"{condition:.4g} with {len(self.species)} species on {axis.size} m/z",
            cause=f"patterns too alike, first of all {self.names[first]} and {self.names[second]} "
            f"(cosine {likeness[first, second]:.3f})",
            next_step="lump the species that cannot be told apart, or leave some out",
        )


def lump(name: str | None, members: list[Species]) -> Species:
    """Return several species as one, by the mean of their patterns and sensitivities; one species stays itself.

    Parameters
    ----------
    name
        Name of the lumped species; ``None`` joins the members' names by ``+``.
    members
        At least one, all of them single species or lumps.
    """
    if len(members) == 1 and name is None:
        return members[0]
    total: dict[int, float] = {}
    for one in members:
        for peak_mz, share in one.peaks:
            total[peak_mz] = total.get(peak_mz, 0.0) + share
    formulas = dict.fromkeys(one.formula for one in members)
    return Species(
        name=name or "+".join(one.name for one in members),
        formula="/".join(formulas),
        group=members[0].group,
        peaks=_shares(total),
        sensitivity=math.fsum(one.sensitivity for one in members) / len(members),
        sensitivity_error=max(one.sensitivity_error for one in members),
        members=tuple(leaf for one in members for leaf in (one.members or (one.name,))),
        source="; ".join(dict.fromkeys(one.source for one in members)),
        sensitivity_source="; ".join(dict.fromkeys(one.sensitivity_source for one in members)),
    )


def _shares(peaks: Mapping[int, float]) -> tuple[tuple[int, float], ...]:
    total = math.fsum(peaks.values())
    return tuple((peak_mz, peaks[peak_mz] / total) for peak_mz in sorted(peaks))


def _unit_columns(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(matrix, axis=0)
    scaled: NDArray[np.float64] = matrix / np.where(length > 0, length, 1.0)
    return scaled


def _unknown_species(name: str, names: tuple[str, ...]) -> NotFoundError:
    return NotFoundError(
        f"species '{name}'",
        expected=f"one of {', '.join(names)}",
        found="no such species in the library",
        cause="the name is misspelt, or the species is not in this selection of the library",
        next_step="use a name of the library, or load the whole library",
    )
