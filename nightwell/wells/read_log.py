"""A gas log read without spectra: its own amounts, as a result of one stream, so that the same rules read it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from nightwell.wells.deconvolve import SpeciesFlag, flag_attributes
from nightwell.wells.findings import Finding, FindingKind, findings_dataset
from nightwell.wells.gas_log import GasLog
from nightwell.wells.indicators import Curve, Curves, indicator_dataset
from nightwell.wells.interpret import Classification, interpretation_dataset
from nightwell.wells.profiles import Inputs, Profile
from nightwell.wells.read_well import read_well
from nightwell.wells.rules import QualityRule, Rules
from nightwell.wells.streams import Stream


def read_gas_log(
    log: GasLog, profiles: tuple[Profile, ...], classifications: tuple[Classification, ...], rules: Rules
) -> xr.DataTree:
    """Read a gas log.

    Parameters
    ----------
    log
        An imported log. It has no errors and no detection limits: above zero is detected, an exact zero is not (it
        may be a clipped negative or a placeholder), and sigma is unknown.
    profiles, classifications, rules
        What to compute, and how to read it.

    Returns
    -------
    xarray.DataTree
        As :func:`~nightwell.wells.analysis.analyse_well`, with ``trap_gas`` alone and without spectra, and
        ``/findings``. Nothing in it is simulated.
    """
    depth = log.table["depth"].to_numpy()
    names = log.species
    value = np.stack([log.table[name].to_numpy() for name in names], axis=1)
    flag = np.zeros(value.shape, dtype=np.uint8)
    flag[~(value > 0.0)] |= SpeciesFlag.BELOW_DETECTION.value
    flag[np.isnan(value)] |= SpeciesFlag.MISSING_INPUT.value
    unknown = np.full(value.shape, np.nan, dtype=np.float32)
    dims = ("depth", "species")
    species = xr.Dataset(
        {
            "value": (dims, value.astype(np.float32), {"units": "ppm"}),
            "sigma": (dims, unknown, {"units": "ppm"}),
            "detection_limit": (dims, unknown.copy(), {"units": "ppm"}),
            "flag": (dims, flag, flag_attributes(SpeciesFlag)),
        },
        coords={"depth": ("depth", depth, {"units": "m"}), "species": np.array(names, dtype=object)},
    )
    curves = {name: Curve.of_log(value[:, column]) for column, name in enumerate(names)}
    chosen = [one for one in profiles if one.align is None and Stream.TRAP_GAS in one.streams]
    indicators = indicator_dataset(chosen, {Inputs.SPECIES: Curves(curves)}, depth)
    stream = Stream.TRAP_GAS
    result = xr.DataTree.from_dict(
        {
            "/": xr.Dataset(
                attrs={
                    "well": log.well,
                    "simulated": 0,
                    "provenance": f"Measured: {', '.join(names)} in the trap gas, from {log.report.source}"
                    f" ({depth.size} rows). No errors and no detection limits are known.",
                    "rules": [rule.identity for rule in rules],
                }
            ),
            f"/{stream}/species": species,
            f"/{stream}/indicators": indicators,
            f"/{stream}/interpretation": interpretation_dataset(classifications, indicators, stream),
        }
    )
    found = (*_absurd(log, rules.quality), *read_well(result, rules))
    result["findings"] = xr.DataTree(findings_dataset(found))
    return result


def _absurd(log: GasLog, rule: QualityRule) -> list[Finding]:
    """Tell what the import set missing because no gas can be so much."""
    depth = log.table["depth"].to_numpy()
    return [
        Finding(
            FindingKind.QUALITY,
            str(Stream.TRAP_GAS),
            float(depth[0]),
            float(depth[-1]),
            f"Absurd: column {one.column} has {one.absurd} values as far out as {one.absurd_largest:,.10g}"
            f" {one.unit}; the import set them missing",
            rule.identity,
            rule.source,
        )
        for one in log.report.columns
        if one.absurd
    ]
