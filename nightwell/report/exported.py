"""What an export takes from a result: the curves of one stream, or the indicators across streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.report.curves import across_of
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]

#: Indicators across streams, in the place of a stream.
ACROSS: Final = "across"
Source: TypeAlias = Stream | Literal["across"]


@dataclass(frozen=True, slots=True)
class Exported:
    """Curves at the same depths.

    Parameters
    ----------
    depth
        float64 (depth,), m, increasing; never empty.
    species
        Amounts; ``None`` across streams, which have none of their own.
    indicators
        Indicators of the stream, or across streams.
    """

    depth: Floats
    species: xr.Dataset | None
    indicators: xr.Dataset


def take_curves(result: xr.DataTree, source: Source, subject: str) -> Exported:
    """Return what is to be exported; InputError when the result has no depth of it."""
    if source == ACROSS:
        across = across_of(result)
        if across is not None:
            return Exported(across["depth"].to_numpy().astype(np.float64), None, across)
    elif source in result.children and result[source]["species"].sizes["depth"]:
        group = result[source]
        species = group["species"].to_dataset()
        return Exported(species["depth"].to_numpy(), species, group["indicators"].to_dataset())
    raise InputError(
        f"{subject} of {describe(source)} of well {result.attrs.get('well')}",
        expected="a result with depths of it",
        found=f"groups {', '.join(result.children)}",
        cause="the stream was not measured in this well, or no two streams that an indicator compares were",
        next_step="choose a stream that is there",
    )


def describe(source: Source) -> str:
    """Return what is exported, in words."""
    return "indicators across streams" if source == ACROSS else f"stream {source}"
