"""Everything that a command which fails must leave as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from machine import Machine

from nightwell.store.location import StoreLocation
from nightwell.store.objects import Objects


class Watch:
    """Watches a machine from now on.

    What a check found is what the next one begins with, so that nothing escapes between two checks either.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._last = state_of(machine)

    @contextmanager
    def nothing_changes(self, *folders: Path) -> Iterator[None]:
        """Check that the block leaves everything as it was, and nothing of a run."""
        files = files_in(*folders)
        yield
        before, self._last = self._last, state_of(self._machine)
        assert {name: value for name, value in self._last.items() if value != before[name]} == {}
        assert self._last["left over"] == []
        assert files_in(*folders) == files


def state_of(machine: Machine) -> dict[str, object]:
    """Return volumes, their bytes, pairs, exports, stored objects and results, to be compared."""
    arrays = {"source": machine.source_array, "destination": machine.destination_array}
    found: dict[str, object] = {"objects": objects_of(machine.destination.location), "left over": machine.leftovers()}
    for site, array in arrays.items():
        found[f"volumes of {site}"] = array.volumes()
        found[f"pairs of {site}"] = [array.pair_of(volume.name) for volume in array.volumes()]
        found[f"exports of {site}"] = [replace(export, connections=0) for export in array.exports()]
    # A volume that is not served is the secondary of a pair: what the array says of the pair has to do.
    served = {export.volume for export in machine.source_array.exports()}
    found["bytes"] = {name: machine.digest(name) for name in sorted(served)}
    found["results"] = files_in(Path(machine.settings.results_location()))
    return found


def files_in(*folders: Path) -> dict[str, str]:
    """Return what stands in folders: a digest of each file."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for folder in folders
        for path in folder.rglob("*")
    }


def objects_of(location: StoreLocation) -> set[str]:
    """Return the keys of all objects under a prefix."""
    objects = Objects(location)
    try:
        return {info.key for info in objects.list("")}
    finally:
        objects.close()
