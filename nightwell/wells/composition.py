"""What the forward model starts from: amounts of each species in the trap gas against depth.

Two ways in: a gas log (C1 to C5 are then measured, the rest is simulated), or a well built from published gas
compositions (everything is then simulated but the ratios). What a chromatograph does not see is derived by rules of
this module alone; they are plausible, not calibrated, and every product says so.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nightwell.wells.gas_log import GasLog

Floats = NDArray[np.float64]

_MEASURED = ("methane", "ethane", "propane", "isobutane", "n_butane", "isopentane", "n_pentane")


@dataclass(frozen=True, slots=True)
class Zone:
    """An interval of the well that holds fluid, and the published gas it is made of (``None``: a zone of a log)."""

    top_m: float
    bottom_m: float
    gas: str | None = None


@dataclass(frozen=True, slots=True)
class Composition:
    """Amounts in the trap gas against depth.

    Parameters
    ----------
    well
        Name of the well.
    depth_m
        Increasing.
    ppm
        Amount by species, each on ``depth_m``; finite, not negative.
    zones
        Where fluid was put, or was recognised in a log.
    simulated
        Species whose amounts are simulated.
    provenance
        In words: what was measured, from which file, and what is simulated.
    """

    well: str
    depth_m: Floats
    ppm: Mapping[str, Floats]
    zones: tuple[Zone, ...]
    simulated: tuple[str, ...]
    provenance: str


def published_gases() -> dict[str, dict[str, float]]:
    """Return published gas compositions: mole fractions by species, by gas (sources in ``data/gases.csv``)."""
    lines = files("nightwell.wells").joinpath("data", "gases.csv").read_text(encoding="utf-8").splitlines()
    gases: dict[str, dict[str, float]] = {}
    for row in csv.DictReader(lines):
        gases.setdefault(row["gas"], {})[row["species"]] = float(row["mole_percent"]) / 100.0
    return gases


def published_composition(
    *,
    top_m: float = 1500.0,
    bottom_m: float = 2500.0,
    step_m: float = 0.5,
    zones: tuple[Zone, ...] = (Zone(1820.0, 1860.0, "gulf_coast"), Zone(2240.0, 2300.0, "ekofisk")),
    seed: int = 1,
) -> Composition:
    """Return a simulated well whose zones hold published gases, over a weak background of dry gas.

    Parameters
    ----------
    top_m, bottom_m, step_m
        Depths.
    zones
        Intervals and their gases (names of ``data/gases.csv``).
    seed
        Of the random variation with depth.
    """
    depth = np.asarray(top_m + step_m * np.arange(round((bottom_m - top_m) / step_m) + 1), dtype=np.float64)
    rng = np.random.default_rng(seed)
    gases = published_gases()
    total = 400.0 * _variation(rng, depth, 0.4)
    ppm = {name: total * gases["gulf_coast"].get(name, 0.0) for name in _MEASURED}
    for zone in zones:
        inside = _ramp(depth, zone, 2.0) * 20_000.0 * _variation(rng, depth, 0.25)
        for name in _MEASURED:
            ppm[name] = ppm[name] + inside * gases[zone.gas or "gulf_coast"].get(name, 0.0)
    derived = _derived(rng, depth, ppm, zones)
    return Composition(
        well="Simulated-1",
        depth_m=depth,
        ppm={**ppm, **derived},
        zones=zones,
        simulated=(*ppm, *derived),
        provenance="Everything is simulated; ratios of C1 to C5 in the zones are those of published gases "
        "(AGA Report No. 8 reference gases), all other species follow rules of the forward model.",
    )


def composition_of_log(log: GasLog, *, seed: int = 1) -> Composition:
    """Return the composition of a real gas log, with the species it does not measure simulated.

    Parameters
    ----------
    log
        An imported gas log. Missing rows are filled by interpolation (and counted in the provenance), because the
        instrument of the simulation breathes something at every depth.
    seed
        Of the random variation of the simulated species.
    """
    depth = log.table["depth"].to_numpy()
    ppm: dict[str, Floats] = {}
    filled = 0
    for name in log.species:
        values = log.table[name].to_numpy()
        known = ~np.isnan(values)
        if not known.any():
            continue
        filled += int((~known).sum())
        ppm[name] = np.interp(depth, depth[known], values[known])
    zones = _zones_of(depth, ppm["methane"])
    complete = {name: ppm.get(name, np.zeros_like(depth)) for name in _MEASURED}
    rng = np.random.default_rng(seed)
    derived = {
        name: values
        for name, values in _derived(rng, depth, complete, zones).items()
        if name not in ppm or not ppm[name].any()  # a column of zeros says that the sensor was never fitted
    }
    measured = [name for name in ppm if name not in derived]
    return Composition(
        well=log.well,
        depth_m=depth,
        ppm={**ppm, **derived},
        zones=zones,
        simulated=tuple(derived),
        provenance=f"Measured: {', '.join(measured)} in the trap gas, from {log.report.source} ({depth.size} rows, "
        f"{filled} missing values interpolated). Simulated: {', '.join(derived)}.",
    )


def _derived(
    rng: np.random.Generator, depth: Floats, ppm: Mapping[str, Floats], zones: tuple[Zone, ...]
) -> dict[str, Floats]:
    """Amounts of the species that a chromatograph on a rig does not see, from those that it does."""
    butanes = ppm["isobutane"] + ppm["n_butane"]
    pentanes = ppm["isopentane"] + ppm["n_pentane"]
    step = np.clip(pentanes / np.maximum(butanes, 1e-9), 0.2, 0.7)  # how fast amounts fall from one carbon to the next
    hexane = 0.35 * step * pentanes
    heptane = 0.8 * step * hexane
    octane = 0.8 * step * heptane
    near = sum((_halo(depth, zone) for zone in zones), np.zeros_like(depth))  # 1 in a zone, fading above it
    inside = np.clip(sum((_ramp(depth, zone, 2.0) for zone in zones), np.zeros_like(depth)), 0.0, 1.0)
    hard = np.clip(_variation(rng, depth, 1.0) - 2.0, 0.0, 3.0)  # stretches where the bit cracks hydrocarbons
    methane = ppm["methane"]
    amounts = {
        "n_hexane": hexane,
        "n_heptane": heptane,
        "n_octane": octane,
        "cyclopentane": 0.10 * pentanes,
        "cyclohexane": 0.40 * hexane,
        "methylcyclohexane": 0.9 * heptane,
        "benzene": 0.15 * hexane + 1.5 * near,
        "toluene": 0.40 * heptane + 1.0 * near,
        "xylenes_ethylbenzene": 0.30 * octane + 0.3 * near,
        "ethylene": 0.01 * ppm["ethane"] * hard,
        "propylene": 0.01 * ppm["propane"] * hard,
        "hydrogen": 3.0 + 10.0 * hard,
        "helium": 1.0 + 0.004 * methane * inside,
        "carbon_dioxide": 60.0 + 0.03 * methane * inside,
        "hydrogen_sulfide": 0.2 + 3.0 * inside,
        "sulfur_dioxide": 0.05 + 0.1 * inside,
        "carbonyl_sulfide": 0.05 + 0.2 * inside,
        "carbon_disulfide": 0.02 + 0.1 * inside,
        "methanethiol": 0.02 + 0.2 * inside,
        "thiophene": 0.02 + 0.1 * inside,
        "formic_acid": 0.2 + 0.3 * near,
        "acetic_acid": 0.5 + 3.0 * near,
        "propanoic_acid": 0.1 + 0.6 * near,
        "butanoic_acid": 0.05 + 0.2 * near,
        "methanol": 0.5 + 0.2 * near,
        "ethanol": 0.3 + 0.1 * near,
        "acetone": 0.3 + 0.2 * near,
    }
    return {name: amount * _variation(rng, depth, 0.25) for name, amount in amounts.items()}


def _variation(rng: np.random.Generator, depth: Floats, spread: float) -> Floats:
    """Log-normal variation with depth, alike over some tens of metres, of median 1."""
    knots = max(int((depth[-1] - depth[0]) / 15.0), 1) + 2
    at = np.linspace(depth[0], depth[-1], knots)
    smooth: Floats = np.exp(spread * np.interp(depth, at, rng.standard_normal(knots)))
    return smooth


def _ramp(depth: Floats, zone: Zone, width_m: float) -> Floats:
    """1 inside a zone, 0 outside, with soft edges."""
    ramp: Floats = np.clip(np.minimum(depth - zone.top_m, zone.bottom_m - depth) / width_m + 0.5, 0.0, 1.0)
    return ramp


def _halo(depth: Floats, zone: Zone) -> Floats:
    """1 in a zone; above it, what water has carried up: fading within some 40 m."""
    above = np.clip(zone.top_m - depth, 0.0, None)
    below = np.clip(depth - zone.bottom_m, 0.0, None)
    halo: Floats = np.exp(-above / 40.0 - below / 5.0)
    return halo


def _zones_of(depth: Floats, methane: Floats) -> tuple[Zone, ...]:
    """Intervals of a log where methane stands well above its surroundings: thicker than 2 m, at most eight."""
    step = max(float(np.median(np.diff(depth))), 1e-3) if depth.size > 1 else 1.0
    window = max(round(400.0 / step), 3)
    series = pd.Series(methane)
    background = series.rolling(window, center=True, min_periods=1).median().to_numpy()
    rich = series.rolling(max(round(2.0 / step), 1), center=True, min_periods=1).mean().to_numpy() > 2.0 * background
    edges = np.flatnonzero(np.diff(np.concatenate(([False], rich, [False])).astype(np.int8)))
    found = [
        (float(methane[start:stop].max()), Zone(float(depth[start]), float(depth[stop - 1])))
        for start, stop in edges.reshape(-1, 2)
        if depth[stop - 1] - depth[start] > 2.0  # noqa: PLR2004 - thinner than a stand of pipe can resolve
    ]
    strongest = sorted(found, key=lambda pair: -pair[0])[:8]
    return tuple(sorted((zone for _, zone in strongest), key=lambda zone: zone.top_m))
