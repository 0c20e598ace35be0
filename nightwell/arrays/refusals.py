"""Every refusal of the embedded array, in one place, so that they read alike."""

from __future__ import annotations

from pathlib import Path

from nightwell.arrays.port import PairState
from nightwell.errors import ConflictError, InputError, NightwellError, NotFoundError


def unknown_volume(name: str) -> NotFoundError:
    """Say that no volume has this name."""
    return NotFoundError(
        f"volume {name!r}",
        expected="a volume of this array",
        found="none of that name",
        cause="the name is mistyped, or the volume was deleted",
        next_step="list the volumes and try again",
    )


def no_pair(volume: str) -> ConflictError:
    """Say that the volume is in no pair."""
    return ConflictError(
        f"volume {volume!r}",
        expected="a primary in a pair",
        found=f"state {PairState.SMPL}",
        cause="no pair was made, or it was dissolved",
        next_step="create the pair first",
    )


def not_primary(volume: str, primary: str) -> ConflictError:
    """Say that the volume is the secondary of its pair."""
    return ConflictError(
        f"volume {volume!r}",
        expected="the primary of its pair",
        found=f"the secondary of {primary!r}",
        cause="the pair's two volumes were mixed up",
        next_step=f"name {primary!r} instead",
    )


def other_owner(what: str, owner: str | None, asked: str) -> ConflictError:
    """Say that the thing belongs to somebody else."""
    return ConflictError(
        what,
        expected=f"a thing of {asked!r}",
        found="one made by hand" if owner is None else f"one that belongs to {owner!r}",
        cause="another run made it and may still need it",
        next_step="wait for that run's end, or remove the thing by hand without naming an owner",
    )


def exists_otherwise(what: str, expected: str, found: str) -> ConflictError:
    """Say that a thing of that name exists, and is not what was asked for."""
    return ConflictError(
        what,
        expected=expected,
        found=found,
        cause="the name is in use for something else",
        next_step="choose another name, or delete the existing one",
    )


def in_pair(volume: str, action: str) -> ConflictError:
    """Say that the volume's pair forbids the call."""
    return ConflictError(
        f"volume {volume!r}",
        expected=f"a volume in no pair, to {action} it",
        found="a volume in a pair",
        cause="the pair is still in use",
        next_step="delete the pair first",
    )


def sizes_differ(primary: str, primary_bytes: int, secondary: str, secondary_bytes: int) -> ConflictError:
    """Say that two volumes of different sizes cannot be paired."""
    return ConflictError(
        f"pair of {primary!r} and {secondary!r}",
        expected=f"two volumes of one size ({primary_bytes} bytes)",
        found=f"{secondary_bytes} bytes in the secondary",
        cause="the primary has grown, or the wrong secondary was named",
        next_step="make a secondary of the primary's size, or grow the smaller one",
    )


def connected(what: str, connections: int | None) -> ConflictError:
    """Say that a client holds the export open."""
    return ConflictError(
        what,
        expected="no client connected",
        found="a client" if connections is None else f"{connections} connections",
        cause="a host or a virtual server still uses it",
        next_step="withdraw the export first; that closes its connections",
    )


def still_exported(volume: str, export: str, action: str) -> ConflictError:
    """Say that the secondary is still served."""
    return ConflictError(
        f"volume {volume!r}",
        expected=f"a secondary that is not exported, to {action}",
        found=f"export {export!r}",
        cause="its reader would see it change underneath",
        next_step=f"withdraw export {export!r} first",
    )


def wrong_state(what: str, expected: str, state: PairState, next_step: str) -> ConflictError:
    """Say that the pair's state forbids the call."""
    return ConflictError(
        what,
        expected=expected,
        found=f"state {state}",
        cause="the pair is not in step" if state is PairState.COPY else "the pair's state forbids the call",
        next_step=next_step,
    )


def wrong_size(name: str, size_bytes: int) -> InputError:
    """Say that no volume can have this size."""
    return InputError(
        f"volume {name!r}",
        expected="a size of at least 1 byte that this file system can hold",
        found=f"{size_bytes} bytes",
        cause="a wrong number or unit",
        next_step="give the size in bytes",
    )


def cannot_record(path: Path, problem: OSError) -> NightwellError:
    """Say that the array's own record could not be written."""
    return NightwellError(
        f"array state {path}",
        expected="a durable record of the change",
        found=str(problem),
        cause="the file system under the array is full or failing",
        next_step="free space there, then repeat the call",
    )


def mixed_up(name: str, expected: str, found: str, next_step: str) -> ConflictError:
    """Say that an export was taken for an import, or the reverse."""
    return ConflictError(
        f"{name!r}",
        expected=expected,
        found=found,
        cause="exports are withdrawn, imports are released",
        next_step=next_step,
    )


def shrinks(name: str, size_bytes: int, asked_bytes: int) -> InputError:
    """Say that a volume never becomes smaller."""
    return InputError(
        f"volume {name!r}",
        expected=f"at least its present {size_bytes} bytes",
        found=f"{asked_bytes} bytes",
        cause="volumes grow, and never shrink",
        next_step="give a larger size, or make another volume",
    )


def one_volume_twice(name: str) -> InputError:
    """Say that a volume cannot be paired with itself."""
    return InputError(
        f"pair of {name!r}",
        expected="two different volumes",
        found="one volume twice",
        cause="the secondary's name is mistyped",
        next_step="name another volume as secondary",
    )


def empty_group() -> InputError:
    """Say that a split needs at least one primary."""
    return InputError(
        "split",
        expected="at least one primary",
        found="none",
        cause="an empty list was given",
        next_step="name the primaries of the group",
    )


def no_whole_sectors(what: str, size_bytes: int, sector_bytes: int) -> InputError:
    """Say that this array's volumes consist of whole sectors."""
    return InputError(
        what,
        expected=f"a size in whole sectors of {sector_bytes} bytes",
        found=f"{size_bytes} bytes",
        cause="this array cannot hold part of a sector",
        next_step=f"ask for {-(-size_bytes // sector_bytes) * sector_bytes} bytes",
    )


def other_pair(asked: tuple[str, str, str | None], found: tuple[str, str, str | None]) -> ConflictError:
    """Say that one of two volumes is in another pair; each pair as primary, secondary and owner."""
    return exists_otherwise(
        f"pair of {asked[0]!r} and {asked[1]!r}",
        f"two volumes in no pair, or this very pair of owner {asked[2]!r}",
        f"a pair of {found[0]!r} and {found[1]!r} of owner {found[2]!r}",
    )
