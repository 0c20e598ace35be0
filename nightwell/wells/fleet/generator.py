"""A SIMULATED fleet: many wells from the forward model, to try and to measure a night on.

Nothing of it was measured; every well's name, provenance and results say so. Ratios of C1 to C5 in the zones are those
of published gases, the rest follows the rules of :mod:`nightwell.wells.composition`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from nightwell.errors import InputError
from nightwell.wells.composition import Zone, published_composition, published_gases
from nightwell.wells.container import write_scans
from nightwell.wells.simulate import Plan, Simulation, simulate_scans

_LEAST_LENGTH_M = 20.0
_MOST_WELLS = 100_000
_GASES_THAT_MATTER = ("ekofisk", "gulf_coast")


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """A fleet; the same plan gives the same scans.

    Parameters
    ----------
    wells
        How many.
    length_m
        Drilled interval of each [m]; with a scan every 30 s it decides how many scans there are.
    highest_mz
        The m/z axis runs from 1 to this; the library that ships needs 120.
    sample_every
        Mud and cuttings are taken at every so-many-th depth, as in :class:`~nightwell.wells.simulate.Plan`.
    seed
        Of the first well; each further well has the next.
    """

    wells: int
    length_m: float = 100.0
    highest_mz: int = 120
    sample_every: int = 20
    seed: int = 1

    def __post_init__(self) -> None:
        for name, found, expected, holds in (
            ("wells", self.wells, f"1 to {_MOST_WELLS}", 1 <= self.wells <= _MOST_WELLS),
            ("length_m", self.length_m, f"at least {_LEAST_LENGTH_M:g} m", self.length_m >= _LEAST_LENGTH_M),
            ("sample_every", self.sample_every, "at least 1", self.sample_every >= 1),
            ("seed", self.seed, "0 or more", self.seed >= 0),
        ):
            if not holds:
                raise InputError(
                    f"'{name}' of a simulated fleet",
                    expected=expected,
                    found=f"{found}",
                    cause="a mistyped number",
                    next_step="correct it",
                )


def simulated_well(plan: FleetPlan, number: int) -> xr.DataTree:
    """Return the raw scans of one well of a fleet, ``number`` from 0; labelled as simulated in its name too."""
    seed = plan.seed + number
    rng = np.random.default_rng(seed)
    top_m = float(1500 + 10 * rng.integers(0, 100))
    bottom_m = top_m + plan.length_m
    composition = published_composition(top_m=top_m, bottom_m=bottom_m, zones=_zones(rng, top_m, bottom_m), seed=seed)
    named = replace(composition, well=f"SIMULATED-{number:05d}")
    measured = Plan(sample_every=plan.sample_every, mz=tuple(range(1, plan.highest_mz + 1)))
    return simulate_scans(named, settings=Simulation(seed=seed, plan=measured))


def simulated_fleet(plan: FleetPlan) -> Iterator[xr.DataTree]:
    """Yield the raw scans of all wells of a fleet, one after the other."""
    for number in range(plan.wells):
        yield simulated_well(plan, number)


def write_fleet(plan: FleetPlan, folder: Path) -> tuple[Path, ...]:
    """Write a fleet as one container of raw scans for each well.

    Parameters
    ----------
    plan
        Which.
    folder
        Where; made if it is missing.

    Returns
    -------
    tuple of Path
        The containers.

    Raises
    ------
    ConflictError
        A container of such a name stands there already; it is not touched, and no well after it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for scans in simulated_fleet(plan):
        target = folder / f"{scans.attrs['well']}.zarr"
        write_scans(scans, target)
        written.append(target)
    return tuple(written)


def _zones(rng: np.random.Generator, top_m: float, bottom_m: float) -> tuple[Zone, ...]:
    """Return no, one or two zones, each at most a fifth of the interval thick."""
    known = [gas for gas in _GASES_THAT_MATTER if gas in published_gases()]
    length = bottom_m - top_m
    found = []
    for place in range(int(rng.integers(0, 3))):
        start = top_m + length * (0.1 + 0.45 * place + 0.2 * float(rng.random()))
        thickness = length * (0.05 + 0.15 * float(rng.random()))
        found.append(Zone(start, start + thickness, known[int(rng.integers(0, len(known)))]))
    return tuple(found)
