"""What the rig is doing, live: a WITS level 0 stream over TCP, as rigs offer it on the network of a site.

Frames are stamped with the clock of this machine when they arrive: it is the one that scans are stamped with, while the
dates of a rig name no zone and are often minutes off. Some senders (Pason's recorder [PasonWits]) speak only to who
speaks to them: the frame that they ask for is sent at the beginning and every 30 s; it carries a null, and means
nothing to any other.

A connection that ends is made again. While it is away the feed tells nothing, which is no error: the engine goes on
with the gas, and says which samples it missed.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.acquire.feed import RigState, SeriesFeed
from nightwell.wells.channels import known_channels
from nightwell.wells.drilling import DrillingLog
from nightwell.wells.import_report import ImportReport
from nightwell.wells.rig import DrillingSeries, Rig, series_of_record
from nightwell.wells.units import convert
from nightwell.wells.wits0 import FRAME_END, FRAME_START, WitsItem, WitsRecord, WitsUnits, read_wits0, wits_items

#: Asks a sender that waits to be asked; item 0111 (true vertical depth of the hole) is null.
ASKING = b"&&\r\n0111-9999\r\n!!\r\n"

_RECORD = 1
_DATE, _TIME = 5, 6
_ASK_EVERY_S = 30.0
_CONNECT_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 0.5
_LARGEST_FRAME_BYTES = 1 << 16
_KEPT_S = 36 * 3600.0  # of history: longer than mud is in any hole
_ROWS_TO_JUDGE = 30


@dataclass(frozen=True, slots=True)
class WitsAddress:
    """Where the stream is, and in which of its two units.

    Parameters
    ----------
    host, port
        Of the sender.
    units
        Nothing in the stream says them.
    """

    host: str
    port: int
    units: WitsUnits

    @classmethod
    def parse(cls, text: str, units: WitsUnits) -> WitsAddress:
        """Return the address that ``host:port`` names (InputError)."""
        host, _, port = text.removeprefix("tcp://").rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise InputError(
                f"WITS stream '{text}'",
                expected="host:port of the sender, such as 10.1.1.5:8686",
                found=text,
                cause="the port was left out",
                next_step="ask who runs the rig's recorder",
            )
        return cls(host, int(port), units)


@cache
def items_with_channels() -> tuple[WitsItem, ...]:
    """Return the items of record 1 that are channels of drilling."""
    return tuple(one for one in wits_items().values() if one.record == _RECORD and one.channel)


@cache
def _factor(item: WitsItem, units: WitsUnits) -> float:
    """Return what turns an item into its channel's unit; none of these units has a zero of its own."""
    channel = known_channels()[item.channel]
    unit = item.unit(units) or channel.unit
    return float(convert(np.array([1.0]), unit, channel.unit, subject=f"WITS item {item.mnemonic}")[0])


def values_of(record: WitsRecord, units: WitsUnits) -> dict[str, float]:
    """Return what a record 1 says, by channel, in the contract's units; nulls and what cannot be are left out."""
    found = {}
    for item in items_with_channels():
        channel, value = known_channels()[item.channel], record.number(item.item)
        if math.isnan(value):
            continue
        number = value * _factor(item, units)
        if channel.minimum <= number <= channel.maximum:
            found[item.channel] = number
    return found


