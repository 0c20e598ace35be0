"""The protocol of a run: pure tables and transitions, a journal, leases and the driver.

``steps`` and ``tables`` say what is done; ``events``, ``run`` and ``transitions`` say what a run's state is; ``codec``,
``database``, ``journal``, ``lease`` and ``keeper`` make it durable and exclusive; ``driver`` does it; ``answers`` is
what one site tells the other; ``times``, ``verdicts``, ``endings`` and ``diagram`` tell people about it.
"""

from nightwell.protocol.answers import fence_outcome, request_outcome
from nightwell.protocol.database import Clock, Database, utc_now
from nightwell.protocol.driver import Effect, EffectContext, cancel, drive
from nightwell.protocol.endings import Ending, ending, runbook
from nightwell.protocol.events import (
    CancelRequested,
    Doubted,
    Event,
    Failed,
    Finished,
    FoundCommitted,
    Opened,
    Problem,
    Reopened,
    Resolved,
    Resumed,
    Started,
    UndoFailed,
    Undone,
    UndoStarted,
)
from nightwell.protocol.facts import NO_FACTS, Facts, FactValue
from nightwell.protocol.journal import Journal, Recorded, RunSummary
from nightwell.protocol.keeper import Hold, Keeper, keep_alive
from nightwell.protocol.lease import Lease, Leases
from nightwell.protocol.run import Action, Do, Leftover, Phase, ProtocolViolation, Run, Undo
from nightwell.protocol.steps import BackupMode, Mode, RestoreMode, RunKind, Site, Step
from nightwell.protocol.tables import TABLES, ProtocolTable
from nightwell.protocol.times import Outcome, StepTime, timeline
from nightwell.protocol.transitions import begin, evolve, replay
from nightwell.protocol.verdicts import may_pass, remedies, verdict

__all__ = [
    "NO_FACTS",
    "TABLES",
    "Action",
    "BackupMode",
    "CancelRequested",
    "Clock",
    "Database",
    "Do",
    "Doubted",
    "Effect",
    "EffectContext",
    "Ending",
    "Event",
    "FactValue",
    "Facts",
    "Failed",
    "Finished",
    "FoundCommitted",
    "Hold",
    "Journal",
    "Keeper",
    "Lease",
    "Leases",
    "Leftover",
    "Mode",
    "Opened",
    "Outcome",
    "Phase",
    "Problem",
    "ProtocolTable",
    "ProtocolViolation",
    "Recorded",
    "Reopened",
    "Resolved",
    "RestoreMode",
    "Resumed",
    "Run",
    "RunKind",
    "RunSummary",
    "Site",
    "Started",
    "Step",
    "StepTime",
    "Undo",
    "UndoFailed",
    "UndoStarted",
    "Undone",
    "begin",
    "cancel",
    "drive",
    "ending",
    "evolve",
    "fence_outcome",
    "keep_alive",
    "may_pass",
    "remedies",
    "replay",
    "request_outcome",
    "runbook",
    "timeline",
    "utc_now",
    "verdict",
]
