"""Recycled gas: what the pits did not let go is pumped down again and comes up a second time.

With ``t_in`` the moment at which the mud of a depth went into the pipe, the gas that the rock gave is

    G_net(t) = G_out(t) - rho(t_in) * G_out(t_in)

``rho`` is the share of its gas that mud still holds when it is pumped down: measured where the rig samples the mud
that goes in (total gas in over total gas out, at the same moment), a constant of the user's elsewhere. Currents are
linear in amounts, so it is done to each m/z, on depths, before any species is looked for; what is taken away carries
its variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError

Floats = NDArray[np.float64]

#: m/z at which hydrocarbons show and air hardly does: the measure of how much of the gas is recycled.
HYDROCARBON_MZ = (15, 26, 27, 39, 41, 43, 57)

_MIN_GAS_PPM = 10.0  # below, a ratio of total gas in to total gas out is one of two zeros of a sensor


@dataclass(frozen=True, slots=True)
class RecycledGas:
    """How recycled gas is removed.

    Parameters
    ----------
    share
        ``rho`` where the mud that goes in was not sampled; ``None`` to remove nothing there.
    surface_s
        How long mud stays in the pits: the gas that goes in at ``t`` is that which came out at ``t - surface_s``.
    measured
        Whether samples of the mud that goes in are used where there are some.

    Raises
    ------
    InputError
        A share outside 0 to 1, or a negative stay.
    """

    share: float | None = None
    surface_s: float = 0.0
    measured: bool = True

    def __post_init__(self) -> None:
        if (self.share is not None and not 0.0 <= self.share <= 1.0) or self.surface_s < 0.0:
            raise InputError(
                "recycled gas",
                expected="a share from 0 to 1, and a stay at the surface of 0 s or more",
                found=f"share {self.share}, {self.surface_s:g} s",
                cause="the share was given in percent",
                next_step="give the share of its gas that mud still holds when it is pumped down",
            )


@dataclass(frozen=True, slots=True)
class Passage:
    """When the mud of each row came out and when it had gone in.

    Parameters
    ----------
    out_s, in_s
        float64 (row), seconds of one clock; NaN where unknown.
    """

    out_s: Floats
    in_s: Floats


def shares_at(settings: RecycledGas, drilling: xr.Dataset, moment: NDArray[np.datetime64]) -> Floats:
    """Return ``rho`` at moments: measured where there are samples of both muds, else the constant, else NaN.

    Parameters
    ----------
    settings
        How.
    drilling
        Group ``/drilling``; ``gas_in`` and ``gas_out`` are used when it has both.
    moment
        datetime64[ns]; NaT gives NaN.
    """
    constant = np.where(np.isnat(moment), np.nan, np.nan if settings.share is None else settings.share)
    if not settings.measured or not {"gas_in", "gas_out"} <= set(drilling.data_vars):
        return constant
    gas_in, gas_out = drilling["gas_in"].to_numpy(), drilling["gas_out"].to_numpy()
    usable = (gas_in >= 0.0) & (gas_out > _MIN_GAS_PPM)
    if not usable.any():
        return constant
    times = drilling["time"].to_numpy()
    start = times[0]
    clock_s = (times[usable] - start).astype("timedelta64[ns]").astype(np.int64) / 1e9
    known = ~np.isnat(moment)
    moment_s = (np.where(known, moment, start) - start).astype("timedelta64[ns]").astype(np.int64) / 1e9
    ratio = np.clip(gas_in[usable] / gas_out[usable], 0.0, 1.0)
    measured = np.interp(moment_s, clock_s, ratio, left=np.nan, right=np.nan)
    return np.where(known & ~np.isnan(measured), measured, constant)


def recycled_current(passage: Passage, share: Floats, current: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Return the current that recycled gas gives each row, and its variance.

    Parameters
    ----------
    passage
        Of the rows.
    share
        float64 (row): ``rho`` when the row's mud went in; NaN where unknown.
    current, variance
        float64 (row, mz): of the gas that came out.

    Returns
    -------
    tuple
        Two float64 (row, mz); NaN where the share, or the gas of that moment, is unknown.
    """
    order = np.argsort(passage.out_s, kind="stable")
    order = order[~np.isnan(passage.out_s[order])]
    found, spread = np.full(current.shape, np.nan), np.full(current.shape, np.nan)
    for column in range(current.shape[1]):
        rows = order[~np.isnan(current[order, column])]
        if rows.size:
            clock = passage.out_s[rows]
            found[:, column] = np.interp(passage.in_s, clock, current[rows, column], left=np.nan, right=np.nan)
            spread[:, column] = np.interp(passage.in_s, clock, variance[rows, column], left=np.nan, right=np.nan)
    return share[:, None] * found, share[:, None] ** 2 * spread


