"""Indicators from curves: amounts of species, or ion currents, with sigma and detection limits carried through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.wells.deconvolve import DECISION_SIGMAS, flag_attributes
from nightwell.wells.formula import Quantity, split_name
from nightwell.wells.profiles import Inputs, Profile, mz_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class IndicatorFlag(IntFlag):
    """What to know before using the value of an indicator."""

    NOT_DETECTED = 1  # a denominator is below its detection limit: there is no ratio, and the value is NaN
    MISSING_INPUT = 2  # an input was not measured: the value is NaN
    BELOW_DETECTION = 4  # no input of the numerator was detected, or the value is within 1.645 sigma of zero
    SATURATED = 8  # an input stood on saturated peaks
    NO_PARTNER = 16  # across streams: another stream has nothing within the tolerance; the value is NaN
    OTHER_DEPTH = 32  # across streams: a depth of other indicators, not of this one's own; the value is NaN


@dataclass(frozen=True, slots=True)
class Curve:
    """One input of an indicator against depth.

    Parameters
    ----------
    value
        float64 (depth,); NaN where missing.
    sigma
        One-sigma, or ``None`` when it is not known (as on a mud log).
    detected
        Where the value is above its detection limit.
    saturated
        Where it stood on saturated peaks; ``None`` for nowhere.
    """

    value: Floats
    sigma: Floats | None
    detected: Bools
    saturated: Bools | None = None

    @classmethod
    def of_log(cls, value: Floats, *, limit: float = 0.0) -> Curve:
        """Make a curve from a log without errors: detected is what is above ``limit``."""
        known = np.asarray(value, dtype=np.float64)
        return cls(known, None, known > limit)


@dataclass(frozen=True, slots=True)
class Curves:
    """All inputs at the same depths.

    Parameters
    ----------
    curves
        By name: of species, or ``mz57`` and the like.
    covariance
        float64 (depth, name, name) in the order of ``correlated``; ``None`` when errors are independent.
    correlated
        Names of the axes of ``covariance``.
    """

    curves: Mapping[str, Curve]
    covariance: Floats | None = None
    correlated: tuple[str, ...] = ()

    @property
    def depths(self) -> int:
        """Number of depths."""
        return next(iter(self.curves.values())).value.size if self.curves else 0


@dataclass(frozen=True, slots=True)
class Indicator:
    """One indicator against depth: float64 value and sigma (NaN where unknown), uint8 :class:`IndicatorFlag`."""

    value: Floats
    sigma: Floats
    flag: NDArray[np.uint8]


def applicable(profile: Profile, names: Iterable[str]) -> bool:
    """Tell whether curves of these names suffice for a profile."""
    known = set(names)
    return known.issuperset(profile.formula.required) and all(
        not known.isdisjoint(total) for total in profile.formula.totals
    )


def evaluate(profile: Profile, inputs: Curves) -> Indicator:
    """Evaluate one profile at all depths.

    Parameters
    ----------
    profile
        For which :func:`applicable` holds.
    inputs
        The curves.

    Returns
    -------
    Indicator
        Sigma by first-order propagation, with the covariance where it is given.
    """
    used = [name for name in profile.formula.names if name in inputs.curves]
    quantities = {
        name: Quantity(
            inputs.curves[name].value, {name: np.ones(1)}, inputs.curves[name].detected, np.zeros(1, dtype=bool)
        )
        for name in used
    }
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        result = profile.formula.evaluate(quantities)
        depths = inputs.depths
        value = np.broadcast_to(result.value, depths).copy()
        value[~np.isfinite(value)] = np.nan
        sigma = _sigma(result.gradient, inputs)
    sigma[np.isnan(value)] = np.nan
    undetected = np.broadcast_to(result.undetected_divisor, depths)
    flag = np.zeros(depths, dtype=np.uint8)
    flag[undetected] |= IndicatorFlag.NOT_DETECTED.value
    flag[np.isnan(value) & ~undetected] |= IndicatorFlag.MISSING_INPUT.value
    with np.errstate(invalid="ignore"):
        small = ~np.broadcast_to(result.detected, depths) | (np.abs(value) < DECISION_SIGMAS * sigma)
    flag[~np.isnan(value) & small] |= IndicatorFlag.BELOW_DETECTION.value
    for name in used:
        saturated = inputs.curves[name].saturated
        if saturated is not None:
            flag[saturated] |= IndicatorFlag.SATURATED.value
    return Indicator(value, sigma, flag)


def indicator_dataset(profiles: Iterable[Profile], inputs: Mapping[Inputs, Curves], depth: Floats) -> xr.Dataset:
    """Evaluate every profile that the curves suffice for.

    Parameters
    ----------
    profiles
        Candidates.
    inputs
        Curves of species, of ion currents, or both.
    depth
        float64 (depth,), m.

    Returns
    -------
    xarray.Dataset
        ``value``, ``sigma`` float32 and ``flag`` uint8, dims (depth, indicator); titles, units, groups and curve
        names along ``indicator``. Attribute ``not_computed`` names the profiles whose inputs are not there.
    """
    candidates = tuple(profiles)
    chosen = [one for one in candidates if one.inputs in inputs and applicable(one, inputs[one.inputs].curves)]
    results = [evaluate(profile, inputs[profile.inputs]) for profile in chosen]
    left_out = [profile.identity for profile in candidates if profile not in chosen]
    return indicators_as_dataset(chosen, results, depth, left_out)


def intensity_names(profiles: Iterable[Profile]) -> dict[str, int]:
    """Return the m/z that profiles on ion currents ask for, by the names they use (without a stream's)."""
    asked = (name for profile in profiles if profile.inputs is Inputs.INTENSITY for name in profile.formula.names)
    names = (split_name(name)[1] for name in asked)
    return {name: mz for name in names if (mz := mz_of(name)) is not None}


def _sigma(gradient: Mapping[str, Floats], inputs: Curves) -> Floats:
    variance = np.zeros(inputs.depths)
    place = {name: index for index, name in enumerate(inputs.correlated)}
    names = list(gradient)
    for position, name in enumerate(names):
        sigma = inputs.curves[name].sigma
        known = inputs.curves[name].value
        if sigma is None:
            return np.full(inputs.depths, np.nan)
        variance += np.where(np.isnan(known), 0.0, (gradient[name] * sigma) ** 2)
        for other in names[:position]:
            if inputs.covariance is not None and name in place and other in place:
                shared = inputs.covariance[:, place[name], place[other]]
                variance += 2.0 * np.nan_to_num(gradient[name] * gradient[other] * shared)
    return np.sqrt(np.maximum(variance, 0.0))


def indicators_as_dataset(
    chosen: list[Profile], results: list[Indicator], depth: Floats, left_out: list[str]
) -> xr.Dataset:
    """Lay results side by side, as :func:`indicator_dataset` returns them."""
    dims, shape = ("depth", "indicator"), (depth.size, len(results))
    value, sigma = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    flag = np.zeros(shape, np.uint8)
    for column, one in enumerate(results):
        value[:, column], sigma[:, column], flag[:, column] = one.value, one.sigma, one.flag
    words = {
        "indicator": [profile.name for profile in chosen],
        "title": [profile.title for profile in chosen],
        "units": [profile.units for profile in chosen],
        "group": [str(profile.group) for profile in chosen],
        "curve": [profile.curve for profile in chosen],
    }
    return xr.Dataset(
        {
            "value": (dims, value, {"long_name": "value, in the units of each indicator"}),
            "sigma": (dims, sigma, {"long_name": "one-sigma of value"}),
            "flag": (dims, flag, flag_attributes(IndicatorFlag)),
        },
        coords={
            "depth": ("depth", depth, {"units": "m"}),
            "version": ("indicator", np.array([profile.version for profile in chosen], dtype=np.int32)),
            **{name: ("indicator", np.array(texts, dtype=object)) for name, texts in words.items()},
        },
        attrs={"not_computed": left_out},
    )
