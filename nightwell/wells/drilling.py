"""Import drilling parameters: what depth registration needs to know of the rig."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.delimited import notes_of_times
from nightwell.wells.import_report import ImportReport
from nightwell.wells.log_file import check_depth, read_log
from nightwell.wells.variables import check_increasing
from nightwell.wells.wits0 import WitsUnits


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


#: Channels that tell the flow when it was not recorded itself.
STROKES = ("pump_strokes", "pump_strokes_1", "pump_strokes_2", "pump_strokes_3", "pump_strokes_4")


def import_drilling(path: Path | str, *, wits_units: WitsUnits | None = None) -> DrillingLog:
    """Import drilling parameters from CSV, LAS or a WITS level 0 stream.

    Parameters
    ----------
    path
        A log in depth (depth and rate of penetration needed, depth increasing) or, when it has a time column, a
        record in time (bit depth, and flow or pump strokes, needed; the bit may go up).
    wits_units
        Units of a WITS stream, which does not say.

    Raises
    ------
    NotFoundError
        There is no such file.
    InputError
        Zero rows, missing columns, depth or time out of order, an unknown unit or text among numbers.
    """
    path = Path(path)
    log = read_log(
        path,
        ("depth", "rop"),
        required_in_time=("bit_depth", "flow"),
        instead={"flow": STROKES},
        wits_units=wits_units,
    )
    if log.times is None:
        check_depth(log.channels["depth"], source=path.name)
        return DrillingLog(channels=log.channels, time=None, report=log.report)
    check_increasing(log.times, subject=f"time of {path.name}")
    if np.isnan(log.channels["bit_depth"]).all():
        raise InputError(
            f"bit depth of {path.name}",
            expected="at least one value",
            found=f"{log.times.size} rows empty or null",
            cause="the depth system was off",
            next_step="export an interval in which it was recorded",
        )
    report = replace(log.report, notes=(*log.report.notes, *notes_of_times(log.times)))
    return DrillingLog(channels=log.channels, time=log.times, report=report)
