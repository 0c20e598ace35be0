"""An engine that dies by SIGKILL at a point that a seed chooses.

The points: before or after measuring, between the arrays of one scan, just before a commit, and just after it.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
from wells.acquisition.rigs import SMALL, START, StandingRig, StandingSpectrometer

from nightwell.wells.acquire import archive as archive_module
from nightwell.wells.acquire.archive import ScanArchive
from nightwell.wells.acquire.clock import SimulatedClock, moment_of
from nightwell.wells.acquire.engine import Engine
from nightwell.wells.acquire.plan import Progress
from nightwell.wells.acquire.schedule import parse_schedule
from nightwell.wells.contract import Origin

AWAY = np.timedelta64(100, "s")  # from the death of one engine to the next


def run_engine(place: str, scans: int) -> None:
    """Acquire so many scans at a place, going on from what is there."""
    schedule = parse_schedule(SMALL, source="small")
    archive = ScanArchive(place, "well")
    clock = SimulatedClock(START)
    instrument = StandingSpectrometer(clock)

    def connect(progress: Progress | None) -> Origin:
        if progress is not None and progress.end_s is not None:
            clock.set(moment_of(progress.end_s) + AWAY)
        facts = instrument.facts
        return Origin("well", facts.instrument, facts.simulated, facts.provenance)

    with archive.writing(connect, schedule.mz, SMALL, None) as writer:
        rig = StandingRig()
        rig.track = [(0.0, 1000.0), (7200.0, 1060.0)]
        Engine(schedule, instrument, writer, clock, rig=rig).run(scans=scans)


def die_at(owner: Any, name: str, call: int, *, after: bool = False) -> None:
    """Make the so-many-th call of a function the last thing that this process does."""
    inner: Callable[..., Any] = getattr(owner, name)
    calls: list[int] = []

    def dying(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        last = len(calls) == call
        if last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = inner(*arguments, **named)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, dying)


def child(place: str, seed: int) -> None:
    """Run an engine that will be killed."""
    rng = random.Random(seed)
    call = rng.randint(2, 9)
    kind = seed % 5
    if kind == 0:
        die_at(StandingSpectrometer, "measure", call)
    elif kind == 1:
        die_at(StandingSpectrometer, "measure", call, after=True)
    elif kind == 2:
        die_at(archive_module, "append_rows", call)
    else:
        die_at(archive_module, "_commit", call, after=kind == 4)
    run_engine(place, 10_000)
