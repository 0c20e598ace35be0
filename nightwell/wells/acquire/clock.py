"""Clocks: the computer's, and the watch that finds out when it was set."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

_NS = 1e9


class Clock(Protocol):
    """Time as the engine sees it."""

    def now(self) -> np.datetime64:
        """Return the time of day, UTC, datetime64[ns]; it may be set at any moment."""

    def monotonic_s(self) -> float:
        """Return seconds since some moment; never set, never falls within one process."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The computer's clock."""

    def now(self) -> np.datetime64:
        """Return the time of day."""
        now: np.datetime64 = np.datetime64(time.time_ns(), "ns")
        return now

    def monotonic_s(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class SimulatedClock:
    """A clock that stands still until something waits: for simulations faster than time, replays and tests."""

    def __init__(self, start: np.datetime64) -> None:
        self._now: np.datetime64 = start.astype("datetime64[ns]")
        self._monotonic_s = 0.0

    def now(self) -> np.datetime64:
        """Return the time it stands at."""
        return self._now

    def monotonic_s(self) -> float:
        """Return the seconds that were waited."""
        return self._monotonic_s

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._now = self._now + np.timedelta64(round(seconds * _NS), "ns")
        self._monotonic_s += seconds

    def set(self, now: np.datetime64) -> None:
        """Set the time of day, as a person or a time server does; nothing is waited."""
        self._now = now.astype("datetime64[ns]")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time that was agreed on.

    Parameters
    ----------
    time
        UTC; never earlier than the moment before.
    jump_s
        By how much the clock was found set since the moment before: 0, forward positive, back negative.
    doubtful
        The clock was set back and has not caught up: ``time`` goes on by the monotonic clock.
    """

    time: np.datetime64
    jump_s: float = 0.0
    doubtful: bool = False


class Watch:
    """Watches a clock against the monotonic one.

    A clock set forward is believed (the jump is reported once). One set back is not: times go on by the monotonic clock
    until it has caught up, so that scans keep their order and their distances.

    Parameters
    ----------
    clock
        What is watched.
    tolerance_s
        Smaller steps are the slewing of a time server.
    """

    def __init__(self, clock: Clock, *, tolerance_s: float = 2.0) -> None:
        self._clock, self._tolerance_s = clock, tolerance_s
        self._agreed = clock.now()
        self._monotonic_s = clock.monotonic_s()
        self._doubtful = False

    def look(self) -> Moment:
        """Return the time that is agreed on now."""
        wall, monotonic_s = self._clock.now(), self._clock.monotonic_s()
        expected = self._agreed + np.timedelta64(round((monotonic_s - self._monotonic_s) * _NS), "ns")
        off_s = float((wall - expected) / np.timedelta64(1, "ns")) / _NS
        self._monotonic_s = monotonic_s
        jump_s = 0.0
        if off_s > self._tolerance_s:
            jump_s, self._doubtful, self._agreed = off_s, False, wall
        elif off_s < -self._tolerance_s:
            jump_s = 0.0 if self._doubtful else off_s
            self._doubtful, self._agreed = True, expected
        else:
            self._doubtful, self._agreed = False, max(wall, self._agreed)
        return Moment(self._agreed, jump_s, self._doubtful)


def seconds_of(moment: np.datetime64) -> float:
    """Return seconds since 1970."""
    return float(moment.astype("datetime64[ns]").astype(np.int64)) / _NS


def moment_of(seconds: float) -> np.datetime64:
    """Return the time of seconds since 1970, datetime64[ns]."""
    return np.datetime64(round(seconds * _NS), "ns")
