"""What the source site refuses before it touches anything, and how it says so."""

from __future__ import annotations

from nightwell.arrays.port import Array, PairInfo, PairState, VolumeInfo
from nightwell.errors import ConflictError, InputError, NotFoundError
from nightwell.protocol import BackupMode


def find_volume(array: Array, name: str) -> VolumeInfo:
    """Return a volume of an array; NotFoundError names the ones there are."""
    volumes = array.volumes()
    for info in volumes:
        if info.name == name:
            return info
    known = ", ".join(info.name for info in volumes[:8]) or "none at all"
    raise NotFoundError(
        f"volume '{name}' on array '{array.name}'",
        expected="a volume of that name",
        found=f"these: {known}",
        cause="a mistyped name, or another array's volume",
        next_step="list them with 'nightwell volume list'",
    )


def no_version(volume: str, selector: str) -> NotFoundError:
    """Say that the store has no such version."""
    return NotFoundError(
        f"version '{selector}' of volume '{volume}'",
        expected="a version in the store",
        found="none",
        cause="a mistyped id or volume, or the version was deleted",
        next_step=f"list them with 'nightwell versions {volume}'",
    )


def check_usable(array_name: str, volume: str, pair: PairInfo) -> None:
    """Refuse a volume that is the secondary of its pair, or whose pair has failed."""
    subject = f"volume '{volume}' on array '{array_name}'"
    if pair.primary != volume:
        raise ConflictError(
            subject,
            expected="a primary volume",
            found=f"the secondary of '{pair.primary}'",
            cause="the secondary was named instead of its primary",
            next_step=f"back up '{pair.primary}'",
        )
    if pair.state is PairState.PSUE:
        raise ConflictError(
            subject,
            expected="a copy pair that works",
            found=f"state {pair.state}: {pair.fault or 'no reason given'}",
            cause="the array lost the secondary or the list of changes",
            next_step="delete the pair, then back up again: the run makes a new one",
        )


def check_secondary(array: Array, volume: str, pair: PairInfo, mode: BackupMode, run_id: str) -> None:
    """Refuse a pair that was there when its array does not hold the secondary, or somebody else reads it.

    An array resyncs no secondary that it exports, so a run that split the pair could not put it back.
    """
    if pair.secondary not in {info.name for info in array.volumes()}:
        raise ConflictError(
            f"copy pair of volume '{volume}' on array '{array.name}'",
            expected="a secondary that this array holds",
            found=f"secondary '{pair.secondary}', which it does not list",
            cause="the pair was made by another tool or with another array",
            next_step=f"dissolve it where it was made, or use mode '{BackupMode.DIRECT}'",
        )
    if mode is not BackupMode.SPLIT and pair.state is not PairState.PSUS:
        return
    for export in array.exports():
        if export.volume == pair.secondary and export.owner != run_id:
            reader = "somebody" if export.owner is None else f"run '{export.owner}'"
            raise ConflictError(
                f"secondary '{pair.secondary}' of volume '{volume}' on array '{array.name}'",
                expected="a secondary that nobody reads: it is brought back in step after the copy",
                found=f"export '{export.name}' of {reader}",
                cause="another backup, a report or a test uses the secondary"
                if export.owner is None
                else "that run ended without withdrawing it",
                next_step=f"end that use and run 'nightwell line withdraw {export.name}', then back up again",
            )


def check_mode(array: Array, volume: str, mode: BackupMode) -> None:
    """Refuse a mode that the array's driver cannot serve."""
    can = array.capabilities
    if mode is BackupMode.PAIR and not (can.secondary_readable_while_pair and can.pair_context):
        raise InputError(
            f"mode '{mode}' for volume '{volume}' on array '{array.name}'",
            expected="an array whose secondary can be read in PAIR, and that tells its readers the pair's state",
            found="one that does not offer it",
            cause="the array's driver cannot",
            next_step=f"use mode '{BackupMode.SPLIT}'",
        )
