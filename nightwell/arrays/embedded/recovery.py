"""What a start finds: volumes as they are, and pairs as far as they can be trusted.

Three cases, told apart by the durable record:

- *clean*: the last process brought everything to the disk. All is as it was.
- *killed, same run of the kernel*: the page cache kept every store of the dead process, data and marks alike. All is
  as it was; what was being written is marked, and is copied again.
- *other run of the kernel*: power may have been lost, and pages may have reached the disk in any order. Linked pairs
  are copied again in full. A split S stands, for the split brought it to the disk before it was recorded; but what P
  changed since is not known, so its resync will be full, and no change list holds.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from nightwell.arrays.embedded.catalogue import Catalogue, LinkedPair
from nightwell.arrays.embedded.core import attach, open_pair
from nightwell.arrays.embedded.pair import Pair
from nightwell.arrays.embedded.state import ArrayState, PairRecord, VolumeRecord, load_state
from nightwell.arrays.embedded.volume import Volume
from nightwell.arrays.embedded.volume_file import VolumeFile
from nightwell.arrays.port import PairState
from nightwell.arrays.record_file import current_boot_id
from nightwell.errors import ConflictError, IntegrityError


def open_catalogue(directory: Path, name: str) -> Catalogue:
    """Return what the directory holds, its copies not yet running; a new directory holds nothing.

    Raises
    ------
    ConflictError
        The directory belongs to an array of another name.
    FormatError, IntegrityError
        The record cannot be read, or a volume's file does not fit it.
    """
    held = Catalogue(directory, name)
    state = load_state(held.state_path)
    if state is None:
        held.save()
        return held
    if state.name != name:
        raise ConflictError(
            f"array directory {directory}",
            expected=f"the directory of array {name!r}",
            found=f"that of array {state.name!r}",
            cause="two arrays' directories were mixed up",
            next_step=f"name the array {state.name!r}, or give another directory",
        )
    _restore(held, state)
    held.save()
    return held


def _restore(held: Catalogue, state: ArrayState) -> None:
    held.port = state.port
    for leftover in state.leftovers:
        (held.directory / leftover).unlink(missing_ok=True)
    held.volumes = {record.name: _open_volume(held, record) for record in state.volumes}
    held.exports = {record.name: record for record in state.exports}
    held.imports = {record.name: record for record in state.imports}
    trusted = state.clean or state.boot_id == current_boot_id()
    _sweep_maps(held, state.pairs)
    for record in state.pairs:
        held.pairs[record.primary] = LinkedPair(_open_pair(held, record, trusted=trusted))


def _open_volume(held: Catalogue, record: VolumeRecord) -> Volume:
    path = held.volume_path(record.name)
    found_bytes = path.stat().st_size if path.is_file() else 0
    if found_bytes < record.size_bytes:
        raise IntegrityError(
            f"volume {record.name!r}",
            expected=f"its file {path} of {record.size_bytes} bytes",
            found=f"{found_bytes} bytes" if path.is_file() else "no such file",
            cause="the file was removed, cut, or not copied along",
            next_step="put the file back, then start the array again",
        )
    if found_bytes > record.size_bytes:
        os.truncate(path, record.size_bytes)  # a growth that was not recorded; nobody has written there
    return Volume(record.name, record.owner, VolumeFile(path), held.gate)


def _open_pair(held: Catalogue, record: PairRecord, *, trusted: bool) -> Pair:
    pair = open_pair(held, record)
    if not trusted or pair.doubtful:
        pair.distrust()
    elif pair.state is PairState.COPY and pair.lacking.find(0) < 0:
        pair.state = PairState.PAIR
    attach(held, pair)
    return pair


def _sweep_maps(held: Catalogue, pairs: tuple[PairRecord, ...]) -> None:
    # Maps of a pair that never came on record; no volume's bytes are in them.
    known = {path for record in pairs for path in held.map_paths(record.pair_id)}
    for path in (held.directory / "maps").iterdir():
        if path not in known:
            with suppress(FileNotFoundError):
                path.unlink()
