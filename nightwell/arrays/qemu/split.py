"""The split of one or several pairs at one point in time.

Cancelling the mirror jobs one after another would freeze each S at a moment of its own: a host that writes first to one
volume and then to another could find, on the copies, the second write without the first. So the point in time is one
QMP transaction, which puts overlays on all primaries at once; what was written between the end of each mirror and that
transaction is gathered in bitmaps, and copied afterwards from what lies below the overlays and no longer changes.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from nightwell.arrays import refusals
from nightwell.arrays.port import PairState
from nightwell.arrays.qemu.daemon import MonitorError
from nightwell.arrays.qemu.held import Held, Pair, Volume
from nightwell.errors import NightwellError
from nightwell.nbd.wire import QEMU_CHANGED_BITMAP

LIST_GRAIN_BYTES = 64 << 10
_SINCE = "nightwell-since-mirror"


@dataclass(frozen=True, slots=True)
class _Part:
    """One pair of the group: its volumes, the overlay to come and the node that will stand still."""

    pair: Pair
    primary: Volume
    secondary: Volume
    file: str
    overlay: str
    frozen: str


def split_pairs(held: Held, pairs: Sequence[Pair], at: datetime) -> None:
    """Split pairs that are in step; on any trouble none is PSUS.

    Raises
    ------
    ConflictError
        A pair failed meanwhile.
    NightwellError
        The daemon or the disk failed; the pairs are PSUE and copy everything at their next resync.
    """
    parts = _prepare(held, pairs)
    try:
        _take(held, parts)
    except NightwellError as problem:
        _fail(held, parts, problem)
        raise
    with held.graph:
        for part in parts:
            copied = part.pair.info()
            part.pair.record = replace(
                part.pair.record, state=PairState.PSUS, splitting=False, full=False, split_id=uuid.uuid4().hex,
                split_at=at, copied_bytes=copied.copied_bytes, to_copy_bytes=copied.to_copy_bytes,
            )  # fmt: skip
            part.pair.copier = None
        held.save()


def drop_list(held: Held, secondary: Volume) -> None:
    """Forget a secondary's change list, if it has one."""
    with suppress(MonitorError):
        held.daemon.command("block-dirty-bitmap-remove", node=secondary.layers.active, name=QEMU_CHANGED_BITMAP)


def _prepare(held: Held, pairs: Sequence[Pair]) -> list[_Part]:
    parts: list[_Part] = []
    try:
        for pair in pairs:
            primary, secondary = held.volume(pair.record.primary), held.volume(pair.record.secondary)
            file = held.new_file(primary.name)
            overlay = primary.layers.draft(file, primary.size_bytes)
            parts.append(_Part(pair, primary, secondary, file, overlay, primary.layers.active))
    except NightwellError:
        for part in parts:
            part.primary.layers.drop_draft(part.file, part.overlay)
        raise
    with held.graph:
        for part in parts:
            # On record before the first write can be in it. A restart takes an overlay that nobody wrote to as well.
            part.primary.coming = part.file
            part.pair.record = replace(part.pair.record, splitting=True)
        held.save()
    return parts


def _take(held: Held, parts: Sequence[_Part]) -> None:
    daemon = held.daemon
    daemon.transaction([("block-dirty-bitmap-add", {"node": part.frozen, "name": _SINCE}) for part in parts])
    for part in parts:
        assert part.pair.copier is not None, "a pair in step has a copier"
        part.pair.copier.stop()
        if part.pair.copier.fault is not None:
            raise refusals.wrong_state(
                part.pair.names, "state PAIR until the split", PairState.PSUE, f"see why ({part.pair.fault})"
            )
    with held.graph:
        # This is the point in time, for all of them.
        daemon.transaction([("blockdev-snapshot", {"node": part.frozen, "overlay": part.overlay}) for part in parts])
        for part in parts:
            part.primary.layers.adopt(part.file, part.overlay)
            part.primary.coming = None
    jobs = [f"catch{held.number()}" for _ in parts]
    daemon.transaction(
        [
            ("blockdev-backup", {
                "job-id": job, "device": part.frozen, "target": part.secondary.layers.active, "sync": "bitmap",
                "bitmap": _SINCE, "bitmap-mode": "always", "auto-dismiss": False,
            })
            for job, part in zip(jobs, parts, strict=True)
        ],
        grouped=True,
    )  # fmt: skip
    for job in jobs:
        daemon.finish(job)
    for part in parts:
        daemon.command("block-dirty-bitmap-remove", node=part.frozen, name=_SINCE)
        if part.pair.listed:
            daemon.command("block-dirty-bitmap-disable", node=part.secondary.layers.active, name=QEMU_CHANGED_BITMAP)
        # S, and what it is a copy of: a resync after a loss of power relies on both.
        part.secondary.layers.sync()
        part.primary.layers.sync()


def _fail(held: Held, parts: Sequence[_Part], problem: NightwellError) -> None:
    with held.graph:
        for part in parts:
            if part.pair.copier is not None:
                part.pair.copier.stop()
            part.pair.copier = None
            part.pair.listed = False
            part.pair.record = replace(
                part.pair.record, state=PairState.PSUE, splitting=False, full=True, fault=f"split: {problem.found}"
            )
            with suppress(MonitorError):
                held.daemon.command("block-dirty-bitmap-remove", node=part.frozen, name=_SINCE)
            if part.primary.coming is not None:
                part.primary.coming = None
                with suppress(MonitorError):
                    part.primary.layers.drop_draft(part.file, part.overlay)
        held.save()