class WitsFeed:
    """The rig as its stream tells it; a thread listens from :meth:`start` to :meth:`close`.

    Parameters
    ----------
    address
        Of the sender.
    rig
        Gas-line delay, diameters, and what a stroke of the pumps delivers.
    record
        A file that frames are kept in, as WITS with the time of their arrival: a run that is begun again knows the mud
        that is under way, and the file can be imported. ``None`` to keep none.
    now
        The clock that scans are stamped with.
    every_s
        Frames within this time make one row: senders spread a record over several frames.
    stale_s
        A rig that was silent for longer tells nothing.
    """

    def __init__(
        self,
        address: WitsAddress,
        rig: Rig,
        *,
        record: Path | None = None,
        now: Callable[[], np.datetime64],
        every_s: float = 2.0,
        stale_s: float = 120.0,
    ) -> None:
        self._address, self._rig, self._record, self._now = address, rig, record, now
        self._every_s, self._stale_s = every_s, stale_s
        self._rows: list[tuple[np.datetime64, dict[str, float]]] = list(self._recorded())
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="wits", daemon=True)
        self._built: tuple[int, SeriesFeed | None] = (-1, None)
        self._dropped = 0
        self._kept: np.datetime64 | None = None

    @property
    def gas_line_delay_s(self) -> float:
        """Time the gas needs from the trap to the instrument [s]."""
        return self._rig.gas_line_delay_s

    def start(self) -> WitsFeed:
        """Begin to listen; a sender that is away is tried again until :meth:`close`."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop listening. Idempotent."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def state(self, now: np.datetime64) -> RigState:
        """Return the rig's state at a moment (InputError when the stream lacks what depth needs)."""
        feed = self._feed()
        return RigState() if feed is None else feed.state(now)

    def rows(self, after: np.datetime64 | None, until: np.datetime64) -> DrillingSeries | None:
        """Return the rows in between."""
        feed = self._feed()
        return None if feed is None else feed.rows(after, until)

    # ---------------------------------------------------------------- from rows to a series

    def _feed(self) -> SeriesFeed | None:
        with self._lock:
            rows, count = list(self._rows), self._dropped + len(self._rows)
        if count != self._built[0]:
            self._built = (count, self._series(rows))
        return self._built[1]

    def _series(self, rows: list[tuple[np.datetime64, dict[str, float]]]) -> SeriesFeed | None:
        channels = {
            item.channel: np.array([row.get(item.channel, math.nan) for _, row in rows], dtype=np.float64)
            for item in items_with_channels()
        }
        channels = {name: values for name, values in channels.items() if not np.isnan(values).all()}
        has_flow = "flow" in channels or any(name.startswith("pump_strokes") for name in channels)
        if len(rows) < 2 or "bit_depth" not in channels or not has_flow:  # noqa: PLR2004 - a line takes two points
            if len(rows) >= _ROWS_TO_JUDGE:
                raise self._lacking(sorted(channels))
            return None
        report = ImportReport(f"WITS at {self._address.host}:{self._address.port}", "", len(rows), (), (), ())
        times: NDArray[np.datetime64] = np.array([moment for moment, _ in rows], dtype="datetime64[ns]")
        series = series_of_record(DrillingLog(channels, times, report), self._rig)
        return SeriesFeed(series, self._rig.gas_line_delay_s, stale_s=self._stale_s)

    def _lacking(self, found: list[str]) -> InputError:
        return InputError(
            f"WITS stream at {self._address.host}:{self._address.port}",
            expected="the depth of the bit (0108), and the flow (0130) or strokes of the pumps (0123 to 0125)",
            found=f"in {_ROWS_TO_JUDGE} rows: {', '.join(found) or 'none of them'}",
            cause="the sender was not told to send them, or its sensors are off",
            next_step="have the items switched on at the rig's recorder, or acquire without depth",
        )

    # ---------------------------------------------------------------- listening

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                with closing(
                    socket.create_connection((self._address.host, self._address.port), timeout=_CONNECT_TIMEOUT_S)
                ) as line:
                    self._follow(line)
            except OSError:
                pass  # away: tried again
            self._ended.wait(1.0)

    def _follow(self, line: socket.socket) -> None:
        line.settimeout(_READ_TIMEOUT_S)
        buffer, asked_s = b"", -math.inf
        while not self._ended.is_set():
            if time.monotonic() - asked_s >= _ASK_EVERY_S:
                line.sendall(ASKING)
                asked_s = time.monotonic()
            try:
                data = line.recv(4096)
            except TimeoutError:
                continue
            if not data:
                return
            *frames, buffer = (buffer + data).split(FRAME_END.encode())
            buffer = buffer[-_LARGEST_FRAME_BYTES:]
            for frame in frames:
                self._take(frame.decode("ascii", errors="replace") + FRAME_END)

    def _take(self, text: str) -> None:
        """Take one frame, from wherever its last beginning is; what is no frame is passed over."""
        begun = text.rfind(FRAME_START)
        if begun < 0:
            return
        for record in read_wits0(text[begun:]).of(_RECORD):
            values = values_of(record, self._address.units)
            if values:
                self._add(self._now(), values)

    def _add(self, moment: np.datetime64, values: dict[str, float]) -> None:
        with self._lock:
            last = self._rows[-1][0] if self._rows else None
            if last is not None and moment - last < np.timedelta64(round(self._every_s * 1e9), "ns"):
                if moment >= last:  # a clock set back adds to no row: its mud was not here yet
                    self._rows[-1][1].update(values)
                return
            if last is not None:
                self._keep(*self._rows[-1])
            self._rows.append((moment.astype("datetime64[ns]"), dict(values)))
            oldest = moment - np.timedelta64(round(_KEPT_S * 1e9), "ns")
            while self._rows[0][0] < oldest:
                self._rows.pop(0)
                self._dropped += 1

    # ---------------------------------------------------------------- the record

    def _keep(self, moment: np.datetime64, values: dict[str, float]) -> None:
        """Append a row to the record, metric whatever the stream has, one for each second that WITS can name."""
        second = moment.astype("datetime64[s]")
        if self._record is None or second == self._kept:
            return
        self._kept = second
        day, clock = str(second).split("T")
        lines = [FRAME_START, f"{_RECORD:02d}{_DATE:02d}{day[2:].replace('-', '')}",
                 f"{_RECORD:02d}{_TIME:02d}{clock.replace(':', '')}"]  # fmt: skip
        for item in items_with_channels():
            if item.channel in values:
                value = values[item.channel] / _factor(item, WitsUnits.METRIC)
                lines.append(f"{_RECORD:02d}{item.item:02d}{value:.8g}")
        with self._record.open("a", encoding="ascii") as file:
            file.write("".join(f"{line}\r\n" for line in (*lines, FRAME_END)))

    def _recorded(self) -> Iterator[tuple[np.datetime64, dict[str, float]]]:
        if self._record is None or not self._record.exists() or not self._record.stat().st_size:
            return
        last: np.datetime64 | None = None
        for record in read_wits0(self._record.read_text(encoding="ascii", errors="replace")).of(_RECORD):
            date, clock = record.number(_DATE), record.number(_TIME)
            values = values_of(record, WitsUnits.METRIC)
            if math.isnan(date) or math.isnan(clock) or not values:
                continue
            day, second = f"{int(date):06d}", f"{int(clock):06d}"
            moment = np.datetime64(f"20{day[:2]}-{day[2:4]}-{day[4:]}T{second[:2]}:{second[2:4]}:{second[4:]}", "ns")
            if (last is None or moment > last) and self._now() - moment < np.timedelta64(round(_KEPT_S * 1e9), "ns"):
                last = moment
                yield moment, values
