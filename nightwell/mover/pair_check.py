"""What the mover itself confirms of the copy pair, before and after the copy."""

from __future__ import annotations

from dataclasses import dataclass

from nightwell.arrays.port import PairState
from nightwell.errors import ConflictError
from nightwell.mover.job import BackupJob, CopyMode
from nightwell.nbd.client import NbdClient
from nightwell.nbd.wire import PAIR

_STATES = (PairState.SMPL, PairState.COPY, PairState.PAIR, PairState.PSUS, PairState.PSUE)  # by their code
_STATE_MASK = 0xFF
_STATE_BITS = 8
_PROBE_BYTES = 512

_NEEDED = {CopyMode.SPLIT: PairState.PSUS, CopyMode.PAIR: PairState.PAIR}


@dataclass(frozen=True, slots=True)
class PairStatus:
    """The pair as the array sees it; ``generation`` counts the writes to the primary, modulo 2**24."""

    state: PairState
    generation: int


def read_status(client: NbdClient) -> PairStatus | None:
    """Ask the array; ``None`` when it does not tell (the context ``nightwell:pair`` was not granted)."""
    if PAIR not in client.contexts:
        return None
    word = next(iter(client.extents(PAIR, 0, min(_PROBE_BYTES, client.size_bytes)))).flags
    code = word & _STATE_MASK
    state = _STATES[code] if code < len(_STATES) else PairState.PSUE  # a state we do not know is none to trust
    return PairStatus(state, word >> _STATE_BITS)


def confirm(client: NbdClient, job: BackupJob, *, when: str) -> PairStatus | None:
    """Return the status, if it is what the mode needs; else raise ConflictError.

    ``split`` needs a secondary in PSUS and ``pair`` one in PAIR; ``direct`` takes any state, and an array that does
    not tell. ``split`` takes one that is known not to tell: the source site has split the pair, and a driver refuses to
    resync a secondary that it exports. ``when`` says in the error which look it was.
    """
    status = read_status(client)
    needed = _NEEDED.get(job.mode)
    if needed is None or (status is not None and status.state is needed):
        return status
    if status is None and job.mode is CopyMode.SPLIT and not job.tells_pair:
        return status
    raise ConflictError(
        f"volume {job.volume!r}, {when}",
        expected=f"its copy pair in {needed}, as mode {job.mode} needs",
        found="an array that does not tell the pair's state" if status is None else f"state {status.state}",
        cause="the pair was resynced, split, deleted or failed under this run, or the wrong volume is exported",
        next_step="look at the pair's state, then run again; nothing was committed",
    )


def stood_still(mode: CopyMode, before: PairStatus | None, after: PairStatus | None) -> bool:
    """Return whether what was read is one point in time.

    A split secondary stands still. Otherwise nobody may have written to the primary between the two looks; of an array
    that does not tell, that cannot be said.
    """
    if mode is CopyMode.SPLIT:
        return True
    return before is not None and after is not None and before.generation == after.generation
