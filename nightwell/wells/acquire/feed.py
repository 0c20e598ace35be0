"""What the rig is doing: rows for the group ``/drilling``, whether it drills, and from which depth mud arrives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.annulus import annulus_of_drilling
from nightwell.wells.container import make_dataset
from nightwell.wells.contract import DRILLING
from nightwell.wells.drilling import import_drilling
from nightwell.wells.lag import register_times
from nightwell.wells.rig import DrillingSeries, Rig, series_of_record

_ROWS_NEEDED = 2
_STEP_S = 10
_STEPS = 500_000


@dataclass(frozen=True, slots=True)
class RigState:
    """The rig at one moment.

    Parameters
    ----------
    drilling_since_s
        Since when it has been drilling without a pause [s since 1970]; None while it is not.
    returns_depth_m
        Depth that the mud arriving at the surface left the bit at [m]; None when it cannot be told.
    """

    drilling_since_s: float | None = None
    returns_depth_m: float | None = None


class RigFeed(Protocol):
    """Where the engine learns what the rig does."""

    @property
    def gas_line_delay_s(self) -> float:
        """Time the gas needs from the trap to the instrument [s]."""

    def state(self, now: np.datetime64) -> RigState:
        """Return the rig's state. Idempotent, does not block for long; a silent feed tells nothing, and is no error."""

    def rows(self, after: np.datetime64 | None, until: np.datetime64) -> DrillingSeries | None:
        """Return the rows after ``after``, up to ``until``; None when there are none. Idempotent."""


class SeriesFeed:
    """A drilling series that is known beforehand: of a simulation, or a record that is replayed.

    Parameters
    ----------
    series
        The series, at least two rows.
    gas_line_delay_s
        From the trap to the instrument.
    stale_s
        A rig whose last row is older than this tells nothing.
    """

    def __init__(self, series: DrillingSeries, gas_line_delay_s: float, *, stale_s: float = 3600.0) -> None:
        self._series = series
        self._delay_s = gas_line_delay_s
        self._stale = np.timedelta64(round(stale_s * 1e9), "ns")
        dataset = make_dataset(DRILLING, series.values(), {"gas_line_delay_s": gas_line_delay_s})
        self._moments = _moments(series.time)
        self._returns = _returns(self._moments, dataset, gas_line_delay_s)
        self._since_s = _drilling_since(series)

    @property
    def gas_line_delay_s(self) -> float:
        """Time the gas needs from the trap to the instrument [s]."""
        return self._delay_s

    def state(self, now: np.datetime64) -> RigState:
        """Return the rig's state at a moment."""
        row = int(np.searchsorted(self._series.time, now, side="right")) - 1
        if row < 0 or now - self._series.time[row] > self._stale:
            return RigState()
        at = int(np.searchsorted(self._moments, now, side="right")) - 1
        since_s, returns_m = float(self._since_s[row]), float(self._returns[at])
        return RigState(None if np.isnan(since_s) else since_s, None if np.isnan(returns_m) else returns_m)

    def rows(self, after: np.datetime64 | None, until: np.datetime64) -> DrillingSeries | None:
        """Return the rows in between."""
        time = self._series.time
        first = 0 if after is None else int(np.searchsorted(time, after, side="right"))
        last = int(np.searchsorted(time, until, side="right"))
        if last <= first:
            return None
        values = {name: array[first:last] for name, array in self._series.values().items()}
        return DrillingSeries(**values, provenance=self._series.provenance)  # type: ignore[arg-type]  # by variable name


class RecordFeed:
    """A file that the rig's recorder appends to (CSV with time, bit depth and flow); read again when it has grown.

    Parameters
    ----------
    path
        The file. Until it has two rows the feed tells nothing.
    rig
        Gas-line delay, and diameters where the record has none.
    """

    def __init__(self, path: Path, rig: Rig) -> None:
        self._path, self._rig = path, rig
        self._seen: tuple[int, int] | None = None
        self._feed: SeriesFeed | None = None

    @property
    def gas_line_delay_s(self) -> float:
        """Time the gas needs from the trap to the instrument [s]."""
        return self._rig.gas_line_delay_s

    def state(self, now: np.datetime64) -> RigState:
        """Return the rig's state at a moment."""
        feed = self._current()
        return RigState() if feed is None else feed.state(now)

    def rows(self, after: np.datetime64 | None, until: np.datetime64) -> DrillingSeries | None:
        """Return the rows in between."""
        feed = self._current()
        return None if feed is None else feed.rows(after, until)

    def _current(self) -> SeriesFeed | None:
        status = self._path.stat()
        if (status.st_size, status.st_mtime_ns) == self._seen:
            return self._feed
        try:
            log = import_drilling(self._path)
        except InputError:
            if self._feed is None:
                raise  # it was never a record; later a half-written last line is read again when it is whole
            return self._feed
        if log.time is not None and log.time.size >= _ROWS_NEEDED:
            self._feed = SeriesFeed(series_of_record(log, self._rig), self._rig.gas_line_delay_s)
        self._seen = (status.st_size, status.st_mtime_ns)
        return self._feed


def _moments(rows: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Return the times of the rows, and more where they are far apart: mud arrives between rows too."""
    seconds = rows.astype("datetime64[ns]").astype(np.int64) // 1_000_000_000
    step_s = max(_STEP_S, int(seconds[-1] - seconds[0]) // _STEPS)
    between = (np.arange(seconds[0] + step_s, seconds[-1], step_s) * 1_000_000_000).astype("datetime64[ns]")
    found: NDArray[np.datetime64] = np.union1d(rows.astype("datetime64[ns]"), between)
    return found


def _returns(moments: NDArray[np.datetime64], dataset: object, delay_s: float) -> NDArray[np.float64]:
    """Depth of the mud at the surface at each moment: what the instrument sees a line delay later."""
    arriving = moments + np.timedelta64(round(delay_s * 1e9), "ns")
    try:
        return register_times(arriving, dataset, annulus_of_drilling(dataset)).depth_m  # type: ignore[arg-type]  # a dataset
    except InputError:  # mud that has not moved yet arrives from nowhere
        return np.full(moments.size, np.nan)


def _drilling_since(series: DrillingSeries) -> NDArray[np.float64]:
    """For each row the second since which the bit has made hole; NaN while it does not."""
    seconds = series.time.astype("datetime64[ns]").astype(np.int64) / 1e9
    making = series.rop > 0.0
    starts = making & np.concatenate(([True], ~making[:-1]))
    since = np.maximum.accumulate(np.where(starts, seconds, -np.inf))
    found: NDArray[np.float64] = np.where(making, since, np.nan)
    return found
