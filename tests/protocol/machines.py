"""The machines of both sites in memory: array, host, line 1, virtual server and store.

Effects behave as the ports promise: they make sure of a state, and refuse what a real driver refuses. The model also
notes at once what must never happen (``wrongs``), such as deleting what a person made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from nightwell.errors import ConflictError, NightwellError, UnknownOutcomeError
from nightwell.protocol import BackupMode, EffectContext, Facts, Mode, RunKind, Step

RUN = "run-1"
VERSION = f"version-of-{RUN}"


class Before(StrEnum):
    """What stood before the run."""

    NOTHING = "nothing"
    PAIR = "pair in step"
    PSUS = "pair split"
    SECONDARY = "a person's S without a pair"


@dataclass(frozen=True)
class Case:
    kind: RunKind
    mode: Mode
    before: Before = Before.NOTHING
    keep: bool = False

    def __str__(self) -> str:
        return f"{self.kind}/{self.mode}, {self.before}{', keep' if self.keep else ''}"


class Machines:
    """What stands at both sites, as a run finds and changes it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        existed = case.before in (Before.PAIR, Before.PSUS)
        self.pair = {Before.PAIR: "PAIR", Before.PSUS: "PSUS"}.get(case.before, "SMPL")
        self.secondary = existed or case.before is Before.SECONDARY
        self.persons_pair = existed
        self.persons_secondary = self.secondary
        self.frozen = self.exported = self.imported = self.copied = self.resynced = False
        self.server = "none"
        self.versions: set[str] = set()
        self.target = "old"
        self.wrongs: list[str] = []

    # ------------------------------------------------------------ source array and host

    def check_pair(self, _: EffectContext) -> Facts:
        return Facts(
            pair_existed=self.pair != "SMPL",
            secondary_existed=self.secondary,
            secondary="well-7.S",
            pair_state=self.pair,
        )

    def create_secondary(self, _: EffectContext) -> None:
        self.secondary = True

    def create_pair(self, _: EffectContext) -> None:
        need(self.secondary, "a pair needs S")
        self.pair = "COPY" if self.pair == "SMPL" else self.pair

    def wait_pair(self, _: EffectContext) -> None:
        need(self.pair in ("COPY", "PAIR"), "only a pair that copies gets in step")
        self.pair = "PAIR"

    def quiesce(self, _: EffectContext) -> None:
        self.frozen = True

    def split(self, _: EffectContext) -> None:
        need(self.pair in ("PAIR", "PSUS"), "only a pair in step is split")
        if self.pair == "PAIR" and not self.frozen:
            self.wrongs.append("split under a host that was not quiesced")
        self.pair = "PSUS"

    def thaw(self, _: EffectContext) -> None:
        self.frozen = False

    def export(self, _: EffectContext) -> None:
        need(self.pair != "COPY", "S is not usable while it is copied")
        self.exported = True

    def withdraw(self, _: EffectContext) -> None:
        self.exported = False

    def resync(self, _: EffectContext) -> None:
        need(not self.exported, "S is exported")
        need(self.pair != "SMPL", "there is no pair")
        self.pair = "PAIR"
        self.resynced = True

    def delete_pair(self, _: EffectContext) -> None:
        need(not self.exported, "S is exported")
        if self.persons_pair:
            self.wrongs.append("deleted a person's pair")
        self.pair = "SMPL"

    def delete_secondary(self, _: EffectContext) -> None:
        need(self.pair == "SMPL", "S is in a pair")
        need(not self.exported, "S is exported")
        if self.persons_secondary:
            self.wrongs.append("deleted a person's S")
        self.secondary = False

    # ------------------------------------------------------------ destination array, virtual server, store

    def import_volume(self, _: EffectContext) -> None:
        need(self.exported, "there is no such export")
        self.imported = True

    def produce(self, _: EffectContext) -> None:
        self.server, self.copied = "alive", False

    def copy(self, _: EffectContext) -> None:
        if self.case.kind is RunKind.RESTORE:
            self.target = "partial"
        need(self.server == "alive", "there is no virtual server")
        need(self.imported and self.exported, "line 1 is cut")
        wanted = (
            {BackupMode.SPLIT: "PSUS", BackupMode.PAIR: "PAIR"}.get(BackupMode(self.case.mode), self.pair)
            if (self.case.kind is RunKind.BACKUP)
            else self.pair
        )
        need(self.pair == wanted, "the pair is in the wrong state")
        self.copied = True
        if self.case.kind is RunKind.RESTORE:
            self.target = "written"

    def commit(self, _: EffectContext) -> Facts:
        if VERSION not in self.versions:
            need(self.server == "alive" and self.copied, "the mover has nothing to commit")
            if not self.exported:
                self.wrongs.append("committed after the source took S back")
        self.versions.add(VERSION)
        return Facts(version_id=VERSION)

    def verify(self, _: EffectContext) -> None:
        need(self.server == "alive" and self.target == "written", "there is nothing to verify")

    def ask_store(self, _: EffectContext) -> Facts:
        self.server, self.copied = "none", False
        found = VERSION in self.versions
        return Facts(committed=found, version_id=VERSION if found else None)

    def delete_server(self, _: EffectContext) -> None:
        self.server, self.copied = "none", False

    def release(self, _: EffectContext) -> None:
        need(self.server != "alive", "the virtual server still reads the import")
        self.imported = False


def nothing(_machines: Machines, _context: EffectContext) -> None:
    """Check what the model has no counterpart of."""


EFFECTS: Mapping[Step, Callable[[Machines, EffectContext], Facts | None]] = {
    Step.CHECK_PAIR: Machines.check_pair,
    Step.CREATE_SECONDARY: Machines.create_secondary,
    Step.CREATE_PAIR: Machines.create_pair,
    Step.RESYNC_STALE: Machines.resync,
    Step.WAIT_PAIR: Machines.wait_pair,
    Step.QUIESCE: Machines.quiesce,
    Step.SPLIT: Machines.split,
    Step.THAW: Machines.thaw,
    Step.EXPORT: Machines.export,
    Step.FENCE: Machines.ask_store,
    Step.WITHDRAW_EXPORT: Machines.withdraw,
    Step.RESYNC: Machines.resync,
    Step.DELETE_PAIR: Machines.delete_pair,
    Step.DELETE_SECONDARY: Machines.delete_secondary,
    Step.IMPORT: Machines.import_volume,
    Step.PRODUCE: Machines.produce,
    Step.COPY: Machines.copy,
    Step.COMMIT: Machines.commit,
    Step.VERIFY: Machines.verify,
    Step.DELETE_SERVER: Machines.delete_server,
    Step.RELEASE_IMPORT: Machines.release,
    Step.CHECK_TARGET: nothing,
    Step.EXPORT_TARGET: Machines.export,
}


def need(held: object, found: str) -> None:
    """Refuse as a driver of a port does."""
    if not held:
        raise ConflictError("the model", expected="another state", found=found, cause="a consequence", next_step="none")


def injected() -> NightwellError:
    return NightwellError("the model", expected="no fault", found="injected", cause="the plan", next_step="none")


def unknown() -> UnknownOutcomeError:
    return UnknownOutcomeError("the model", expected="a reply", found="none", cause="the plan", next_step="none")