def recycled_share(mz: Floats, current: Floats, recycled: Floats) -> Floats:
    """Return the share of each row's gas that is recycled, by its hydrocarbon ions.

    Parameters
    ----------
    mz
        float64 (mz).
    current, recycled
        float64 (row, mz): all of it, and what recycled gas gives.

    Returns
    -------
    float64 (row)
        0 to 1; NaN where unknown, or where the row has no hydrocarbon.
    """
    columns = np.isin(mz, HYDROCARBON_MZ)
    unknown = np.isnan(recycled[:, columns]).all(axis=1) if columns.any() else np.ones(current.shape[0], dtype=bool)
    total = np.nansum(np.maximum(current[:, columns], 0.0), axis=1)
    again = np.nansum(np.maximum(recycled[:, columns], 0.0), axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):  # no hydrocarbon: no share
        share = np.clip(again / total, 0.0, 1.0)
    return np.where(unknown | (total <= 0.0), np.nan, share)


def without_recycled(
    cube: xr.Dataset,
    settings: RecycledGas,
    drilling: xr.Dataset,
    out: NDArray[np.datetime64],
    entered: NDArray[np.datetime64],
) -> xr.Dataset:
    """Return the cube of the trap gas with recycled gas removed, and the share that it had.

    Parameters
    ----------
    cube
        One stream of a cube.
    settings
        How.
    drilling
        Group ``/drilling``.
    out, entered
        datetime64[ns] (depth): when the gas of each depth was seen, and when an instrument at the trap had seen the
        mud that became it; NaT where unknown.

    Returns
    -------
    xarray.Dataset
        With ``recycled_share`` and the attribute ``recycled``; the cube as it is when nothing is known of recycling.
    """
    moment = entered - np.timedelta64(round(settings.surface_s * 1e9), "ns")
    share = shares_at(settings, drilling, moment)
    if np.isnan(share).all():
        return cube
    start = np.nanmin(out)
    passage = Passage(_seconds(out, start), _seconds(moment, start))
    current = cube["intensity"].to_numpy().astype(np.float64)
    variance = cube["variance"].to_numpy().astype(np.float64)
    again, spread = recycled_current(passage, share, current, variance)
    found = recycled_share(cube["mz"].to_numpy(), current, again)
    made = cube.copy()
    made["intensity"] = cube["intensity"].copy(data=(current - np.nan_to_num(again)).astype(np.float32))
    made["variance"] = cube["variance"].copy(data=(variance + np.nan_to_num(spread)).astype(np.float32))
    attributes = {"units": "1", "long_name": "share of the gas that came round again"}
    made = made.assign_coords(recycled_share=("depth", found, attributes))
    sampled = ~np.isnan(shares_at(RecycledGas(measured=settings.measured), drilling, moment))
    rest = ", assumed elsewhere" if (~sampled & ~np.isnan(share)).any() else ""
    used = f"measured in the mud that goes in{rest}" if sampled.any() else "assumed"
    made.attrs["recycled"] = f"removed; share kept by the mud {used}, {np.nanmin(share):.3g} to {np.nanmax(share):.3g}"
    return made


def _seconds(time: NDArray[np.datetime64], start: np.datetime64) -> Floats:
    since = (time - start).astype("timedelta64[ns]")
    return np.where(np.isnat(since), np.nan, since.astype(np.int64) / 1e9)
