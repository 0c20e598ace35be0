"""Completes a repository whose creation was cut off.

Icechunk makes a repository only in an empty folder, and a crash in the middle leaves one that is neither empty nor a
repository. Deleting what is there could take it from under another run that is just completing it. So a repository is
made elsewhere and copied over, the branch last and only if there is none: whoever else is at it ends up with the same,
because a repository without versions always holds the same objects.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from nightwell.store.layout import repository_key, scratch_key
from nightwell.store.objects import Objects

_REFS = "refs/"


def complete_repository(objects: Objects, volume: str, create: Callable[[str], None]) -> None:
    """Make the volume's repository whole; ``create`` makes an empty one under the key it is given."""
    scratch = f"{scratch_key(volume)}{uuid4().hex}"
    create(scratch)
    names = [item.key.removeprefix(f"{scratch}/") for item in objects.list(f"{scratch}/")]
    for name in sorted(names, key=lambda name: name.startswith(_REFS)):
        data = objects.get(f"{scratch}/{name}")
        if data is not None:
            objects.put_new(f"{repository_key(volume)}/{name}", data)
    objects.delete_all(f"{scratch}/{name}" for name in names)
