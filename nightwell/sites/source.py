"""What the source site does for each step: the effects of a backup's and a restore's source side.

Every effect is ensure-style: done again after an unknown outcome it gives the same result. Effects read what earlier
steps learnt from the run's facts and return what they learnt themselves; nothing is kept in memory between two steps.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from datetime import datetime

from nightwell.arrays.port import Array, PairInfo, PairState
from nightwell.errors import ConflictError, InputError, NightwellError, UnreachableError
from nightwell.protocol import NO_FACTS, BackupMode, Effect, EffectContext, Facts, FactValue, Step
from nightwell.settings import SourceSettings
from nightwell.sites.checks import check_mode, check_secondary, check_usable, find_volume, no_version
from nightwell.sites.requests import (
    BackupAnswer,
    BackupRequest,
    Destination,
    FenceRequest,
    RestoreAnswer,
    RestoreRequest,
)


@dataclass(frozen=True, slots=True)
class SourceEffects:
    """The effects of the source site.

    Parameters
    ----------
    array
        The array that holds the volumes.
    destination
        The other site, reached over line 2.
    settings
        Host commands and waiting times.
    """

    array: Array
    destination: Destination
    settings: SourceSettings

    def backup(self) -> dict[Step, Effect]:
        """Return the effects of a backup's source side."""
        return {
            Step.CHECK_PAIR: self.check_pair,
            Step.CREATE_SECONDARY: self.create_secondary,
            Step.CREATE_PAIR: self.create_pair,
            Step.RESYNC_STALE: self.resync_stale,
            Step.WAIT_PAIR: self.wait_pair,
            Step.QUIESCE: self.quiesce,
            Step.SPLIT: self.split,
            Step.THAW: self.thaw,
            Step.EXPORT: self.export,
            Step.REQUEST: self.request_backup,
            Step.FENCE: self.fence,
            Step.WITHDRAW_EXPORT: self.withdraw_export,
            Step.RESYNC: self.resync,
            Step.DELETE_PAIR: self.delete_pair,
            Step.DELETE_SECONDARY: self.delete_secondary,
        }

    def restore(self) -> dict[Step, Effect]:
        """Return the effects of a restore's source side."""
        return {
            Step.CHECK_TARGET: self.check_target,
            Step.EXPORT_TARGET: self.export_target,
            Step.REQUEST: self.request_restore,
            Step.FENCE: self.fence,
            Step.WITHDRAW_EXPORT: self.withdraw_export,
        }

    # -- the pair ------------------------------------------------------------------------------------------------

    def check_pair(self, context: EffectContext) -> Facts:
        """Find out whether the volume has a secondary; nothing is changed."""
        volume = context.facts.text("volume")
        info = find_volume(self.array, volume)
        mode = BackupMode(context.facts.text("mode"))
        check_mode(self.array, volume, mode)
        pair = self.array.pair_of(volume)
        if pair is None:
            secondary = f"{volume}-s-{context.run_id}"
            return Facts(
                {
                    "pair_existed": False,
                    # Only a leftover of this very run can bear this name; it is still ours to make and to delete.
                    "secondary_existed": False,
                    "secondary": secondary,
                    "pair_state": PairState.SMPL.value,
                    "size_bytes": info.size_bytes,
                }
            )
        check_usable(self.array.name, volume, pair)
        check_secondary(self.array, volume, pair, mode, context.run_id)
        return Facts(
            {
                "pair_existed": True,
                "secondary_existed": True,
                "secondary": pair.secondary,
                "pair_state": pair.state.value,
                "size_bytes": info.size_bytes,
            }
        )

    def create_secondary(self, context: EffectContext) -> Facts:
        """Have the array make a volume for S, marked as this run's."""
        size_bytes = context.facts.number("size_bytes")
        self.array.create_volume(context.facts.text("secondary"), size_bytes, owner=context.run_id)
        return NO_FACTS

    def create_pair(self, context: EffectContext) -> Facts:
        """Have the array pair P with S and begin the copy."""
        self.array.create_pair(context.facts.text("volume"), context.facts.text("secondary"), owner=context.run_id)
        return NO_FACTS

    def resync_stale(self, context: EffectContext) -> Facts:
        """Bring a pair that was found split back in step."""
        self.array.resync(context.facts.text("volume"))
        return NO_FACTS

    def wait_pair(self, context: EffectContext) -> Facts:
        """Block until S is in step with P."""
        pair = self._wait_in_step(context.facts.text("volume"))
        return Facts({"copied_bytes": pair.copied_bytes, "to_copy_bytes": pair.to_copy_bytes})

    def quiesce(self, context: EffectContext) -> Facts:
        """Ask the host to stop writing, when a command is set for it."""
        self._host_command("quiesce", self.settings.quiesce, context)
        return NO_FACTS

    def thaw(self, context: EffectContext) -> Facts:
        """Let the host write again."""
        self._host_command("thaw", self.settings.thaw, context)
        return NO_FACTS

    def split(self, context: EffectContext) -> Facts:
        """Split the pair: S stands still from here on."""
        (pair,) = self.array.split([context.facts.text("volume")])
        return Facts(
            {
                "split_id": pair.split_id,
                "previous_split_id": pair.previous_split_id,
                "split_at": pair.split_at.isoformat() if pair.split_at else None,
            }
        )

    def resync(self, context: EffectContext) -> Facts:
        """Bring S back in step and wait for it; as an undo it accepts a pair that was never split."""
        volume = context.facts.text("volume")
        pair = self.array.pair_of(volume)
        if pair is None:
            return NO_FACTS
        if pair.state is PairState.PSUS:
            self.array.resync(volume)
        pair = self._wait_in_step(volume)
        return Facts({"resynced_bytes": pair.copied_bytes})

    def delete_pair(self, context: EffectContext) -> Facts:
        """Dissolve the pair that this run made."""
        self.array.delete_pair(context.facts.text("volume"), owner=context.run_id)
        return NO_FACTS

    def delete_secondary(self, context: EffectContext) -> Facts:
        """Delete the secondary that this run made."""
        self.array.delete_volume(context.facts.text("secondary"), owner=context.run_id)
        return NO_FACTS

    # -- the line and the request --------------------------------------------------------------------------------

    def export(self, context: EffectContext) -> Facts:
        """Serve what is to be read on line 1, read-only, under a name of this run."""
        facts = context.facts
        direct = facts["mode"] == BackupMode.DIRECT
        volume = facts.text("volume") if direct else facts.text("secondary")
        find_volume(self.array, volume)
        export = self.array.export(volume, name=_export_name(context), writable=False, owner=context.run_id)
        return Facts({"url": export.url})

    def request_backup(self, context: EffectContext) -> Facts:
        """Ask the destination for the copy; returns when its version is committed and its server deleted."""
        facts = context.facts
        split_at = facts.get("split_at")
        block_bytes = facts.get("block_bytes")
        answer = self.destination.back_up(
            BackupRequest(
                run_id=context.run_id,
                fencing_token=context.token,
                volume=facts.text("volume"),
                source=f"{self.array.name}/{facts['volume']}",
                url=facts.text("url"),
                mode=BackupMode(facts.text("mode")),
                split_at=datetime.fromisoformat(str(split_at)) if split_at else None,
                split_id=_optional_text(facts.get("split_id")),
                previous_split_id=_optional_text(facts.get("previous_split_id")),
                tells_pair=self.array.capabilities.pair_context,
                block_bytes=block_bytes if isinstance(block_bytes, int) else None,
            )
        )
        return Facts(_answer_facts(answer))

    def fence(self, context: EffectContext) -> Facts:
        """Have the destination end all work of this run, and learn whether it committed a version."""
        answer = self.destination.fence(
            FenceRequest(run_id=context.run_id, kind=context.run.opened.kind, volume=context.run.volume)
        )
        if answer.answer is None:
            return Facts({"committed": False, "target_touched": answer.target_touched})
        return Facts({"committed": True, **_answer_facts(answer.answer)})

    def withdraw_export(self, context: EffectContext) -> Facts:
        """Stop serving on line 1; nothing of this run reads afterwards."""
        self.array.withdraw(_export_name(context), owner=context.run_id)
        return NO_FACTS

    # -- restore -------------------------------------------------------------------------------------------------

    def check_target(self, context: EffectContext) -> Facts:
        """Make sure that the version fits and that nobody else uses the target; nothing is changed."""
        facts = context.facts
        target = facts.text("target")
        version = self.destination.look_up(facts.text("volume"), facts.text("version"))
        if version is None:
            raise no_version(facts.text("volume"), facts.text("version"))
        info = find_volume(self.array, target)
        subject = f"target volume '{target}' on array '{self.array.name}'"
        if info.size_bytes < version.size_bytes:
            raise InputError(
                subject,
                expected=f"at least {version.size_bytes} bytes, the size of version {version.version_id}",
                found=f"{info.size_bytes} bytes",
                cause="the volume was made smaller than the one that was backed up",
                next_step=f"make a target of at least {version.size_bytes} bytes, or grow this one",
            )
        pair = self.array.pair_of(target)
        if pair is not None:
            raise ConflictError(
                subject,
                expected="a volume without a copy pair",
                found=f"{'primary' if pair.primary == target else 'secondary'} of a pair in {pair.state}",
                cause="the volume is in use for a backup",
                next_step="restore to another volume, or delete the pair first",
            )
        self._refuse_attached(subject, target)
        return Facts({"version_id": version.version_id, "size_bytes": version.size_bytes})

    def export_target(self, context: EffectContext) -> Facts:
        """Serve the target on line 1, writable, under a name of this run."""
        target = context.facts.text("target")
        self._refuse_attached(f"target volume '{target}' on array '{self.array.name}'", target)
        export = self.array.export(target, name=_export_name(context), writable=True, owner=context.run_id)
        return Facts({"url": export.url})

    def request_restore(self, context: EffectContext) -> Facts:
        """Ask the destination for the copy; returns when the target was read back and compared."""
        facts = context.facts
        answer = self.destination.restore(
            RestoreRequest(
                run_id=context.run_id,
                fencing_token=context.token,
                volume=facts.text("volume"),
                version_id=facts.text("version_id"),
                target=f"{self.array.name}/{facts['target']}",
                url=facts.text("url"),
            )
        )
        return Facts(_answer_facts(answer))

    # -- helpers -------------------------------------------------------------------------------------------------

    def _refuse_attached(self, subject: str, target: str) -> None:
        for export in self.array.exports():
            # Of an array that cannot count, whatever may be written through is taken for attached.
            attached = export.writable if export.connections is None else export.connections > 0
            if export.volume == target and attached:
                raise ConflictError(
                    subject,
                    expected="no host attached to it",
                    found=f"export '{export.name}', of whose connections the array does not tell"
                    if export.connections is None
                    else f"{export.connections} connection(s) to export '{export.name}'",
                    cause="a host has the volume attached" if export.connections else "a host may have it attached",
                    next_step="detach it there and withdraw the export, or restore to another volume",
                )

    def _wait_in_step(self, volume: str) -> PairInfo:
        deadline_s = time.monotonic() + self.settings.wait_pair_timeout_s
        while True:
            pair = self.array.pair_of(volume)
            subject = f"copy pair of volume '{volume}' on array '{self.array.name}'"
            if pair is None:
                raise ConflictError(
                    subject,
                    expected="a pair",
                    found="none",
                    cause="somebody deleted it while this run waited",
                    next_step="find out who else works on the volume, then start the run again",
                )
            if pair.state is PairState.PAIR:
                return pair
            if pair.state is not PairState.COPY:
                raise ConflictError(
                    subject,
                    expected=f"state {PairState.COPY} and then {PairState.PAIR}",
                    found=f"state {pair.state}{f': {pair.fault}' if pair.fault else ''}",
                    cause="the array could not copy" if pair.state is PairState.PSUE else "somebody split the pair",
                    next_step="look at the array; delete and re-create the pair when it failed",
                )
            if time.monotonic() > deadline_s:
                raise UnreachableError(
                    subject,
                    expected=f"state {PairState.PAIR} within {self.settings.wait_pair_timeout_s:.0f} s",
                    found=f"{pair.copied_bytes} of {pair.to_copy_bytes} bytes copied",
                    cause="the array copies slower than the host writes, or the limit is too short",
                    next_step="raise source.wait_pair_timeout_s, or run when the host writes less",
                )
            time.sleep(self.settings.poll_s)

    def _host_command(self, name: str, command: tuple[str, ...], context: EffectContext) -> None:
        if not command:
            return
        volume = context.facts.text("volume")
        filled = [part.replace("{volume}", volume) for part in command]
        try:
            done = subprocess.run(
                filled, capture_output=True, text=True, timeout=self.settings.host_command_timeout_s, check=False
            )
            found = f"exit status {done.returncode}: {done.stderr.strip()[-300:]}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            found = f"no end after {self.settings.host_command_timeout_s:.0f} s"
        except OSError as error:
            found = error.strerror or str(error)
        if found:
            raise NightwellError(
                f"{name} command '{filled[0]}' for volume '{volume}'",
                expected="exit status 0",
                found=found,
                cause="the host refused, or the command is wrong",
                next_step=f"run it by hand, or correct source.{name}",
            )


def _export_name(context: EffectContext) -> str:
    return f"run-{context.run_id}"


def _optional_text(value: FactValue) -> str | None:
    return value if isinstance(value, str) else None


def _answer_facts(answer: BackupAnswer | RestoreAnswer) -> dict[str, FactValue]:
    return dict(answer.model_dump())
