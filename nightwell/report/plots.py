"""Every kind of plot by name: what the command line and flows choose from."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import xarray as xr

from nightwell.report import style
from nightwell.report.depth_log import DepthLogOptions, draw_depth_log
from nightwell.report.heat_map import write_heat_map
from nightwell.report.pixler import write_pixler
from nightwell.report.quality_panel import write_quality_panel
from nightwell.report.spectrum import write_spectrum
from nightwell.report.ternary import write_ternary


@dataclass(frozen=True, slots=True)
class PlotInputs:
    """What some plots show besides the result: the cubes, and the raw scans."""

    cube: xr.DataTree | None = None
    scans: xr.DataTree | None = None


def write_plot(
    kind: str,
    result: xr.DataTree,
    path: str | PathLike[str],
    options: style.PlotOptions | None = None,
    inputs: PlotInputs | None = None,
) -> Path:
    """Write a plot as PNG or PDF.

    Parameters
    ----------
    kind
        ``depth-log``, ``pixler``, ``ternary``, ``heat-map``, ``spectrum`` or ``quality``.
    result, options
        As the plot's own function.
    inputs
        Cubes and raw scans, for the plots that show them.

    Raises
    ------
    KeyError
        There is no such kind.
    InputError
        As the plot's own function.
    """
    options, inputs = options or style.PlotOptions(), inputs or PlotInputs()
    log_options = DepthLogOptions(options.stream, options.top_m, options.bottom_m)
    writers = {
        "depth-log": lambda: style.write_figure(lambda: draw_depth_log(result, log_options), path, log_options.dpi),
        "pixler": lambda: write_pixler(result, path, options),
        "ternary": lambda: write_ternary(result, path, options),
        "heat-map": lambda: write_heat_map(result, path, options, inputs.cube),
        "spectrum": lambda: write_spectrum(result, path, options, inputs.cube),
        "quality": lambda: write_quality_panel(result, path, options, inputs.scans),
    }
    return writers[kind]()
