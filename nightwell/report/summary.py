"""A result in words: the intervals of a stream as a table for the terminal or a flow's artifact."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from nightwell.report.strips import reading_in_words
from nightwell.wells.interpret import Interval, find_intervals
from nightwell.wells.lack_of_fit_group import LACK_OF_FIT
from nightwell.wells.streams import Stream

_READING_WIDTH = 78


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """One stream in numbers.

    Parameters
    ----------
    stream
        Which.
    depths
        How many, and how many of them have no spectrum.
    top_m, bottom_m
        First and last depth.
    detected
        Species detected in at least a tenth of the depths, by the share of depths, largest first.
    chi2_per_freedom
        Median of chi2 over degrees of freedom: about 1 when the library explains the spectra.
    condition_number
        Of the library on the stream's m/z axis; NaN where the result does not say.
    lack_of_fit
        Whether the library explains the averaged spectra, in words; empty where it was not tested.
    intervals
        Downwards; no thinner than a hundredth of the stream's depths.
    """

    stream: Stream
    depths: int
    empty_depths: int
    top_m: float
    bottom_m: float
    detected: tuple[tuple[str, float], ...]
    chi2_per_freedom: float
    condition_number: float
    lack_of_fit: str
    intervals: tuple[Interval, ...]


def summarise(result: xr.DataTree, stream: Stream) -> StreamSummary:
    """Summarise one stream of a result."""
    group = result[stream]
    species = group["species"].to_dataset()
    depth = species["depth"].to_numpy()
    value, limit = species["value"].to_numpy(), species["detection_limit"].to_numpy()
    with np.errstate(invalid="ignore"):
        shares = (value > limit).mean(axis=0) if depth.size else np.zeros(species.sizes["species"])
    names = species["species"].to_numpy().tolist()
    common = sorted(((name, float(share)) for name, share in zip(names, shares, strict=True)), key=lambda one: -one[1])
    thickness_m = max(3.0, float(depth[-1] - depth[0]) / 100.0) if depth.size else 3.0
    fit = species["chi2"].to_numpy() / np.maximum(species["freedom"].to_numpy(), 1)
    return StreamSummary(
        stream=stream,
        depths=depth.size,
        empty_depths=int(np.isnan(fit).sum()),
        top_m=float(depth[0]) if depth.size else float("nan"),
        bottom_m=float(depth[-1]) if depth.size else float("nan"),
        detected=tuple((name, share) for name, share in common if share >= 0.1),  # noqa: PLR2004 - as documented
        chi2_per_freedom=float(np.nanmedian(fit)) if np.isfinite(fit).any() else float("nan"),
        condition_number=float(group.attrs.get("condition_number", "nan")),
        lack_of_fit=str(group[LACK_OF_FIT].attrs["statement"]) if LACK_OF_FIT in group.children else "",
        intervals=find_intervals(
            group["interpretation"].to_dataset(), group["indicators"].to_dataset(), min_thickness_m=thickness_m
        ),
    )


def summary_text(result: xr.DataTree, streams: Iterable[Stream] | None = None) -> str:
    """Return a result in words.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`.
    streams
        Which; by default all that are there.
    """
    chosen = [stream for stream in (Stream if streams is None else streams) if stream in result.children]
    lines = [f"Well {result.attrs['well']}"]
    if result.attrs.get("simulated"):
        lines.append("SIMULATED in part:")
        lines += textwrap.wrap(str(result.attrs["provenance"]), 100, initial_indent="  ", subsequent_indent="  ")
    for stream in chosen:
        lines += ["", *_stream_lines(summarise(result, stream))]
    return "\n".join(lines) + "\n"


def _stream_lines(summary: StreamSummary) -> list[str]:
    species = ", ".join(f"{name} {100 * share:.0f} %" for name, share in summary.detected[:12]) or "none"
    lines = [
        (
            f"{summary.stream}: {summary.depths} depths, {summary.top_m:.1f} to {summary.bottom_m:.1f} m"
            f" ({summary.empty_depths} without a spectrum), chi2 per degree of freedom {summary.chi2_per_freedom:.2f}"
        ),
        *textwrap.wrap(f"detected in: {species}", 100, initial_indent="  ", subsequent_indent="    "),
    ]
    if summary.lack_of_fit:
        words = f"{summary.lack_of_fit} (condition number {summary.condition_number:.0f})"
        lines += textwrap.wrap(words, 100, initial_indent="  ", subsequent_indent="    ")
    if summary.intervals:
        lines.append(f"  {'top m':>9} {'bottom m':>9}  reading")
    for interval in summary.intervals:
        first, *rest = textwrap.wrap(reading_in_words(interval), _READING_WIDTH) or [""]
        lines.append(f"  {interval.top_m:9.1f} {interval.bottom_m:9.1f}  {first}")
        lines += [f"{'':22}{line}" for line in rest]
    return lines
