"""Gas normalised for how the hole was drilled: what the rock gave, not how fast it was cut and how much mud diluted it.

Two forms, both published in patents. ``C1N`` makes methane independent of drilling, in units of its own
[US20140379265]; ``G_N`` refers each gas to one rate of penetration, hole and flow, in ppm [US20150060054]::

    C1N = 11.6 * C1 * Q / (ROP * D^2)                       C1 in ppm, Q in gal/min, ROP in ft/h, D in inches
    G_N = G * (ROP_ref / ROP) * (D_ref / D)^2 * (Q / Q_ref) / E
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError

Floats = NDArray[np.float64]

_GALLON_MINUTE_M3_S = 3.785411784e-3 / 60.0
_FOOT_M = 0.3048
_INCH_M = 0.0254
_C1N = 11.6

#: Slower than this nothing was cut: a rate near zero would make any gas look enormous [m/h].
MIN_ROP_M_H = 0.5


@dataclass(frozen=True, slots=True)
class Normalisation:
    """To what gas is normalised.

    Parameters
    ----------
    rop_m_h, flow_m3_s, hole_diameter_m
        The reference; ``None`` for the median of the well, so that the typical row keeps its amount.
    trap_efficiency
        Share of its gas that the trap frees from the mud, 0 to 1.
    efficiencies
        The same for single species, by name: heavier ones leave the mud less readily.
    """

    rop_m_h: float | None = None
    flow_m3_s: float | None = None
    hole_diameter_m: float | None = None
    trap_efficiency: float = 1.0
    efficiencies: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        named = (("every species", self.trap_efficiency), *self.efficiencies)
        for name, efficiency in named:
            if not 0.0 < efficiency <= 1.0:
                raise InputError(
                    f"trap efficiency of {name}", expected="above 0 and up to 1", found=f"{efficiency:g}",
                    cause="it was given in percent", next_step="give a share",
                )  # fmt: skip


def c1n(methane_ppm: Floats, rop_m_h: Floats, flow_m3_s: Floats, hole_diameter_m: Floats) -> Floats:
    """Return normalised methane [US20140379265], in its own unit; NaN where nothing was drilled or pumped.

    Parameters
    ----------
    methane_ppm, rop_m_h, flow_m3_s, hole_diameter_m
        float64, broadcast.
    """
    rop_ft_h = _drilled(rop_m_h) / _FOOT_M
    flow_gpm = _positive(flow_m3_s) / _GALLON_MINUTE_M3_S
    diameter_in = _positive(hole_diameter_m) / _INCH_M
    return np.asarray(_C1N * methane_ppm * flow_gpm / (rop_ft_h * diameter_in**2), dtype=np.float64)


def gas_factor(
    rop_m_h: Floats, flow_m3_s: Floats, hole_diameter_m: Floats, *, reference: tuple[float, float, float]
) -> Floats:
    """Return what amounts are multiplied by [US20150060054], trap efficiency left out; NaN where nothing was drilled.

    Parameters
    ----------
    rop_m_h, flow_m3_s, hole_diameter_m
        float64, broadcast.
    reference
        Rate of penetration [m/h], flow [m3/s] and diameter [m] referred to.
    """
    rop_ref, flow_ref, diameter_ref = reference
    rop, flow, diameter = _drilled(rop_m_h), _positive(flow_m3_s), _positive(hole_diameter_m)
    return np.asarray((rop_ref / rop) * (diameter_ref / diameter) ** 2 * (flow / flow_ref), dtype=np.float64)


def normalised_dataset(species: xr.Dataset, drilling: xr.Dataset, settings: Normalisation) -> xr.Dataset | None:
    """Return normalised amounts on the depths of a result.

    Parameters
    ----------
    species
        ``value`` and ``sigma``, dims (depth, species): amounts of the trap gas.
    drilling
        ``rop`` [m/h], ``flow`` [m3/s] and ``hole_diameter`` [m] on the same depths.
    settings
        To what.

    Returns
    -------
    xarray.Dataset
        ``value`` and ``sigma`` float32 (depth, species), ``c1n`` float32 and ``factor`` float32 (depth). Attributes
        name the reference. ``None`` when no depth was drilled with the pumps on.
    """
    rop, flow, hole = (drilling[name].to_numpy().astype(np.float64) for name in ("rop", "flow", "hole_diameter"))
    usable = (rop >= MIN_ROP_M_H) & (flow > 0) & (hole > 0)
    if not usable.any():
        return None
    given = (settings.rop_m_h, settings.flow_m3_s, settings.hole_diameter_m)
    rop_ref, flow_ref, hole_ref = (
        float(np.median(values[usable])) if one is None else one
        for one, values in zip(given, (rop, flow, hole), strict=True)
    )
    factor = gas_factor(rop, flow, hole, reference=(rop_ref, flow_ref, hole_ref))
    names = [str(name) for name in species["species"].to_numpy()]
    single = dict(settings.efficiencies)
    efficiency = np.array([single.get(name, settings.trap_efficiency) for name in names])
    dims = ("depth", "species")
    scale = factor[:, None] / efficiency
    amounts = {
        "value": {**species["value"].attrs, "long_name": "normalised amount"},
        "sigma": {"long_name": "one-sigma of value, drilling taken as exact"},
    }
    found: dict[str, tuple[object, ...]] = {
        name: (dims, (species[name].to_numpy() * scale).astype(np.float32), attributes)
        for name, attributes in amounts.items()
    }
    found["factor"] = ("depth", factor.astype(np.float32), {"units": "1", "long_name": "before trap efficiency"})
    if "methane" in names:
        methane = c1n(species["value"].sel(species="methane").to_numpy().astype(np.float64), rop, flow, hole)
        found["c1n"] = (
            "depth",
            methane.astype(np.float32),
            {"long_name": "C1N: 11.6 C1 Q / (ROP D^2), oil-field units"},
        )
    return xr.Dataset(
        found,
        coords={"depth": species["depth"], "species": species["species"]},
        attrs={
            "rop_ref_m_h": rop_ref,
            "flow_ref_m3_s": flow_ref,
            "hole_diameter_ref_m": hole_ref,
            "trap_efficiency": settings.trap_efficiency,
        },
    )


def _positive(values: Floats) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    return np.where(array > 0.0, array, np.nan)


def _drilled(rop_m_h: Floats) -> Floats:
    array = np.asarray(rop_m_h, dtype=np.float64)
    return np.where(array >= MIN_ROP_M_H, array, np.nan)
