"""The numbers of a page: one table of rows against depth, at a stated resolution, small enough to send by mail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.report.curves import StreamLog
from nightwell.report.heat_map import above_noise, binned
from nightwell.report.spectra import Spectra, spectra_of
from nightwell.report.ternary import shares_of, to_plane

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[np.generic]]

#: Rows of a page; a well with more depths is shown by medians of neighbours. With it a page stays under 16 MB.
MOST_ROWS = 8192
#: Cells of the heat map.
MOST_CELLS = 2**20
#: Decades of ion current that the heat map's codes span; code 1 is the lowest, 0 is "not above noise".
DECADES = 8.0
HIGHEST_CODE = 65535
#: Residuals are kept in steps of a tenth of a sigma.
RESIDUAL_STEP = 0.1
_NOT_MEASURED = -128


@dataclass(frozen=True, slots=True)
class Heat:
    """Spectra against depth on a regular grid, in codes.

    Parameters
    ----------
    top_m, bottom_m
        Edges of the grid.
    mz
        float64 (mz,).
    codes
        uint16 (row, mz): ``top_a * 10 ** ((code - HIGHEST_CODE) / HIGHEST_CODE * DECADES)`` amperes; 0 for none.
    residual
        int8 (row, mz): residual in steps of ``RESIDUAL_STEP`` sigma; -128 where not measured.
    highest_a
        Current of the highest code [A].
    design
        float32 (mz, species), A per unit of amount: amounts times design is the fit.
    """

    top_m: float
    bottom_m: float
    mz: Floats
    codes: NDArray[np.uint16]
    residual: NDArray[np.int8]
    highest_a: float
    design: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Content:
    """All numbers of a page.

    Parameters
    ----------
    log
        The stream, uncut.
    columns
        By name, each (row,): ``depth`` and, for a curve of name ``n``, ``v:n`` value and ``s:n`` sigma float32,
        ``f:n`` flags uint8 and for species ``l:n`` detection limit float32; ``air`` the share of air in the sample, by
        which amounts are divided before they meet the design matrix.
    species, indicators
        Names of the curves.
    units
        Unit of each curve.
    step
        How many depths a row stands for.
    heat
        ``None`` when the spectra cannot be rebuilt; ``why_no_heat`` says why.
    """

    log: StreamLog
    columns: Columns
    species: tuple[str, ...]
    indicators: tuple[str, ...]
    units: dict[str, str]
    step: int
    heat: Heat | None
    why_no_heat: str


def collect(result: xr.DataTree, log: StreamLog, indicators: tuple[str, ...], cube: xr.DataTree | None) -> Content:
    """Collect the numbers of a page.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`.
    log
        One of its streams.
    indicators
        Names of the indicators that a page shows; those that the result lacks are left out.
    cube
        The cubes, for residuals in sigma; without them sigma is estimated from the residuals.
    """
    step = -(-log.depth.size // MOST_ROWS)
    rows = np.arange(log.depth.size)
    columns: Columns = {"depth": binned(log.depth[:, None], rows, MOST_ROWS)[:, 0]}
    known = set(log.indicators["indicator"].to_numpy().tolist())
    shown = tuple(name for name in dict.fromkeys(indicators) if name in known)
    names = tuple(str(name) for name in log.species["species"].to_numpy().tolist())
    for dataset, dim, wanted in ((log.species, "species", names), (log.indicators, "indicator", shown)):
        order = dataset[dim].to_numpy().tolist()
        for name in wanted:
            _add_curve(columns, dataset, name, order.index(name))
    species = log.species
    share = species["air_fraction"].to_numpy() if "air_fraction" in species else np.ones(log.depth.size)
    columns["air"] = _thinned(share.astype(np.float64))
    places = to_plane(shares_of(log))
    for at, name in enumerate(("ternary_x", "ternary_y")):
        columns[name] = _thinned(places[:, at])
    units = dict.fromkeys(names, str(log.species["value"].attrs.get("units", "ppm")))
    listed = log.indicators["indicator"].to_numpy().tolist()
    units |= {name: str(log.indicators["units"].to_numpy()[listed.index(name)]) for name in shown}
    heat, why = None, ""
    try:
        heat = _heat(spectra_of(result, log.stream, cube=cube))
    except InputError as error:
        why = f"{error.subject}: {error.found}, {error.cause}"
    return Content(log, columns, names, shown, units, step, heat, why)


def _add_curve(columns: Columns, dataset: xr.Dataset, name: str, at: int) -> None:
    for letter, variable in (("v", "value"), ("s", "sigma"), ("l", "detection_limit")):
        if variable in dataset:
            columns[f"{letter}:{name}"] = _thinned(dataset[variable].to_numpy()[:, at].astype(np.float64))
    flag = dataset["flag"].to_numpy()[:, at]
    step = -(-flag.size // MOST_ROWS)
    padded = np.concatenate([flag, np.zeros(-flag.size % step, dtype=flag.dtype)]).reshape(-1, step)
    columns[f"f:{name}"] = np.bitwise_or.reduce(padded, axis=1).astype(np.uint8)


def _thinned(values: Floats) -> NDArray[np.float32]:
    return binned(values[:, None], np.arange(values.size), MOST_ROWS)[:, 0].astype(np.float32)


def _heat(spectra: Spectra) -> Heat:
    """Lay spectra on a regular grid of depths (the nearest depth of each grid row), and code them."""
    most = min(MOST_ROWS, MOST_CELLS // spectra.mz.size)
    every = np.arange(spectra.depth.size)
    with np.errstate(invalid="ignore", divide="ignore"):
        left = spectra.residual / spectra.sigma
    depth = binned(spectra.depth[:, None], every, most)[:, 0]
    measured, residual = above_noise(spectra, every, most), binned(left, every, most)
    half = 0.5 * float(np.median(np.diff(depth))) if depth.size > 1 else 0.5
    top, bottom = float(depth[0]) - half, float(depth[-1]) + half
    grid = top + (np.arange(depth.size) + 0.5) * (bottom - top) / depth.size
    nearest = np.abs(np.subtract.outer(grid, depth)).argmin(axis=1) if depth.size < 2 else _nearest(depth, grid)  # noqa: PLR2004 - a grid needs two
    measured, residual = measured[nearest], residual[nearest]
    highest = float(np.nanmax(measured, initial=1e-15))
    with np.errstate(invalid="ignore", divide="ignore"):
        code = HIGHEST_CODE * (1.0 + np.log10(measured / highest) / DECADES)
    codes = np.where(np.isfinite(code), np.clip(code, 1, HIGHEST_CODE), 0).astype(np.uint16)
    steps = np.clip(np.round(residual / RESIDUAL_STEP), -127, 127)
    coded = np.where(np.isfinite(steps), steps, _NOT_MEASURED).astype(np.int8)
    return Heat(top, bottom, spectra.mz, codes, coded, highest, spectra.design.astype(np.float32))


def _nearest(depth: Floats, grid: Floats) -> NDArray[np.intp]:
    right = np.clip(np.searchsorted(depth, grid), 1, depth.size - 1)
    nearer: NDArray[np.intp] = right - (grid - depth[right - 1] < depth[right] - grid)
    return nearer
