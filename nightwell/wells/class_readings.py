"""What the classes say of an interval, with the curves and thresholds that they rest on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from nightwell.wells.findings import Evidence, Finding, FindingKind
from nightwell.wells.interpret import classes_held, read_interval
from nightwell.wells.log_curves import StreamLog
from nightwell.wells.zones import Show, detection_caveats, evidence_of, median_of


@dataclass(frozen=True, slots=True)
class Reading:
    """What the classes say of an interval: in words, the curves it rests on, and the conditions that hold."""

    words: str
    evidence: tuple[Evidence, ...]
    thresholds: tuple[str, ...]


def read_classes(result: xr.DataTree, log: StreamLog, rows: slice, besides: str) -> Reading:
    """Return what the classes say of an interval; ``besides`` names a curve whose number is told already."""
    group = result[log.stream]
    interpretation, indicators = group["interpretation"].to_dataset(), group["indicators"].to_dataset()
    top_m, bottom_m = float(log.depth[rows.start]), float(log.depth[rows.stop - 1])
    read = read_interval(interpretation, indicators, top_m, bottom_m)
    if read is None or not read.readings:
        return Reading("no class holds in most of it", (), ())
    words = "; ".join(f"{title}: {reading}" for title, reading in read.readings.items())
    if read.dissent:
        words += f". {read.dissent}"
    curves = [log.curve(name) for name in read.values if name != besides]
    evidence = tuple(evidence_of(curve, rows) for curve in curves if curve is not None)
    every = interpretation.data_vars.values()
    return Reading(words, evidence, tuple(text for one in every for text in thresholds_of(one, rows)))


def thresholds_of(variable: xr.DataArray, rows: slice) -> list[str]:
    """Return the conditions of the classes that hold in most of some rows, with the classification they are of."""
    held = [str(variable.attrs["conditions"][k]) for k in classes_held(variable, rows.start, rows.stop)]
    only = str(variable.attrs["only_where"])
    suffix = f", only where {only}" if only else ""
    return [f"{condition}{suffix} ({variable.name}@{variable.attrs['version']})" for condition in held]


def find_origins(result: xr.DataTree, shows: Iterable[Show]) -> list[Finding]:
    """Compare the streams over each show of the mud gas."""
    if "across" not in result.children:
        return []
    indicators = result["across/indicators"].to_dataset()
    interpretation = result["across/interpretation"].to_dataset()
    found = []
    for show in shows:
        read = read_interval(interpretation, indicators, show.top_m, show.bottom_m)
        depth = interpretation["depth"].to_numpy()
        rows = slice(*np.searchsorted(depth, (show.top_m, np.nextafter(show.bottom_m, np.inf))).tolist())
        for variable in interpretation.data_vars.values():
            title = str(variable.attrs["long_name"])
            if read is None or title not in read.readings:
                continue
            evidence = tuple(_across_evidence(indicators, show, str(name)) for name in variable.attrs["rests_on"])
            found.append(
                Finding(
                    kind=FindingKind.ORIGIN,
                    stream="across",
                    top_m=show.top_m,
                    bottom_m=show.bottom_m,
                    statement=f"{title}: {read.readings[title]}",
                    rule=f"{variable.name}@{variable.attrs['version']}",
                    source=str(variable.attrs["source"]),
                    evidence=evidence,
                    caveats=detection_caveats(evidence),
                    thresholds=tuple(thresholds_of(variable, rows)),
                )
            )
    return found


def _across_evidence(indicators: xr.Dataset, show: Show, name: str) -> Evidence:
    one = indicators.sel(indicator=name)
    depth = one["depth"].to_numpy()
    inside = (depth >= show.top_m) & (depth <= show.bottom_m)
    value, sigma = (one[which].to_numpy().astype(np.float64)[inside] for which in ("value", "sigma"))
    return Evidence(
        name, str(one["title"].item()), str(one["units"].item()), median_of(value), median_of(sigma), "", float("nan"),
        "median", int(np.isfinite(value).sum()), int(inside.sum()),
    )  # fmt: skip
