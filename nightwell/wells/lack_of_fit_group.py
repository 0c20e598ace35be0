"""The lack-of-fit test of a stream as a group of an analysis, and what it says in words."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import xarray as xr

from nightwell.wells.findings import Evidence, Finding, FindingKind
from nightwell.wells.lack_of_fit import LEAST_PROBABILITY, LEAST_SIGMAS, LackOfFit
from nightwell.wells.rules import QualityRule

#: Name of the group below a stream.
LACK_OF_FIT = "lack_of_fit"

_MOST_PEAKS = 6
_CAVEAT = "a fragment pattern that is wrong by more than its stated error looks the same: calibrate, then look again"


def lack_of_fit_dataset(found: LackOfFit, units: str, candidates: str) -> xr.Dataset:
    """Lay a test out as a dataset.

    Parameters
    ----------
    found
        The test.
    units
        Of amounts.
    candidates
        Version of the library that missing species were sought in.

    Returns
    -------
    xarray.Dataset
        Dims (window,): ``top``, ``bottom`` float64, m; ``chi2``, ``probability`` float32, ``freedom`` int16; dims
        (window, mz): ``standardised`` float32, sigmas. Attributes: ``fits``, ``statement``, ``units``, ``candidates``;
        ``peaks`` and ``missing``, JSON, as :class:`~nightwell.wells.lack_of_fit.UnexplainedPeak` and
        :class:`~nightwell.wells.lack_of_fit.MissingSpecies`.
    """
    metres = {"units": "m"}
    return xr.Dataset(
        {
            "top": ("window", found.top_m, metres),
            "bottom": ("window", found.bottom_m, metres),
            "chi2": ("window", found.chi2.astype(np.float32), {"units": "1"}),
            "freedom": ("window", found.freedom.astype(np.int16), {"units": "1"}),
            "probability": ("window", found.probability.astype(np.float32), {"units": "1"}),
            "standardised": (("window", "mz"), found.standardised.astype(np.float32), {"units": "1"}),
        },
        coords={"mz": ("mz", found.mz, {"units": "1"})},
        attrs={
            "fits": int(found.fits),
            "statement": str(found),
            "units": units,
            "candidates": candidates,
            "peaks": json.dumps([asdict(peak) for peak in found.peaks]),
            "missing": json.dumps([asdict(one) for one in found.missing]),
        },
    )


def find_missing(group: xr.Dataset, stream: str, rule: QualityRule) -> list[Finding]:
    """Say which species the library may lack, and which m/z no candidate explains."""
    missing, peaks = json.loads(group.attrs["missing"]), json.loads(group.attrs["peaks"])
    if not missing and not peaks:  # it fits, or spectra scatter more than they should, which tells no species
        return []
    windows = group.sizes["window"]
    poor = group["probability"].to_numpy() < LEAST_PROBABILITY
    found = []
    for one in missing:
        names = " or ".join(name.replace("_", " ") for name in (one["name"], *one["alternatives"]))
        intervals = one["intervals"] or [[one["top_m"], one["bottom_m"]]]
        where = ", ".join(f"{top:g} to {bottom:g} m" for top, bottom in intervals[:_MOST_PEAKS])
        more = f" and {len(intervals) - _MOST_PEAKS} more" if len(intervals) > _MOST_PEAKS else ""
        evidence = Evidence(
            one["name"], names, group.attrs["units"], one["amount"], one["amount"] / max(one["sigmas"], 1e-9),
            "", float("nan"), f"best amount, {one['top_m']:g} to {one['bottom_m']:g} m", 1, 1,
        )  # fmt: skip
        beyond = Evidence(
            one["name"], names, "1", one["sigmas"], float("nan"), ">=", LEAST_SIGMAS, "sigmas", 1, windows
        )
        words = (
            f"The library may lack {names}: it takes {100 * one['share']:.0f} % off what the fit leaves over; {where}"
        )
        found.append(
            Finding(
                FindingKind.QUALITY, stream, float(intervals[0][0]), float(intervals[-1][1]), words + more,
                rule.identity, rule.source, (evidence, beyond), (_CAVEAT,),
            )
        )  # fmt: skip
    if not missing:
        listed = ", ".join(str(peak["mz"]) for peak in peaks[:_MOST_PEAKS])
        words = (
            f"The library does not explain {np.count_nonzero(poor)} of {windows} averaged spectra (m/z {listed}),"
            " and no other known species does"
        )
        top, bottom = group["top"].to_numpy()[poor], group["bottom"].to_numpy()[poor]
        found.append(
            Finding(
                FindingKind.QUALITY, stream, float(top[0]), float(bottom[-1]), words, rule.identity, rule.source,
                (), (_CAVEAT,),
            )
        )  # fmt: skip
    return found
