"""Import drilling parameters: what depth registration needs to know of the rig."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightwell.wells.import_report import ImportReport
from nightwell.wells.log_file import check_depth, read_log
from nightwell.wells.variables import check_increasing


@dataclass(frozen=True, slots=True)
class DrillingLog:
    """Drilling parameters, by depth or by time.

    Parameters
    ----------
    channels
        float64 arrays by channel (``depth``, ``rop`` [m/h], ``flow`` [m3/s], ``hole_diameter`` [m] ...), NaN where
        missing.
    time
        datetime64[ns], UTC, when the file is a record in time; ``None`` when it is a log in depth.
    report
        What the import changed.
    """

    channels: Mapping[str, NDArray[np.float64]]
    time: NDArray[np.datetime64] | None
    report: ImportReport


def import_drilling(path: Path | str) -> DrillingLog:
    """Import drilling parameters from CSV or LAS.

    Parameters
    ----------
    path
        A log in depth (depth and rate of penetration needed, depth increasing) or, when it has a time column, a
        record in time (bit depth and flow needed; the bit may go up).

    Raises
    ------
    NotFoundError
        There is no such file.
    InputError
        Zero rows, missing columns, depth or time out of order, an unknown unit or text among numbers.
    """
    path = Path(path)
    log = read_log(path, ("depth", "rop"), required_in_time=("bit_depth", "flow"))
    if log.times is None:
        check_depth(log.channels["depth"], source=path.name)
    else:
        check_increasing(log.times, subject=f"time of {path.name}")
    return DrillingLog(channels=log.channels, time=log.times, report=log.report)
