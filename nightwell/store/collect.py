"""Removes packs that no version refers to: what crashed, aborted or overtaken runs left behind.

A pack of a run that is still copying looks the same, so nothing is deleted on first sight. A first collection only
notes what it finds unreferenced, with the server's time; a later one deletes what was noted at least ``min_age_s``
before and is still unreferenced. A run that takes longer than that finds its packs missing when it commits, and fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from nightwell.errors import CredentialsError
from nightwell.store.engine import Engine
from nightwell.store.layout import marks_key, packs_key, scratch_key
from nightwell.store.objects import ObjectInfo, Objects

#: A day: longer than any copy is allowed to take.
MIN_AGE_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Orphan:
    """A pack that no version refers to: its key below the store's prefix, its size, and when it was written."""

    key: str
    size_bytes: int
    written_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectReport:
    """What a collection did: keys noted now, noted before but too young, deleted, and held back by the server."""

    marked: tuple[str, ...]
    waiting: tuple[str, ...]
    deleted: tuple[str, ...]
    retained: tuple[str, ...]
    bytes_deleted: int


def find_orphans(engine: Engine, objects: Objects) -> tuple[Orphan, ...]:
    """Return the packs that no version of a volume refers to, sorted by key."""
    # The list first: a pack that is committed after it was listed is then seen as referenced.
    packs = list(objects.list(packs_key(engine.volume)))
    prefix = engine.packs_url
    live = {url.removeprefix(prefix) for snapshot in engine.roots() for url in engine.live_packs(snapshot)}
    return tuple(
        Orphan(pack.key, pack.size_bytes, pack.written_at)
        for pack in sorted(packs, key=_key)
        if pack.key.removeprefix(packs_key(engine.volume)) not in live
    )


def collect(engine: Engine, objects: Objects, *, min_age_s: float = MIN_AGE_S) -> CollectReport:
    """Note orphans, and delete those noted at least ``min_age_s`` ago; see the module's text."""
    now = objects.check_bucket()  # the server's clock: ours may be wrong, and two collectors' may differ
    before = _load_marks(engine.volume, objects)
    orphans = {orphan.key: orphan for orphan in find_orphans(engine, objects)}
    limit = now - timedelta(seconds=min_age_s)
    ripe = [key for key in orphans if key in before and before[key] <= limit]
    deleted, retained = _delete(ripe, objects)
    marks = {key: before.get(key, now) for key in orphans if key not in deleted}
    _save_marks(engine.volume, marks, objects)
    engine.collect(limit)
    old = [item.key for item in objects.list(scratch_key(engine.volume)) if item.written_at <= limit]
    objects.delete_all(old)  # from a creation that was cut off twice
    return CollectReport(
        marked=tuple(key for key in marks if key not in before),
        waiting=tuple(key for key in marks if key in before and key not in retained),
        deleted=tuple(deleted),
        retained=tuple(retained),
        bytes_deleted=sum(orphans[key].size_bytes for key in deleted),
    )


def _delete(keys: list[str], objects: Objects) -> tuple[list[str], list[str]]:
    deleted: list[str] = []
    retained: list[str] = []
    for key in keys:
        try:
            objects.delete(key)
        except CredentialsError:  # an object lock answers so; the pack is held, and that is no failure
            retained.append(key)
        else:
            deleted.append(key)
    return deleted, retained


def _load_marks(volume: str, objects: Objects) -> dict[str, datetime]:
    data = objects.get(marks_key(volume))
    if data is None:
        return {}
    try:
        return {key: datetime.fromisoformat(moment) for key, moment in json.loads(data)["marked"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # the marks only delay: without them the wait starts anew


def _save_marks(volume: str, marks: Mapping[str, datetime], objects: Objects) -> None:
    document = {"marked": {key: moment.isoformat() for key, moment in marks.items()}}
    objects.put(marks_key(volume), json.dumps(document, indent=1).encode())


def _key(item: ObjectInfo) -> str:
    return item.key
