"""Normalise a measured gas log by the drilling parameters beside it: no spectrum is needed, and none is simulated."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from nightwell.errors import InputError
from nightwell.wells.drilling import DrillingLog
from nightwell.wells.gas_log import GasLog
from nightwell.wells.normalise import Normalisation, normalised_dataset

_MAX_GAP_M = 1.0  # drilling parameters farther from a depth of the gas log do not stand for it


@dataclass(frozen=True, slots=True)
class NormalisedLog:
    """A gas log with its normalised amounts, and what was assumed for them.

    Parameters
    ----------
    table
        float64 columns by name with the unit (``methane_ppm``), one row per depth of the gas log; NaN where missing.
        ``exact_zeros`` names the gases that the log holds as exactly zero: perhaps clipped, or placeholders.
    notes
        What a person should know.
    """

    table: pd.DataFrame
    notes: tuple[str, ...]


def normalise_log(
    gases: GasLog, log: DrillingLog, settings: Normalisation | None = None, *, hole_diameter_m: float | None = None
) -> NormalisedLog:
    """Normalise a gas log.

    Parameters
    ----------
    gases
        Amounts against depth.
    log
        Drilling parameters by depth: rate of penetration and flow, and the hole's diameter when it has it.
    settings
        To what; by default the medians of the log.
    hole_diameter_m
        Where the log has none.

    Raises
    ------
    InputError
        A record in time, no flow, no diameter, or no depth that was drilled with the pumps on.
    """
    settings = settings or Normalisation()
    if log.time is not None or "flow" not in log.channels:
        raise _cannot(log, "rate of penetration and flow against depth", "a record in time" if log.time is not None
                      else "no flow", "give drilling parameters by depth, with the flow")  # fmt: skip
    measured = log.channels.get("hole_diameter")
    if measured is None or np.isnan(measured).all():
        if hole_diameter_m is None:
            raise _cannot(log, "the diameter of the hole", "none", "give --hole-diameter, in metres")
        measured = np.full(log.channels["depth"].size, hole_diameter_m)
    depth = gases.table["depth"].to_numpy()
    at = {"rop": log.channels["rop"], "flow": log.channels["flow"], "hole_diameter": measured}
    drilling = xr.Dataset(
        {name: ("depth", _nearest(depth, log.channels["depth"], values)) for name, values in at.items()},
        coords={"depth": depth},
    )
    names = list(gases.species)
    value = np.stack([gases.table[name].to_numpy() for name in names], axis=1)
    dims = ("depth", "species")
    species = xr.Dataset(
        {"value": (dims, value, {"units": "ppm"}), "sigma": (dims, np.full_like(value, np.nan))},
        coords={"depth": depth, "species": np.array(names, dtype=object)},
    )
    found = normalised_dataset(species, drilling, replace(settings))
    if found is None:
        raise _cannot(log, "depths drilled with the pumps on", "none", "give the parameters of the same interval")
    factor = found["factor"].to_numpy()
    normalised = found["value"].to_numpy()
    table: dict[str, np.ndarray] = {"depth_m": depth, "rop_m_h": drilling["rop"].to_numpy(), "factor": factor}
    table |= {f"{name}_ppm": value[:, at] for at, name in enumerate(names)}
    table |= {f"{name}_normalised_ppm": normalised[:, at] for at, name in enumerate(names)}
    table["c1n"] = found["c1n"].to_numpy()
    zeros = np.stack([gases.zeros[name].to_numpy() for name in names], axis=1)
    table["exact_zeros"] = np.array([" ".join(np.array(names)[row]) for row in zeros], dtype=object)
    missing = int(np.isnan(factor).sum())
    reference = ", ".join(f"{name} {value:.4g}" for name, value in found.attrs.items())
    notes = [
        f"normalised to {reference}",
        f"{missing} of {depth.size} depths not drilled, or without parameters: missing",
    ]
    if "hole_diameter" not in log.channels:
        notes.append(f"diameter of the hole taken as {hole_diameter_m:g} m throughout")
    return NormalisedLog(pd.DataFrame(table), tuple(notes))


def write_normalised(found: NormalisedLog, path: Path) -> None:
    """Write a normalised log as CSV; it appears whole or not at all."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        found.table.to_csv(draft, index=False, float_format="%.7g")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _nearest(depth: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the values of the nearest depths; NaN farther than a metre away."""
    right = np.clip(np.searchsorted(known, depth), 1, known.size - 1) if known.size > 1 else np.zeros(depth.size, int)
    left = np.maximum(right - 1, 0)
    at = np.where(np.abs(known[right] - depth) < np.abs(depth - known[left]), right, left)
    return np.where(np.abs(known[at] - depth) <= _MAX_GAP_M, values[at], np.nan)


def _cannot(log: DrillingLog, expected: str, found: str, next_step: str) -> InputError:
    return InputError(
        f"drilling parameters {log.report.source}",
        expected=expected,
        found=found,
        cause="another export of the rig's data",
        next_step=next_step,
    )
