"""The quality panel: fit, scans, depth error and flags against depth; blanks and standards against time."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from nightwell.report import style
from nightwell.report.curves import StreamLog, thin
from nightwell.wells.deconvolve import SpeciesFlag
from nightwell.wells.streams import ScanKind, Stream

Floats = NDArray[np.float64]

BLANK_MZ = ((18, style.SKY), (28, style.BLUE), (40, style.BLACK), (44, style.ORANGE), (57, style.VERMILION))
_STANDARD_PEAKS = 4
_ROWS = 300  # that a panel of this width can show
_GASES = 3  # whose recovery is drawn, beside the drift
COLOURS = (style.BLUE, style.VERMILION, style.GREEN, style.ORANGE)
_FLAG_COLOURS = {
    SpeciesFlag.BELOW_DETECTION: "#d9d9d9",
    SpeciesFlag.SATURATED: style.VERMILION,
    SpeciesFlag.MISSING_INPUT: style.BLACK,
    SpeciesFlag.NEGATIVE_INPUT: style.SKY,
}


def write_quality_panel(
    result: xr.DataTree,
    path: str | PathLike[str],
    options: style.PlotOptions | None = None,
    scans: xr.DataTree | None = None,
) -> Path:
    """Write the panel as PNG or PDF; errors as :func:`draw_quality_panel` and :func:`~.style.write_figure`."""
    return style.write_figure(lambda: draw_quality_panel(result, options, scans), path)


def draw_quality_panel(
    result: xr.DataTree, options: style.PlotOptions | None = None, scans: xr.DataTree | None = None
) -> Figure:
    """Draw the quality panel of one stream on a new figure.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`.
    options
        Stream and interval.
    scans
        The raw scans, for blanks and standards of a result without a group ``qc``; without either those two panels say
        that they are not there.

    Raises
    ------
    InputError
        The result has no such stream, or no depth in the interval.
    """
    options = options or style.PlotOptions()
    log = style.cut(result, options, "quality panel")
    figure = style.new_figure()
    panels = _panels(figure)
    _draw_fit(panels[0], log)
    _draw_scans(panels[1], log)
    _draw_flags(panels[2], log)
    quality = result["qc"].to_dataset() if "qc" in result.children else None
    _draw_blanks(panels[3], blanks_of(quality, scans, options.stream), options.stream)
    _draw_standards(panels[4], standards_of(quality, scans))
    _draw_species(panels[5], log)
    for panel in panels[:3]:
        panel.set_xlim(float(log.depth[0]), float(log.depth[-1]))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        panel.set_xlabel("measured depth, m", fontsize=8)
    facts = result[options.stream].attrs
    condition = facts.get("condition_number")
    notes = (
        f"Baseline: {facts.get('baseline', 'unknown')}. Blank: {facts.get('blank', 'unknown')}. Internal standard: "
        f"{facts.get('internal_standard', 'unknown')}. Condition number of the library on these m/z: "
        f"{'unknown' if condition is None else f'{condition:.0f}'}."
    )
    style.frame(figure, result, f"Quality: {style.depths_in_words(log)}", notes)
    return figure


def _panels(figure: Figure) -> list[Axes]:
    """Two rows of two, and a third column whose lower panel is tall: it holds a row for each species."""
    height, short, tall = 0.245, 0.13, 0.345
    upper, lower = style.TOP - height - 0.015, style.BOTTOM + 0.04
    boxes = (
        (style.LEFT, upper, 0.235, height),
        (0.375, upper, 0.235, height),
        (0.745, style.TOP - short - 0.015, 0.195, short),
        (style.LEFT, lower, 0.235, height),
        (0.375, lower, 0.235, height),
        (0.745, lower, 0.195, tall),
    )
    return [figure.add_axes(box) for box in boxes]


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=9, loc="left", fontweight="bold")
    style.tidy(axes)
    axes.tick_params(labelsize=7.5)


def _draw_fit(axes: Axes, log: StreamLog) -> None:
    ratio = log.species["chi2"].to_numpy() / np.maximum(log.species["freedom"].to_numpy(), 1)
    known = np.isfinite(ratio) & (ratio > 0)
    axes.plot(log.depth[known], ratio[known], ".", markersize=1.5, color=style.BLUE, alpha=0.5, rasterized=True)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylim(*_around(ratio[known]))
    middle = f"{np.median(ratio[known]):.2f}" if known.any() else "none"
    _title(axes, f"chi2 / degrees of freedom (median {middle})")
    axes.yaxis.set_major_locator(LogLocator(10.0, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _around(values: Floats) -> tuple[float, float]:
    if not values.size:
        return 0.1, 10.0
    return min(0.3, float(values.min()) / 1.3), max(3.0, float(values.max()) * 1.3)


def _draw_scans(axes: Axes, log: StreamLog) -> None:
    columns = np.stack([log.species[name].to_numpy().astype(np.float64) for name in ("scan_count", "depth_error")])
    depth, shown = thin(log.depth, columns.T, _ROWS)
    axes.plot(depth, shown[:, 0], drawstyle="steps-mid", color=style.BLUE, linewidth=0.7)
    axes.set_ylim(0.0, None)
    axes.set_ylabel("scans", fontsize=8, color=style.BLUE)
    other = axes.twinx()
    other.plot(depth, shown[:, 1], color=style.VERMILION, linewidth=1.0)
    other.set_ylim(0.0, None)
    other.set_ylabel("depth error, m (one sigma)", fontsize=8, color=style.VERMILION)
    other.tick_params(labelsize=7.5)
    _title(axes, "scans per depth, depth error (medians)")
    other.spines["top"].set_visible(False)


def _draw_flags(axes: Axes, log: StreamLog) -> None:
    flag = log.species["cube_flag"]
    meanings = str(flag.attrs.get("flag_meanings", "")).split()
    masks = np.atleast_1d(flag.attrs.get("flag_masks", []))
    for row, mask in enumerate(masks.tolist()):
        held = (flag.to_numpy() & mask) != 0
        axes.plot(log.depth[held], np.full(held.sum(), row), "|", color=style.VERMILION, markersize=7,
                  markeredgewidth=0.8, rasterized=True)  # fmt: skip
        share = 100.0 * held.mean()
        axes.text(1.01, row, f"{share:.1f} %" if share else "none", transform=axes.get_yaxis_transform(), fontsize=7,
                  va="center")  # fmt: skip
    axes.set_yticks(range(len(meanings)), [name.replace("_", " ") for name in meanings])
    axes.set_ylim(len(meanings) - 0.4, -0.6)
    _title(axes, "flags of the cube (share of depths)")


def blanks_of(quality: xr.Dataset | None, scans: xr.DataTree | None, stream: Stream) -> xr.Dataset | None:
    """Return ``intensity`` (scan, mz), ``time`` and ``mz`` of blanks: of the analysis itself, else of the raw scans."""
    if quality is not None and "blank_intensity" in quality:
        own = np.flatnonzero(quality["blank_stream"].to_numpy() == stream.code)
        chosen = quality[["blank_intensity", "blank_time", "mz"]].isel(blank=own)
        return chosen.rename({"blank_intensity": "intensity", "blank_time": "time", "blank": "scan"}).load()
    return None if scans is None else _of_kind(scans, ScanKind.BLANK, stream)


def standards_of(
    quality: xr.Dataset | None, scans: xr.DataTree | None
) -> dict[str, tuple[NDArray[np.generic], Floats]]:
    """Return time and deviation [percent] of what standards showed, by label.

    Of a calibrated analysis the drift of the sensitivity, and what was found of the gases against their certificates;
    otherwise the largest peaks of the raw scans against the first standard.
    """
    if quality is not None and quality.sizes.get("standard", 0) > 0:
        return _calibrated(quality)
    chosen = None if scans is None else _of_kind(scans, ScanKind.STANDARD, None)
    if chosen is None or chosen.sizes["scan"] < 2:  # noqa: PLR2004 - a drift needs two
        return {}
    current = chosen["intensity"].to_numpy().astype(np.float64)
    first = np.nanmean(current[: max(1, min(5, current.shape[0] // 10))], axis=0)
    largest = np.argsort(-np.nan_to_num(first))[:_STANDARD_PEAKS].tolist()
    time, mz = chosen["time"].to_numpy(), chosen["mz"].to_numpy()
    return {f"m/z {mz[at]:.0f}": (time, 100.0 * (current[:, at] / first[at] - 1.0)) for at in largest}


def _calibrated(quality: xr.Dataset) -> dict[str, tuple[NDArray[np.generic], Floats]]:
    time = quality["standard_time"].to_numpy()
    found: dict[str, tuple[NDArray[np.generic], Floats]] = {}
    if time.size > 1:  # one run shows no drift
        found["sensitivity at m/z 28"] = (time, 100.0 * np.expm1(quality["drift_gain"].to_numpy().astype(np.float64)))
    if "recovery" in quality:
        recovery = quality["recovery"].to_numpy().astype(np.float64)
        sigma = quality["recovery_sigma"].to_numpy().astype(np.float64)
        best = np.argsort(np.nan_to_num(np.nanmedian(sigma, axis=0), nan=np.inf))[:_GASES].tolist() if time.size else []
        names = quality["gas"].to_numpy().tolist()
        found |= {f"found of {names[at].replace('_', ' ')}": (time, 100.0 * (recovery[:, at] - 1.0)) for at in best}
    return found


def _draw_blanks(axes: Axes, chosen: xr.Dataset | None, stream: Stream) -> None:
    _title(axes, f"blanks of {stream.replace('_', ' ')}")
    if chosen is None or not chosen.sizes["scan"]:
        style.absent(axes, "blanks of this stream")
        return
    time, mz = chosen["time"].to_numpy(), chosen["mz"].to_numpy()
    for wanted, colour in BLANK_MZ:
        if wanted in mz:
            current = chosen["intensity"].to_numpy()[:, np.flatnonzero(mz == wanted)[0]]
            axes.plot(time, np.where(current > 0, current, np.nan), ".", markersize=2.5, color=colour,
                      label=f"m/z {wanted}", rasterized=True)  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylabel("ion current, A", fontsize=8)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.28)
    axes.legend(
        fontsize=6.5, ncols=3, frameon=False, loc="upper left", handletextpad=0.1, columnspacing=0.8, markerscale=2
    )
    _dates(axes)


def _draw_standards(axes: Axes, shown: dict[str, tuple[NDArray[np.generic], Floats]]) -> None:
    _title(axes, "standards: deviation")
    if not shown:
        style.absent(axes, "standards")
        return
    for colour, (label, (time, change)) in zip(COLOURS, shown.items(), strict=False):
        axes.plot(time, change, ".", markersize=3.5, color=colour, label=label, rasterized=True)
    axes.axhline(0.0, color="black", linewidth=0.7)
    axes.set_ylabel("deviation, %", fontsize=8)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -0.5), high + 0.35 * max(high - low, 1.0))
    _legend(axes, columns=2)
    _dates(axes)


def _of_kind(scans: xr.DataTree, kind: ScanKind, stream: Stream | None) -> xr.Dataset:
    dataset = scans["scans"].to_dataset()
    chosen = dataset["kind"].to_numpy() == kind.code
    if stream is not None:
        chosen &= dataset["stream"].to_numpy() == stream.code
    return dataset[["intensity", "time", "mz"]].isel(scan=np.flatnonzero(chosen)).load()


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(
        fontsize=6.5, ncols=columns, frameon=False, loc="upper left", handletextpad=0.1, columnspacing=0.8,
        markerscale=2,
    )  # fmt: skip


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=2, maxticks=6)  # type: ignore[no-untyped-call]  # Matplotlib has no types for dates
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]  # as above
    axes.tick_params(axis="x", labelsize=6.5)
    axes.xaxis.get_offset_text().set_fontsize(7.5)
    axes.set_xlabel("time, UTC", fontsize=8)


def _draw_species(axes: Axes, log: StreamLog) -> None:
    """Draw for each species the share of depths with each flag, the rest being detected."""
    flag = log.species["flag"].to_numpy()
    names = [str(name).replace("_", " ") for name in log.species["species"].to_numpy().tolist()]
    at = np.arange(len(names))
    begun = np.zeros(len(names))
    for bit, colour in _FLAG_COLOURS.items():
        higher = [other for other in _FLAG_COLOURS if other > bit]
        counted = (flag & bit.value) != 0
        for other in higher:
            counted &= (flag & other.value) == 0
        share = 100.0 * counted.mean(axis=0)
        axes.barh(at, share, left=begun, height=0.85, color=colour, label=str(bit.name).lower().replace("_", " "))
        begun += share
    axes.set_yticks(at, names)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, 100))
    axes.set_xlabel("share of depths, % (white: detected)", fontsize=8)
    _title(axes, "flags of species")
    axes.tick_params(axis="y", labelsize=5.4, length=1.5, pad=1)
    axes.legend(fontsize=6, frameon=False, loc="upper center", bbox_to_anchor=(0.4, -0.135), ncols=2, columnspacing=1.0)
