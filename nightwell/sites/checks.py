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
