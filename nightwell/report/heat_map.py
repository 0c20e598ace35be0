"""The heat map: ion current of every m/z against depth, and what the fit leaves of it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import NDArray

from nightwell.report import style
from nightwell.report.spectra import Spectra, spectra_of

Floats = NDArray[np.float64]

#: Peaks that a reader looks for, named over the map.
MARKED = {4: "He", 15: "C1", 18: "H2O", 28: "N2", 32: "O2", 40: "Ar", 44: "CO2", 57: "C4+", 78: "benzene",
          91: "toluene", 106: "xylenes"}  # fmt: skip
MOST_ROWS = 900
#: What is not this far above its noise is left white: of a map's thousands of cells, two sigma would speckle it.
LEAST_SIGMAS = 3.0


def write_heat_map(
    result: xr.DataTree,
    path: str | PathLike[str],
    options: style.PlotOptions | None = None,
    cube: xr.DataTree | None = None,
) -> Path:
    """Write the heat map as PNG or PDF; errors as :func:`draw_heat_map` and :func:`~.style.write_figure`."""
    return style.write_figure(lambda: draw_heat_map(result, options, cube), path)


def draw_heat_map(
    result: xr.DataTree, options: style.PlotOptions | None = None, cube: xr.DataTree | None = None
) -> Figure:
    """Draw the heat map of one stream on a new figure.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`.
    options
        Stream and interval.
    cube
        The cubes, for the noise of the measurement; without them it is estimated from the residuals.

    Raises
    ------
    InputError
        The result has no such stream, or no depth in the interval; otherwise as :func:`~.spectra.spectra_of`.
    """
    options = options or style.PlotOptions()
    log = style.cut(result, options, "heat map")
    spectra = spectra_of(result, options.stream, cube=cube)
    rows = np.flatnonzero((spectra.depth >= log.depth[0]) & (spectra.depth <= log.depth[-1]))
    figure = style.new_figure()
    height = style.TOP - style.BOTTOM - 0.045
    left = figure.add_axes((style.LEFT, style.BOTTOM, 0.40, height))
    right = figure.add_axes((0.582, style.BOTTOM, 0.30, height), sharey=left)
    _draw_current(figure, left, spectra, rows)
    _draw_residual(figure, right, spectra, rows)
    left.set_ylabel("measured depth, m")
    left.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    right.tick_params(labelleft=False)
    step = -(-rows.size // MOST_ROWS)
    grouped = f"Each row is the median of {step} depths. " if step > 1 else "Each row is one depth. "
    notes = (
        f"{grouped}White: not measured, or less than three sigma of noise once the blank is removed. Residual: "
        f"measured less fit, {spectra.noise_source}; purple: the library explains too little, orange: too much."
    )
    style.frame(figure, result, f"m/z against depth: {style.depths_in_words(log)}", notes)
    return figure


def binned(values: Floats, rows: NDArray[np.intp], most: int = MOST_ROWS) -> Floats:
    """Return medians of neighbouring rows, float64 (at most ``most``, column); NaN where a group has no value."""
    step = max(1, -(-rows.size // most))
    chosen = values[rows]
    if step == 1:
        return chosen
    padding = -rows.size % step
    padded = np.concatenate([chosen, np.full((padding, chosen.shape[1]), np.nan)])
    ordered = np.sort(padded.reshape(-1, step, chosen.shape[1]), axis=1)  # NaN last
    count = np.isfinite(ordered).sum(axis=1, keepdims=True)
    low, high = (
        np.take_along_axis(ordered, at, axis=1)[:, 0]
        for at in (np.maximum(count - 1, 0) // 2, np.minimum(count // 2, step - 1))
    )
    with np.errstate(invalid="ignore"):
        return np.where(count[:, 0] > 0, (low + high) / 2.0, np.nan)


def above_noise(spectra: Spectra, rows: NDArray[np.intp], most: int = MOST_ROWS) -> Floats:
    """Return the currents, grouped as :func:`binned`, that stand above the noise of their group [A]; NaN elsewhere.

    The median of n values scatters 1.2533 times their sigma over the root of n (n above 2; normal scatter).
    """
    step = max(1, -(-rows.size // most))
    factor = 1.0 if step < 3 else 1.2533  # noqa: PLR2004 - the mean of two, or one
    image = binned(spectra.measured, rows, most)
    noise = binned(spectra.noise, rows, most) * factor / np.sqrt(step)
    with np.errstate(invalid="ignore"):
        return np.where(image > LEAST_SIGMAS * noise, image, np.nan)


def _extent(spectra: Spectra, rows: NDArray[np.intp]) -> tuple[float, float, float, float]:
    depth = spectra.depth[rows]
    half = 0.5 * float(np.median(np.diff(depth))) if depth.size > 1 else 0.5
    return spectra.mz[0] - 0.5, spectra.mz[-1] + 0.5, float(depth[-1]) + half, float(depth[0]) - half


def _draw_current(figure: Figure, axes: Axes, spectra: Spectra, rows: NDArray[np.intp]) -> None:
    image = above_noise(spectra, rows)
    known = image[np.isfinite(image)]
    low, high = (np.percentile(known, (5, 100))) if known.size else (1e-14, 1e-9)
    shown = axes.imshow(
        image, aspect="auto", extent=_extent(spectra, rows), cmap=style.CURRENT, interpolation="nearest",
        norm=LogNorm(max(low, high * 1e-7), high),
    )  # fmt: skip
    _name_peaks(axes, spectra)
    _finish(axes)
    bar = figure.colorbar(shown, cax=figure.add_axes((0.487, style.BOTTOM, 0.010, 0.25)), extend="min")
    bar.set_label("ion current, A", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _draw_residual(figure: Figure, axes: Axes, spectra: Spectra, rows: NDArray[np.intp]) -> None:
    """Draw what the fit leaves, in sigma."""
    with np.errstate(invalid="ignore", divide="ignore"):
        left = spectra.residual / spectra.sigma
    most = 10.0
    shown = axes.imshow(
        binned(left, rows), aspect="auto", extent=_extent(spectra, rows), interpolation="nearest",
        cmap=mpl.colormaps[style.DIVERGING], norm=Normalize(-most, most),
    )  # fmt: skip
    _finish(axes)
    axes.set_title("what the fit leaves", fontsize=9)
    bar = figure.colorbar(shown, cax=figure.add_axes((0.893, style.BOTTOM, 0.010, 0.25)), extend="both")
    bar.set_label("residual / sigma", fontsize=8)
    bar.set_ticks([-most, -most / 2, 0.0, most / 2, most])
    bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    bar.ax.tick_params(labelsize=7)


def _name_peaks(axes: Axes, spectra: Spectra) -> None:
    for mz, name in MARKED.items():
        if spectra.mz[0] <= mz <= spectra.mz[-1]:
            axes.annotate(
                name, (mz, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 6), textcoords="offset points",
                rotation=90, ha="center", va="bottom", fontsize=7, arrowprops={"arrowstyle": "-", "linewidth": 0.5},
            )  # fmt: skip


def _finish(axes: Axes) -> None:
    axes.set_xlabel("m/z")
    axes.tick_params(labelsize=8)
