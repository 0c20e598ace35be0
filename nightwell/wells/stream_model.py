"""How the amounts in the four streams follow from those in the trap gas: the simulated part of the forward model.

The gas trap frees what is light; water keeps acids and alcohols; cuttings hold what is heavy, and their inclusions
keep the fluid of the time they closed. The factors are plausible, not calibrated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightwell.wells.composition import Composition
from nightwell.wells.species import Species, SpeciesGroup, SpeciesLibrary
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]

#: Dry air, by volume (NOAA / US Standard Atmosphere), [ppm]; argon is the internal standard.
AIR = {"nitrogen": 780_840.0, "oxygen": 209_460.0, "argon": 9_340.0, "carbon_dioxide": 420.0, "helium": 5.24}

#: What the blank of each stream holds [ppm]: air, moisture, mud additives, the walls of an evacuated chamber.
BLANKS: dict[Stream, dict[str, float]] = {
    Stream.TRAP_GAS: {**AIR, "water": 3_000.0, "hydrogen": 0.6, "methane": 2.0},
    Stream.MUD_FLUID: {
        **AIR,
        "water": 12_000.0,
        "hydrogen": 0.6,
        "methane": 2.0,
        "methanol": 4.0,
        "ethanol": 6.0,
        "acetone": 3.0,
        "n_heptane": 2.0,
        "methylcyclohexane": 3.0,
        "toluene": 0.8,
    },
    Stream.CUTTINGS_BACKGROUND: {
        **{name: amount * 1e-3 for name, amount in AIR.items()},
        "water": 1_500.0,
        "hydrogen": 20.0,
        "carbon_dioxide": 15.0,
        "methane": 1.0,
    },
    Stream.CUTTINGS_CRUSH: {},  # its blank is the same sample's run before crushing
}


@dataclass(frozen=True, slots=True)
class _Factors:
    """Amount in a stream over amount in the trap gas: ``base * carbons ** power``, by group overridden."""

    base: float
    power: float
    groups: dict[SpeciesGroup, float]


_FACTORS = {
    Stream.TRAP_GAS: _Factors(1.0, 0.0, {}),
    Stream.MUD_FLUID: _Factors(0.25, 0.6, {SpeciesGroup.WATER_SOLUBLE_ORGANIC: 6.0}),
    Stream.CUTTINGS_BACKGROUND: _Factors(0.02, 1.5, {SpeciesGroup.WATER_SOLUBLE_ORGANIC: 2.0}),
    Stream.CUTTINGS_CRUSH: _Factors(0.15, 0.5, {SpeciesGroup.WATER_SOLUBLE_ORGANIC: 3.0}),
}


def amounts_of_stream(composition: Composition, stream: Stream, library: SpeciesLibrary, seed: int) -> Floats:
    """Return the amounts of a stream, its blank not included.

    Parameters
    ----------
    composition
        Amounts in the trap gas.
    stream, library
        What to make, and its columns; species the composition does not know are zero.
    seed
        Of the variation from sample to sample of the cuttings.

    Returns
    -------
    ndarray
        float64 (depth, species), ppm.
    """
    depth = composition.depth_m
    amounts = np.zeros((depth.size, len(library.species)))
    factors = _FACTORS[stream]
    for column, one in enumerate(library.species):
        base = factors.groups.get(one.group, factors.base * max(_carbons(one), 1) ** factors.power)
        amounts[:, column] = base * composition.ppm.get(one.name, 0.0)
    rng = np.random.default_rng([seed, stream.code])
    if stream is Stream.CUTTINGS_CRUSH:
        _add_inclusions(amounts, composition, library)
    if stream in (Stream.CUTTINGS_BACKGROUND, Stream.CUTTINGS_CRUSH):
        # Grains differ: one factor per sample, the same for all its species.
        amounts *= np.exp(0.2 * rng.standard_normal(depth.size))[:, None]
    return amounts


def blank_of_stream(stream: Stream, library: SpeciesLibrary) -> Floats:
    """Return what the blank of a stream holds: float64 (species), ppm."""
    blank = BLANKS[stream]
    return np.array([blank.get(name, 0.0) for name in library.names])


def _add_inclusions(amounts: Floats, composition: Composition, library: SpeciesLibrary) -> None:
    """Inclusions remember: palaeo-fluid up to 60 m above today's zones, and brine with CO2 and helium everywhere."""
    depth = composition.depth_m
    memory = np.zeros(depth.size)
    for zone in composition.zones:
        inside = (depth >= zone.top_m - 60.0) & (depth <= zone.bottom_m + 5.0)
        memory = np.maximum(memory, inside.astype(np.float64))
    amounts *= (0.4 + 4.0 * memory)[:, None]
    for name, everywhere, remembered in (
        ("water", 4_000.0, -1_500.0),
        ("carbon_dioxide", 300.0, 900.0),
        ("helium", 5.0, 20.0),
        ("nitrogen", 80.0, 120.0),
        ("methane", 50.0, 2_000.0),
        ("hydrogen_sulfide", 0.5, 6.0),
    ):
        if name in library.names:
            amounts[:, library.index(name)] += everywhere + remembered * memory


def _carbons(species: Species) -> int:
    match = re.match(r"C(?![a-z])(\d*)", species.formula)
    return int(match.group(1) or 1) if match else 0
