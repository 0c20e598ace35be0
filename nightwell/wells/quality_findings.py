"""What no reading may rest on, in words: gaps, absurd values, lack of fit, recycled gas."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.wells.background import find_runs
from nightwell.wells.findings import Evidence, Finding, FindingKind
from nightwell.wells.lack_of_fit_group import LACK_OF_FIT, find_missing
from nightwell.wells.log_curves import StreamLog
from nightwell.wells.rules import QualityRule, Rules
from nightwell.wells.streams import Stream
from nightwell.wells.zones import Show, find_echoes, median_of

#: Name under which an analysis may bring along the share of recycled gas against depth, beside the species.
RECYCLED_SHARE = "recycled_share"


def find_defects(result: xr.DataTree, log: StreamLog, rule: QualityRule) -> list[Finding]:
    """Find absurd amounts, intervals without a value, and spectra that the library does not explain."""
    found = []
    for start, stop in find_runs(log.absurd, log.depth, least_thickness_m=0.0, join_m=0.0):
        species = result[log.stream]["species"].to_dataset().isel(depth=slice(start, stop))
        worst = species["value"].max("depth")
        name = str(worst["species"].to_numpy()[int(np.nanargmax(worst.to_numpy()))])
        amount = float(worst.sel(species=name))
        words = f"Absurd: {name.replace('_', ' ')} {amount:,.0f} ppm; nothing was read at {stop - start} depths"
        found.append(_defect(log, start, stop, rule, words))
    for start, stop in find_runs(log.empty, log.depth, least_thickness_m=rule.least_gap_m, join_m=0.0):
        found.append(_defect(log, start, stop, rule, "Nothing was measured: no value, which is not zero"))
    species = result[log.stream]["species"].to_dataset()
    if "chi2" in species:
        fit = median_of(species["chi2"].to_numpy() / np.maximum(species["freedom"].to_numpy(), 1))
        if fit > rule.greatest_chi2:
            words = f"The species looked for do not explain the spectra: chi2 per degree of freedom is {fit:.1f}"
            found.append(_defect(log, 0, log.depth.size, rule, words))
    if LACK_OF_FIT in result[log.stream].children:
        found += find_missing(result[log.stream][LACK_OF_FIT].to_dataset(), log.stream, rule)
    return found


def _defect(log: StreamLog, start: int, stop: int, rule: QualityRule, words: str) -> Finding:
    return Finding(
        FindingKind.QUALITY, log.stream, float(log.depth[start]), float(log.depth[stop - 1]), words,
        rule.identity, rule.source,
    )  # fmt: skip


def find_recycled(
    result: xr.DataTree, logs: Mapping[Stream, StreamLog], shows: Mapping[Stream, list[Show]], rules: Rules
) -> list[Finding]:
    """Find recycled gas: by its share where the analysis knows it, else by the echoes of shows, and say which."""
    rule = rules.recycled
    log = logs.get(Stream(rule.stream))
    if log is None:
        return []
    species = result[log.stream]["species"].to_dataset()
    if RECYCLED_SHARE in species and np.isfinite(species[RECYCLED_SHARE].to_numpy()).any():
        fraction = species[RECYCLED_SHARE].to_numpy().astype(np.float64)
        with np.errstate(invalid="ignore"):
            holds = fraction >= rule.least_recycled
        runs = find_runs(holds, log.depth, least_thickness_m=rules.zone.least_thickness_m, join_m=rules.zone.join_m)
        return [_recycled_run(log, slice(*run), fraction, rules) for run in runs]
    echoes = [find_echoes(show, rule) for show in shows.get(Stream(rule.stream), [])]
    missing = Finding(
        FindingKind.NOT_ASSESSED, log.stream, float(log.depth[0]), float(log.depth[-1]),
        "The share of recycled gas is not known (no gas of the mud going in): only echoes of shows were sought,"
        f" {rule.least_lag_m:g} to {rule.greatest_lag_m:g} m below each",
        rule.identity, rule.source,
    )  # fmt: skip
    return [*(echo for echo in echoes if echo is not None), missing]


def _recycled_run(log: StreamLog, rows: slice, fraction: NDArray[np.float64], rules: Rules) -> Finding:
    value = median_of(fraction[rows])
    size = int(rows.stop - rows.start)
    evidence = Evidence(
        RECYCLED_SHARE, "Recycled share", "1", value, float("nan"), ">=", rules.recycled.least_recycled,
        "median", size, size,
    )  # fmt: skip
    return Finding(
        FindingKind.WARNING, log.stream, float(log.depth[rows.start]), float(log.depth[rows.stop - 1]),
        f"Recycled gas: {100 * value:.0f} % of the gas went round with the mud",
        rules.recycled.identity, rules.recycled.source, (evidence,),
    )  # fmt: skip
