"""The four protocols, each as one table.

Reading a table: rows stand in the order they are done. A row is passed over when its ``when`` does not hold on the
facts recorded so far. ``undo`` names the step that takes the row back. Until the *pivot* has happened a run can be
taken back, row by row in reverse, beginning with the row in doubt; from the pivot on it only goes forward, and what
follows the pivot is cleanup that is owed.

Two answers decide what may be deleted, ``pair_existed`` and ``secondary_existed``. ``check_pair`` must return both, and
they are journaled before the first row that creates anything can start. A row that creates is passed over when the
thing existed, and what was not started is never undone: so no undo can delete somebody's pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nightwell.protocol.facts import Facts
from nightwell.protocol.steps import BackupMode, Mode, RestoreMode, RunKind, Site, Step

ATTEMPTS = 3
"""How often a step before the pivot is started before a run whose step stays in doubt turns back."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition on the facts, with the words the diagram uses for it."""

    label: str
    holds: Callable[[Facts], bool]


PAIR_MISSING = Guard("no pair existed", lambda facts: not facts.flag("pair_existed"))
PAIR_EXISTED = Guard("the pair existed", lambda facts: facts.flag("pair_existed"))
PAIR_STALE = Guard("the pair was split", lambda facts: facts.flag("pair_existed") and facts["pair_state"] == "PSUS")
PAIR_STAYS = Guard("the pair existed or is kept", lambda facts: facts.flag("pair_existed") or facts.flag("keep_pair"))
PAIR_GOES = Guard("this run made the pair", lambda facts: not (facts.flag("pair_existed") or facts.flag("keep_pair")))
SECONDARY_MISSING = Guard("no S existed", lambda facts: not facts.flag("secondary_existed"))
SECONDARY_GOES = Guard(
    "this run made S",
    lambda facts: not (facts.flag("secondary_existed") or facts.flag("pair_existed") or facts.flag("keep_pair")),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One step of a protocol: what takes it back, and on which facts each of the two happens."""

    step: Step
    undo: Step | None = None
    when: Guard | None = None
    undo_when: Guard | None = None


@dataclass(frozen=True, slots=True)
class ProtocolTable:
    """One protocol of one site.

    Parameters
    ----------
    kind, site
        Which protocol this is.
    modes
        The rows of each mode, in order.
    pivot
        The step whose success makes the run's work durable.
    records
        Facts that a step must return, with their types. The outcome of a step that lacks one is a failure.
    fixed
        Facts that never change once recorded.
    thaw
        Steps whose undo comes before every other: the host's I/O must not stay frozen.
    ask
        Steps that are not done again when in doubt: the run turns back, and their undo asks what happened.
    patient
        Undos that are the only way to the truth. While they cannot tell, the run waits with everything in place.
    renewed
        The step whose effect dies with the process that did it. A run resumed between it and the pivot begins there.
    spoils
        The step that overwrites its target; after it, turning back cannot restore what was there.
    """

    kind: RunKind
    site: Site
    modes: Mapping[Mode, tuple[Row, ...]]
    pivot: Step
    records: Mapping[Step, Mapping[str, type]]
    fixed: frozenset[str] = frozenset()
    thaw: frozenset[Step] = frozenset()
    ask: frozenset[Step] = frozenset()
    patient: frozenset[Step] = frozenset()
    renewed: Step | None = None
    spoils: Step | None = None

    @property
    def name(self) -> str:
        """The table's name, such as ``backup/source``."""
        return f"{self.kind}/{self.site}"

    def rows(self, mode: Mode) -> tuple[Row, ...]:
        """Return the rows of a mode; :class:`KeyError` for a mode this protocol does not have."""
        return self.modes[mode]

    def row(self, mode: Mode, step: Step) -> Row:
        """Return the row of one step; :class:`KeyError` when the mode does not have it."""
        return self.rows(mode)[self.index(mode, step)]

    def index(self, mode: Mode, step: Step) -> int:
        """Return where a step stands in its mode; :class:`KeyError` when it does not."""
        for index, row in enumerate(self.rows(mode)):
            if row.step is step:
                return index
        raise KeyError(step)

    def effects(self, mode: Mode) -> frozenset[Step]:
        """Return every effect that a run of this mode may ask for, undos included."""
        rows = self.rows(mode)
        return frozenset(row.step for row in rows) | frozenset(row.undo for row in rows if row.undo is not None)


# Facts that the tables themselves read. The rest belongs to the effects.
_PAIR_FACTS: Mapping[str, type] = MappingProxyType(
    {"pair_existed": bool, "secondary_existed": bool, "secondary": str, "pair_state": str}
)
_VERSION: Mapping[str, type] = MappingProxyType({"version_id": str})
_COMMITTED: Mapping[str, type] = MappingProxyType({"committed": bool})

_MAKE_PAIR = (
    Row(Step.CHECK_PAIR),
    Row(Step.CREATE_SECONDARY, undo=Step.DELETE_SECONDARY, when=SECONDARY_MISSING),
    Row(Step.CREATE_PAIR, undo=Step.DELETE_PAIR, when=PAIR_MISSING),
    Row(Step.RESYNC_STALE, when=PAIR_STALE),
    Row(Step.WAIT_PAIR),
)
_FREEZE = (
    Row(Step.QUIESCE, undo=Step.THAW),
    # A pair that this run made is deleted whole by the undo of its own row; bringing it in step first would be waste.
    Row(Step.SPLIT, undo=Step.RESYNC, undo_when=PAIR_EXISTED),
    Row(Step.THAW),
)
_SEND = (
    Row(Step.EXPORT, undo=Step.WITHDRAW_EXPORT),
    Row(Step.REQUEST, undo=Step.FENCE),
    Row(Step.WITHDRAW_EXPORT),
)
_DROP_PAIR = (
    Row(Step.DELETE_PAIR, when=PAIR_GOES),
    Row(Step.DELETE_SECONDARY, when=SECONDARY_GOES),
)

BACKUP_SOURCE = ProtocolTable(
    kind=RunKind.BACKUP,
    site=Site.SOURCE,
    modes=MappingProxyType(
        {
            BackupMode.SPLIT: (*_MAKE_PAIR, *_FREEZE, *_SEND, Row(Step.RESYNC, when=PAIR_STAYS), *_DROP_PAIR),
            BackupMode.PAIR: (*_MAKE_PAIR, *_SEND, *_DROP_PAIR),
            BackupMode.DIRECT: _SEND,
        }
    ),
    pivot=Step.REQUEST,
    records=MappingProxyType({Step.CHECK_PAIR: _PAIR_FACTS, Step.REQUEST: _VERSION, Step.FENCE: _COMMITTED}),
    fixed=frozenset(_PAIR_FACTS) | {"keep_pair"},
    thaw=frozenset({Step.QUIESCE}),
    patient=frozenset({Step.FENCE}),
)

_EXECUTE_BACKUP = (
    Row(Step.IMPORT, undo=Step.RELEASE_IMPORT),
    Row(Step.PRODUCE, undo=Step.DELETE_SERVER),
    Row(Step.COPY),  # packs without a version are garbage that the store collects; nothing to undo here
    Row(Step.COMMIT, undo=Step.FENCE),
    Row(Step.DELETE_SERVER),
    Row(Step.RELEASE_IMPORT),
)

BACKUP_DESTINATION = ProtocolTable(
    kind=RunKind.BACKUP,
    site=Site.DESTINATION,
    modes=MappingProxyType(dict.fromkeys(BackupMode, _EXECUTE_BACKUP)),
    pivot=Step.COMMIT,
    records=MappingProxyType({Step.COMMIT: _VERSION, Step.FENCE: _COMMITTED}),
    ask=frozenset({Step.COMMIT}),
    patient=frozenset({Step.FENCE}),
    renewed=Step.PRODUCE,
)

RESTORE_SOURCE = ProtocolTable(
    kind=RunKind.RESTORE,
    site=Site.SOURCE,
    modes=MappingProxyType(
        {
            RestoreMode.VOLUME: (
                Row(Step.CHECK_TARGET),
                Row(Step.EXPORT_TARGET, undo=Step.WITHDRAW_EXPORT),
                Row(Step.REQUEST, undo=Step.FENCE),
                Row(Step.WITHDRAW_EXPORT),
            )
        }
    ),
    pivot=Step.REQUEST,
    records=MappingProxyType({Step.FENCE: _COMMITTED}),
    patient=frozenset({Step.FENCE}),
    spoils=Step.REQUEST,
)

RESTORE_DESTINATION = ProtocolTable(
    kind=RunKind.RESTORE,
    site=Site.DESTINATION,
    modes=MappingProxyType(
        {
            RestoreMode.VOLUME: (
                Row(Step.IMPORT, undo=Step.RELEASE_IMPORT),
                Row(Step.PRODUCE, undo=Step.DELETE_SERVER),
                Row(Step.COPY),
                Row(Step.VERIFY),
                Row(Step.DELETE_SERVER),
                Row(Step.RELEASE_IMPORT),
            )
        }
    ),
    pivot=Step.VERIFY,
    records=MappingProxyType({}),
    renewed=Step.PRODUCE,
    spoils=Step.COPY,
)

Tables = Mapping[tuple[RunKind, Site], ProtocolTable]

TABLES: Tables = MappingProxyType(
    {
        (table.kind, table.site): table
        for table in (BACKUP_SOURCE, BACKUP_DESTINATION, RESTORE_SOURCE, RESTORE_DESTINATION)
    }
)
