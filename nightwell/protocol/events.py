"""What can happen to a run, as frozen values. The journal is a list of these and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from nightwell.errors import NightwellError, from_dict
from nightwell.protocol.facts import NO_FACTS, Facts
from nightwell.protocol.steps import Mode, RunKind, Site, Step


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as it is journaled: the class by name, and the five things every error says."""

    error: str
    subject: str
    expected: str
    found: str
    cause: str
    next_step: str

    @classmethod
    def of(cls, error: BaseException, step: Step) -> Problem:
        """Describe an error that an effect raised; one outside the project's tree is described as a defect."""
        if isinstance(error, NightwellError):
            return cls(**error.as_dict())
        return cls(
            error=type(error).__name__,
            subject=f"step {step}",
            expected="an outcome, or an error of nightwell's own kind",
            found=str(error) or type(error).__name__,
            cause="a defect in the step's effect, or in a library it calls",
            next_step="look at the log of the process that ran the step",
        )

    def as_error(self) -> NightwellError:
        """Return the problem as an exception of its own class (the root class when that is not known here)."""
        return from_dict(
            {
                "error": self.error,
                "subject": self.subject,
                "expected": self.expected,
                "found": self.found,
                "cause": self.cause,
                "next_step": self.next_step,
            }
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """The run exists. Always the first event, and only the first."""

    run_id: str
    kind: RunKind
    site: Site
    volume: str
    mode: Mode
    facts: Facts = NO_FACTS


@dataclass(frozen=True, slots=True)
class Resumed:
    """A driver took the run up again; whatever was under way is in doubt. ``token`` is its lease's."""

    token: int
    owner: str


@dataclass(frozen=True, slots=True)
class Started:
    """A step's effect is about to begin."""

    step: Step


@dataclass(frozen=True, slots=True)
class Finished:
    """A step's effect happened, and this is what it learnt."""

    step: Step
    facts: Facts = NO_FACTS


@dataclass(frozen=True, slots=True)
class Failed:
    """A step's effect raised an error. It may have happened all the same, wholly or in part."""

    step: Step
    problem: Problem


@dataclass(frozen=True, slots=True)
class Doubted:
    """It cannot be told whether the effect of a step, or of its undo, happened."""

    step: Step
    problem: Problem


@dataclass(frozen=True, slots=True)
class UndoStarted:
    """The undo of a step is about to begin."""

    step: Step


@dataclass(frozen=True, slots=True)
class Undone:
    """A step is taken back."""

    step: Step
    facts: Facts = NO_FACTS


@dataclass(frozen=True, slots=True)
class UndoFailed:
    """A step could not be taken back; a person must."""

    step: Step
    problem: Problem


@dataclass(frozen=True, slots=True)
class FoundCommitted:
    """Undoing the pivot asked what happened, and the answer is that it had succeeded: forward again."""

    version_id: str
    facts: Facts = NO_FACTS


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody wants the run to end. Before the pivot it turns back; after it, the cleanup still goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reopened:
    """A stuck run is to try again what it owes."""

    by: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """A person did by hand what a stuck run owed."""

    by: str
    note: str


Event = (
    Opened
    | Resumed
    | Started
    | Finished
    | Failed
    | Doubted
    | UndoStarted
    | Undone
    | UndoFailed
    | FoundCommitted
    | CancelRequested
    | Reopened
    | Resolved
)
