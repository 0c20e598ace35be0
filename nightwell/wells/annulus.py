"""The annulus between hole and pipe: how much mud stands between the bit and the surface."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from nightwell.errors import InputError

_MIN_AREA_M2 = 1e-4


@dataclass(frozen=True, slots=True)
class Annulus:
    """Volume of mud above each depth.

    Parameters
    ----------
    depth_m
        Knots, increasing, from the surface down.
    volume_m3
        Volume between the surface and each knot; linear in between, and on beyond the last.
    """

    depth_m: NDArray[np.float64]
    volume_m3: NDArray[np.float64]

    def volume_above(self, depth_m: ArrayLike) -> NDArray[np.float64]:
        """Return the volume between the surface and a depth [m3].

        Parameters
        ----------
        depth_m
            Depths along the hole; NaN gives NaN. Above the surface the volume is zero.
        """
        depth = np.asarray(depth_m, dtype=np.float64)
        area = (self.volume_m3[-1] - self.volume_m3[-2]) / (self.depth_m[-1] - self.depth_m[-2])
        beyond = np.maximum(depth - self.depth_m[-1], 0.0) * area  # the hole that was drilled after the last knot
        volume: NDArray[np.float64] = np.interp(depth, self.depth_m, self.volume_m3) + beyond
        return volume

    def scaled(self, factor: float) -> Annulus:
        """Return the annulus with every volume scaled, as a carbide check tells (washed-out hole: above 1)."""
        return Annulus(self.depth_m, self.volume_m3 * factor)

    def scaled_by_depth(self, depth_m: ArrayLike, factor: ArrayLike) -> Annulus:
        """Return the annulus with volumes scaled as checks at several depths tell.

        Parameters
        ----------
        depth_m, factor
            Increasing depths of the checks and what each measured, relative to this annulus; linear in between, and
            constant above the first and below the last.

        Raises
        ------
        InputError
            The checks contradict each other: less mud would stand above a deeper bit.
        """
        at = np.asarray(depth_m, dtype=np.float64)
        knots = np.unique(np.concatenate((self.depth_m, at)))
        volume = self.volume_above(knots) * np.interp(knots, at, np.asarray(factor, dtype=np.float64))
        if (np.diff(volume) < 0).any():
            row = int(np.argmax(np.diff(volume) < 0))
            raise InputError(
                "carbide checks",
                expected="more mud above a deeper bit",
                found=f"{volume[row]:.1f} m3 above {knots[row]:g} m, {volume[row + 1]:.1f} above {knots[row + 1]:g} m",
                cause="the time of a check is wrong, or a pump was counted that did not run",
                next_step="leave that check out",
            )
        return Annulus(knots, volume)


def annulus_of_sections(
    top_m: ArrayLike, bottom_m: ArrayLike, hole_diameter_m: ArrayLike, pipe_diameter_m: ArrayLike
) -> Annulus:
    """Return the annulus of a hole made of sections (riser, casing, open hole), from the top down.

    Notes
    -----
    ``V = sum pi / 4 (D_hole^2 - D_pipe^2) L``; in oil-field units ``(Dh^2 - Dp^2) / 1029.4`` bbl per ft with inches.

    Raises
    ------
    InputError
        Sections overlap or leave a gap, or a pipe is as wide as its hole.
    """
    top, bottom = np.asarray(top_m, dtype=np.float64), np.asarray(bottom_m, dtype=np.float64)
    area = _area(np.asarray(hole_diameter_m, dtype=np.float64), np.asarray(pipe_diameter_m, dtype=np.float64))
    if top.size == 0 or (bottom <= top).any() or not np.allclose(top[1:], bottom[:-1]):
        raise InputError(
            "sections of the hole",
            expected="at least one section, each beginning where the one above ends",
            found=", ".join(f"{a:g}-{b:g} m" for a, b in zip(top, bottom, strict=True)) or "none",
            cause="a section is missing or listed twice",
            next_step="list the sections from the surface down, without gaps",
        )
    volume = np.concatenate(([0.0], np.cumsum(area * (bottom - top))))
    return Annulus(np.concatenate((top[:1], bottom)), volume)


def annulus_of_drilling(drilling: xr.Dataset) -> Annulus:
    """Return the annulus that the drilling series itself tells: the hole is as wide as it was drilled.

    Parameters
    ----------
    drilling
        Group ``/drilling`` of raw scans. Above the first depth of the series its first diameters are taken.

    Raises
    ------
    InputError
        A pipe is as wide as its hole, or no row has a depth.
    """
    depth = drilling["bit_depth"].to_numpy()
    deepest = np.fmax.accumulate(np.nan_to_num(depth, nan=-np.inf))
    drilled = np.concatenate(([True], deepest[1:] > deepest[:-1])) & (deepest > 0)
    if not drilled.any():
        raise InputError(
            "variable 'bit_depth' of group '/drilling'",
            expected="at least one depth below the surface",
            found="none",
            cause="the series was recorded without the bit in the hole",
            next_step="import the drilling parameters of the interval",
        )
    knots = np.concatenate(([0.0], deepest[drilled]))
    area = _area(drilling["hole_diameter"].to_numpy()[drilled], drilling["pipe_diameter"].to_numpy()[drilled])
    return Annulus(knots, np.concatenate(([0.0], np.cumsum(area * np.diff(knots)))))


def annulus_of(tree: xr.DataTree) -> Annulus:
    """Return the annulus of a well's raw scans: its ``/geometry`` when it has one, else from ``/drilling``."""
    if "geometry" in tree.children:
        geometry = tree["geometry"].to_dataset()
        return annulus_of_sections(
            *(geometry[name].to_numpy() for name in ("top", "bottom", "hole_diameter", "pipe_diameter"))
        )
    return annulus_of_drilling(tree["drilling"].to_dataset())


def lag_time_s(volume_m3: float, flow_m3_s: float) -> float:
    """Return the time mud needs from the bit to the surface [s] at a steady flow."""
    return volume_m3 / flow_m3_s


def lag_strokes(volume_m3: float, output_m3: float) -> int:
    """Return the pump strokes that lift mud from the bit to the surface, whole strokes."""
    return math.ceil(volume_m3 / output_m3)


def triplex_output_m3(liner_diameter_m: float, stroke_m: float, efficiency: float) -> float:
    """Return what one stroke of a triplex pump delivers [m3].

    Notes
    -----
    Three cylinders: ``3 pi / 4 D^2 S eff``; in oil-field units ``0.000243 D^2 S eff`` bbl with inches.
    """
    return 0.75 * math.pi * liner_diameter_m**2 * stroke_m * efficiency


def _area(hole: NDArray[np.float64], pipe: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = np.pi / 4.0 * (hole**2 - pipe**2)
    if not (area >= _MIN_AREA_M2).all():
        row = int(np.argmin(np.nan_to_num(area, nan=-np.inf)))
        raise InputError(
            "diameters of hole and pipe",
            expected="a hole wider than the pipe inside, in metres",
            found=f"hole {hole[row]:g} m, pipe {pipe[row]:g} m in row {row}",
            cause="the two were exchanged, are in other units, or are missing",
            next_step="correct the diameters",
        )
    return area
