"""One copy pair: who gets a write, what S lacks, and what changed since the last split.

Invariants, each held at every instant, so that ``kill -9`` at any point is covered:

1. *Linked* (COPY or PAIR): a chunk in which S may differ from P is marked in ``lacking``. A mirrored write marks its
   chunks first, writes P, writes S, then clears them.
2. *Split* (PSUS): nothing writes S; a chunk of P is marked in ``lacking`` before it is written.
3. ``gathering`` marks every chunk written since ``base_split_id``, before it is written.
4. The state changes with the gate held alone; only the step to PSUE may happen beside writers, for it forbids, and
   never promises.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from nightwell.arrays.embedded.change_map import CHUNK_BYTES, ChangeMap, chunk_range
from nightwell.arrays.embedded.gate import Gate, Stripes
from nightwell.arrays.embedded.holes import copy_range
from nightwell.arrays.embedded.state import PairRecord
from nightwell.arrays.embedded.volume_file import VolumeFile
from nightwell.arrays.port import PairInfo, PairState

#: Writes one range ``(start, end)`` of a request to one of the two volumes.
Action = Callable[[VolumeFile, int, int], None]


class Pair:
    """A copy pair in use.

    Parameters
    ----------
    record
        What is remembered of it.
    primary, secondary
        The two volumes' bytes, of one size.
    maps
        ``lacking`` and the two that take turns as gathering and listed.
    gate
        The array's gate.
    on_fault
        Called, without a lock held, when the state has become PSUE.
    """

    def __init__(
        self,
        record: PairRecord,
        primary: VolumeFile,
        secondary: VolumeFile,
        maps: tuple[ChangeMap, ChangeMap, ChangeMap],
        *,
        gate: Gate,
        on_fault: Callable[[], None],
    ) -> None:
        self.pair_id = record.pair_id
        self.names = (record.primary, record.secondary)
        self.owner = record.owner
        self.primary = primary
        self.secondary = secondary
        self.lacking = maps[0]
        self._turns = maps[1:]
        self.gate = gate
        self.stripes = Stripes()
        self.state = record.state
        self.fault = record.fault
        self.copied_bytes = 0
        self.to_copy_bytes = 0
        self._recorder = record.recorder
        self._base_split_id = record.base_split_id
        self._split_id = record.split_id
        self._previous_split_id = record.previous_split_id
        self._split_at = record.split_at
        self._gatherers: tuple[ChangeMap, ...] = (self._turns[self._recorder],)
        self._on_fault = on_fault
        self._fault_lock = threading.Lock()

    @property
    def change_list(self) -> ChangeMap | None:
        """The list frozen at the last split; ``None`` when there is none that can be used."""
        return self._spare if self.state is PairState.PSUS and self._previous_split_id else None

    @property
    def _spare(self) -> ChangeMap:
        return self._turns[1 - self._recorder]

    def record(self) -> PairRecord:
        """Return what a restart has to know; a linked pair is recorded as COPY, its map says the rest."""
        return PairRecord(
            pair_id=self.pair_id,
            primary=self.names[0],
            secondary=self.names[1],
            state=PairState.COPY if self.state is PairState.PAIR else self.state,
            owner=self.owner,
            recorder=self._recorder,
            base_split_id=self._base_split_id,
            split_id=self._split_id,
            previous_split_id=self._previous_split_id,
            split_at=self._split_at,
            fault=self.fault,
        )

    def info(self) -> PairInfo:
        """Return what the port tells of it."""
        split = self.state is PairState.PSUS
        return PairInfo(
            primary=self.names[0],
            secondary=self.names[1],
            state=self.state,
            copied_bytes=self.copied_bytes,
            to_copy_bytes=self.to_copy_bytes,
            owner=self.owner,
            split_id=self._split_id if split else None,
            previous_split_id=self._previous_split_id if split else None,
            split_at=self._split_at if split else None,
            fault=self.fault,
        )

    # -- writers -------------------------------------------------------------------------------------------------

    def apply(self, offset_bytes: int, length_bytes: int, action: Action) -> None:
        """Carry out one write to P, and to S while linked; the caller is inside the gate.

        Raises
        ------
        OSError
            P could not be written. A failure of S does not reach the writer: the pair becomes PSUE.
        """
        first, past = chunk_range(offset_bytes, length_bytes)
        end_bytes = offset_bytes + length_bytes
        with self.stripes.held(first, past):
            for gatherer in self._gatherers:
                gatherer.mark(first, past)
            if self.state in {PairState.PSUS, PairState.PSUE}:
                self.lacking.mark(first, past)
                action(self.primary, offset_bytes, end_bytes)
                return
            in_step = self.lacking.clear_runs(first, past)  # the rest is left to the copier
            self.lacking.mark(first, past)
            try:
                action(self.primary, offset_bytes, end_bytes)
            except OSError:
                self._mirror(in_step, self._copy_from_primary)
                raise
            self._mirror(
                in_step,
                lambda start, end: action(self.secondary, max(start, offset_bytes), min(end, end_bytes)),
            )

    def _mirror(self, runs: list[tuple[int, int]], write: Callable[[int, int], None]) -> None:
        for first, past in runs:
            try:
                write(first * CHUNK_BYTES, min(past * CHUNK_BYTES, self.primary.size_bytes))
            except OSError as problem:
                self.fail(f"writing {self.names[1]} failed: {problem}")
                return
            self.lacking.clear(first, past)

    def _copy_from_primary(self, start: int, end: int) -> None:
        # P holds an unknown mixture of old and new: S must hold the same one.
        copy_range(self.primary.descriptor, self.secondary.descriptor, start, end)

    def fail(self, fault: str) -> None:
        """Become PSUE: S must not be trusted until a full copy has been made."""
        with self._fault_lock:
            if self.state is PairState.PSUE:
                return
            self.fault = fault
            self.state = PairState.PSUE
        self._on_fault()

    # -- changes of state, ordered by the core ---------------------------------------------------------------------

    def prepare_split(self) -> None:
        """Gather into both maps from now on, so that either may become the next list."""
        self._spare.clear_all()
        self._gatherers = (self._turns[self._recorder], self._spare)

    def freeze(self, split_id: str, at: datetime) -> None:
        """Become PSUS; the gate is held alone."""
        self._previous_split_id, self._base_split_id = self._base_split_id, split_id
        self._split_id, self._split_at = split_id, at
        self._recorder = 1 - self._recorder
        self.state = PairState.PSUS

    def settle_split(self) -> None:
        """Gather into one map again: after the split is on record, or when it was called off."""
        self._gatherers = (self._turns[self._recorder],)

    def prepare_relink(self) -> PairRecord:
        """Return the record of this pair once it copies again, to be on disk before S is touched.

        From PSUE everything is copied: nobody knows what S has lost.
        """
        if self.state is PairState.PSUE:
            self.lacking.mark_all()
        return replace(
            self.record(), state=PairState.COPY, split_id=None, previous_split_id=None, split_at=None, fault=None
        )

    def relink(self) -> None:
        """Become COPY again, after :meth:`prepare_relink`; the gate is held alone."""
        self._split_id = self._previous_split_id = self._split_at = self.fault = None
        self.state = PairState.COPY

    @property
    def doubtful(self) -> bool:
        """A map was missing or cut when it was opened."""
        return any(chart.doubtful for chart in (self.lacking, *self._turns))

    def distrust(self) -> None:
        """After a possible loss of power: assume that S lacks everything and that no list holds."""
        self.lacking.mark_all()
        self._base_split_id = self._previous_split_id = None

    def flush_maps(self) -> None:
        """Bring every mark to the disk."""
        self.lacking.flush()
        for turn in self._turns:
            turn.flush()

    def close_maps(self) -> None:
        """Let go of the maps; nobody may use the pair any more."""
        for chart in (self.lacking, *self._turns):
            chart.close()
