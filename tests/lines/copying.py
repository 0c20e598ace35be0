"""A backup that meets a fault in the middle of its copy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from deployed import eventually
from lines.network import Line, Network
from lines.sites import Sites
from machine import MIB

from nightwell.arrays.port import PairState
from nightwell.protocol import Run

SIZE_BYTES = 16 * MIB
#: The copy takes two seconds by itself, in four pieces side by side: the first arrives near its end.
LINE_1_MIB_S = 8.0
_MIDDLE_BYTES = 4 * MIB
_seeds = count(1)


@dataclass(frozen=True, slots=True)
class Copied:
    """How a backup ended."""

    run: Run
    digest: str
    seconds: float

    @property
    def stall_s(self) -> float:
        """The longest time without progress, as the run's facts tell it."""
        return self.run.facts.number("longest_stall_ms") / 1000


def make_pair(sites: Sites, volume: str, size_bytes: int = SIZE_BYTES) -> None:
    """Make a volume that is in a pair of its operator's, in step."""
    array = sites.machine.source_array
    sites.make_volume(volume, size_bytes)
    array.create_volume(f"{volume}-copy", size_bytes)
    array.create_pair(volume, f"{volume}-copy")
    eventually("pair in step", lambda: in_step(sites, volume) or None)


def in_step(sites: Sites, volume: str) -> bool:
    """Tell whether the pair is as its operator made it."""
    pair = sites.machine.source_array.pair_of(volume)
    return (
        pair is not None and pair.state is PairState.PAIR and pair.secondary == f"{volume}-copy" and pair.owner is None
    )


def change(sites: Sites, volume: str) -> str:
    """Write all of a volume anew; return its digest."""
    (size_bytes,) = (found.size_bytes for found in sites.machine.source_array.volumes() if found.name == volume)
    return sites.fill(volume, next(_seeds), size_bytes)


def mend(network: Network) -> None:
    """Let both lines carry what they can."""
    network.mend(Line.ONE)
    network.mend(Line.TWO)
    network.unshape(Line.ONE)


def copy_through(
    sites: Sites, volume: str, fault: Callable[[], None], *, line_1_mib_s: float = LINE_1_MIB_S, stays: bool = False
) -> Copied:
    """Back a changed volume up, and let something happen in the middle of the copy.

    The lines are mended afterwards, unless the fault ``stays``.
    """
    network = sites.network
    digest = change(sites, volume)
    network.shape(Line.ONE, line_1_mib_s)
    try:
        carried = network.carried_bytes(Line.ONE)
        began_s = time.monotonic()
        sites.begin_backup(volume)
        eventually(
            "copy under way",
            lambda: network.carried_bytes(Line.ONE) - carried > _MIDDLE_BYTES or None,
            timeout_s=150.0,
            pause_s=0.05,
        )
        fault()
        run = sites.ended()
    finally:
        if not stays:
            mend(network)
    return Copied(run, digest, time.monotonic() - began_s)
