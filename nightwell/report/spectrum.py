"""One spectrum: measured, fitted, whose peak is whose, and what is left over."""

from __future__ import annotations

from collections import Counter
from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nightwell.report import style
from nightwell.report.curves import StreamLog
from nightwell.report.spectra import Spectra, spectra_of

Floats = NDArray[np.float64]

_NAMED_PEAKS = 22
_NAMES_EACH = 2  # so that methane's fragments leave room for others
_LEAST_APART = 1.6  # m/z between two names at the same height
_DECADES = 5.5


def write_spectrum(
    result: xr.DataTree,
    path: str | PathLike[str],
    options: style.PlotOptions | None = None,
    cube: xr.DataTree | None = None,
) -> Path:
    """Write the spectrum at one depth as PNG or PDF; errors as :func:`draw_spectrum`, :func:`~.style.write_figure`."""
    return style.write_figure(lambda: draw_spectrum(result, options, cube), path)


def draw_spectrum(
    result: xr.DataTree, options: style.PlotOptions | None = None, cube: xr.DataTree | None = None
) -> Figure:
    """Draw the spectrum at one depth with its fit and its residual on a new figure.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`.
    options
        Stream and depth (the nearest that was measured); by default the depth with most gas in the interval.
    cube
        The cubes, for the noise of the measurement; without them it is estimated from the residuals.

    Raises
    ------
    InputError
        The result has no such stream, or no depth in the interval; otherwise as :func:`~.spectra.spectra_of`.
    """
    options = options or style.PlotOptions()
    log = style.cut(result, options, "spectrum")
    spectra = spectra_of(result, options.stream, cube=cube)
    row = spectra.nearest(most_gas_m(log) if options.depth_m is None else options.depth_m)
    figure = style.new_figure()
    left, width = style.LEFT + 0.01, style.RIGHT - style.LEFT - 0.01
    upper = figure.add_axes((left, 0.395, width, style.TOP - 0.395))
    lower = figure.add_axes((left, style.BOTTOM + 0.01, width, 0.165), sharex=upper)
    _draw_peaks(upper, spectra, row)
    _draw_residual(lower, spectra, row)
    upper.tick_params(labelbottom=False)
    _draw_quality(upper, result, options, row)
    stream = str(options.stream).replace("_", " ")
    notes = (
        "Bars: measured, blank removed; lines on them one sigma. Ticks: fit. Names: the species that gives most of the "
        f"peak in the fit, in grey one that is not detected at this depth. Residual: measured less fit, "
        f"{spectra.noise_source}. A hollow mark is at or below zero in the measurement."
    )
    style.frame(figure, result, f"Spectrum: {stream} at {spectra.depth[row]:,.1f} m", notes)
    return figure


def most_gas_m(log: StreamLog) -> float:
    """Return the depth with most gas; the middle of the interval when none was detected."""
    gas = log.curve("total_gas")
    if gas is None or not np.isfinite(gas.value).any():
        return float(log.depth[log.depth.size // 2])
    return float(log.depth[int(np.nanargmax(gas.value))])


def owners(spectra: Spectra, row: int) -> list[str]:
    """Return for each m/z the species that gives most of the fitted current; empty where none does."""
    parts = np.nan_to_num(spectra.design * np.maximum(spectra.amounts[row], 0.0))
    best = parts.argmax(axis=1)
    total = parts.sum(axis=1)
    return [
        spectra.species[k] if sum_ > 0 and parts[i, k] > 0.5 * sum_ else ""
        for i, (k, sum_) in enumerate(zip(best.tolist(), total.tolist(), strict=True))
    ]


def _draw_peaks(axes: Axes, spectra: Spectra, row: int) -> None:
    measured, fit = spectra.measured[row], spectra.fit[row]
    known = np.isfinite(measured)
    highest = float(np.nanmax(measured, initial=1e-12))
    floor = highest * 10.0**-_DECADES
    positive = known & (measured > 0)
    error = np.minimum(spectra.noise[row][positive], measured[positive] * 0.999)
    axes.bar(
        spectra.mz[positive], measured[positive], width=0.62, color="#b3cde0", edgecolor="#7f9fb8", linewidth=0.4,
        label="measured", yerr=error, error_kw={"elinewidth": 0.6, "ecolor": "#444444"},
    )  # fmt: skip
    shown = known & (fit > floor)
    axes.plot(
        spectra.mz[shown], fit[shown], "_", color=style.VERMILION, markersize=7.5, markeredgewidth=1.8, label="fit"
    )
    hollow = known & (measured <= 0)
    if hollow.any():
        axes.plot(spectra.mz[hollow], np.full(hollow.sum(), floor * 1.25), "v", color="none", markersize=3.5,
                  markeredgecolor=style.QUIET, markeredgewidth=0.6, label="not above zero")  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(floor, highest * 60.0)
    axes.set_ylabel("ion current, A")
    _name_peaks(axes, spectra, row)
    style.tidy(axes)
    axes.legend(loc="upper right", fontsize=8, frameon=False, ncols=3)


def _name_peaks(axes: Axes, spectra: Spectra, row: int) -> None:
    named = owners(spectra, row)
    height = np.fmax(spectra.measured[row], spectra.fit[row])
    taken: list[float] = []
    said: Counter[str] = Counter()
    for at in np.argsort(-np.nan_to_num(height))[: 3 * _NAMED_PEAKS].tolist():
        mz, name = float(spectra.mz[at]), named[at]
        close = any(abs(mz - other) < _LEAST_APART for other in taken)
        if not name or close or said[name] >= _NAMES_EACH or len(taken) >= _NAMED_PEAKS:
            continue
        taken.append(mz)
        said[name] += 1
        seen = bool(spectra.detected[row, spectra.species.index(name)])
        near = height[np.abs(spectra.mz - mz) <= _LEAST_APART]
        over = float(np.nanmax(near))  # clear of the neighbours' bars
        axes.annotate(
            f"{mz:.0f} {name.replace('_', ' ')}", (mz, over), xytext=(0, 5), textcoords="offset points",
            rotation=90, ha="center", va="bottom", fontsize=6.8, color="black" if seen else style.QUIET,
        )  # fmt: skip


def _draw_residual(axes: Axes, spectra: Spectra, row: int) -> None:
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.nan_to_num(spectra.residual[row] / spectra.sigma[row])
    axes.axhspan(-2, 2, color="#e8e8e8", zorder=0)
    axes.bar(spectra.mz, left, width=0.62, color=style.BLUE)
    axes.axhline(0.0, color="black", linewidth=0.6)
    most = max(4.0, 1.15 * float(np.abs(left).max(initial=0.0)))
    axes.set_ylim(-most, most)
    axes.set(xlabel="m/z", ylabel="residual / sigma", xlim=(spectra.mz[0] - 1.5, spectra.mz[-1] + 1.5))
    style.tidy(axes)


def _draw_quality(axes: Axes, result: xr.DataTree, options: style.PlotOptions, row: int) -> None:
    species = result[options.stream]["species"].to_dataset()
    chi2, freedom = float(species["chi2"][row]), int(species["freedom"][row])
    axes.text(
        0.0, 1.012, f"chi2 {chi2:.0f} on {freedom} degrees of freedom · {int(species['scan_count'][row])} scans · "
        f"depth +- {float(species['depth_error'][row]):.2f} m (one sigma)", transform=axes.transAxes, fontsize=8,
        va="bottom",
    )  # fmt: skip
