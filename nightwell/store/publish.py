"""The one step that makes a version: an Icechunk commit, whose outcome is never guessed.

A conditional write that is retried can fail against its own success, and an answer can be lost on its way. So whatever
the commit says, when it is not plain success the branch is read back, and what stands there decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NoReturn

import icechunk
import zarr
from blake3 import blake3

from nightwell.errors import ConflictError, FencedError, IntegrityError, UnknownOutcomeError
from nightwell.store.engine import Engine
from nightwell.store.layout import packs_key
from nightwell.store.objects import Objects
from nightwell.store.versions import BlockStatistics, Version, VersionDraft, encode_version

_TRIES = 3


def check_fence(draft: VersionDraft, newest: Version | None) -> None:
    """Raise FencedError when the newest version was made under a higher fencing token."""
    if newest is not None and newest.fencing_token > draft.fencing_token:
        raise FencedError(
            _subject(draft),
            expected=f"no version made under a fencing token above {draft.fencing_token}",
            found=f"version {newest.version_id} of run '{newest.run_id}', token {newest.fencing_token}",
            cause="this run lost its lease while it was cut off, and another run took over",
            next_step="let this run end; the newer version stands",
        )


def publish(
    engine: Engine,
    session: Any,
    draft: VersionDraft,
    *,
    parent: Version | None,
    statistics: BlockStatistics,
    fingerprint: str,
    pack_keys: Sequence[str],
    objects: Objects,
) -> Version:
    """Commit a session as a version and tag it; see ``VersionWriter.commit`` for what is raised."""
    done = engine.version_of_run(draft.run_id, back_to=parent)
    if done is not None:
        return done
    check_fence(draft, engine.newest_version())
    _check_packs(draft, pack_keys, objects)
    version = _describe(draft, parent, statistics, fingerprint)
    # A commit needs a change, also when no block has changed; and the group tells a stock reader what it looks at.
    zarr.open_group(session.store, mode="a").attrs.update(
        {"volume": draft.volume, "version": version.version_id, "size_bytes": draft.size_bytes}
    )
    _commit(engine, session, draft, version, parent)
    made = engine.version_of_run(draft.run_id, back_to=parent)
    if made is None:
        raise _unknown(draft, "the commit succeeded, and the branch does not show it")
    with suppress(icechunk.IcechunkError):  # the commit is the truth; the tag is completed when the volume is next read
        engine.ensure_tag(made)
    return made


def _commit(engine: Engine, session: Any, draft: VersionDraft, version: Version, parent: Version | None) -> None:
    """Commit, and when that does not plainly succeed, find out what happened."""
    base = session.snapshot_id
    failure: Exception | None = None
    for _ in range(_TRIES):
        try:
            session.commit(f"{version.volume} {version.version_id}", metadata=encode_version(version))
        except (icechunk.IcechunkError, icechunk.ConflictError) as error:
            failure = error
        else:
            return
        try:
            if engine.version_of_run(version.run_id, back_to=parent) is not None:
                return
            moved = engine.newest_snapshot() != base
        except icechunk.IcechunkError as error:
            raise _unknown(draft, f"the commit failed, and so did reading it back: {_line(error)}") from failure
        if moved:  # the condition of our write cannot hold any more, not even of one that is still on its way
            _raise_overtaken(engine, draft, version, failure)
    raise _unknown(draft, f"the commit failed {_TRIES} times: {_line(failure)}") from failure


def _describe(draft: VersionDraft, parent: Version | None, statistics: BlockStatistics, fingerprint: str) -> Version:
    now = datetime.now(UTC)
    if draft.block_bytes is None:
        raise ValueError("the draft's block size must be settled")
    return Version(
        version_id=version_id_of(draft.run_id, draft.split_at or now),
        volume=draft.volume,
        size_bytes=draft.size_bytes,
        block_bytes=draft.block_bytes,
        run_id=draft.run_id,
        fencing_token=draft.fencing_token,
        source=draft.source,
        mode=draft.mode,
        split_at=draft.split_at,
        split_id=draft.split_id,
        committed_at=now,
        parents=(parent.version_id,) if parent else (),
        point_in_time=draft.point_in_time,
        statistics=statistics,
        snapshot_id="",
        fingerprint=fingerprint,
    )


def version_id_of(run_id: str, moment: datetime) -> str:
    """Return the id of a run's version: the moment it shows, which people look for, and a mark of the run."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{blake3(run_id.encode()).hexdigest()[:6]}"


def _check_packs(draft: VersionDraft, pack_keys: Sequence[str], objects: Objects) -> None:
    """Refuse to refer to packs that a collection has taken from a run that was very slow."""
    if not pack_keys:
        return
    prefix = pack_keys[0].removesuffix("-0.pack")
    missing = set(pack_keys) - {item.key for item in objects.list(prefix)}
    if missing:
        raise IntegrityError(
            _subject(draft),
            expected=f"its {len(pack_keys)} packs below {packs_key(draft.volume)}",
            found=f"{len(missing)} of them missing",
            cause="the run took longer than the collection's age limit, or something else deleted them",
            next_step="run the backup again; nothing was committed",
        )


def _raise_overtaken(engine: Engine, draft: VersionDraft, version: Version, failure: Exception | None) -> NoReturn:
    newest = engine.newest_version()
    check_fence(draft, newest)
    raise ConflictError(
        _subject(draft),
        expected=f"version {version.parents[-1] if version.parents else 'none'} to be still the newest",
        found=f"version {newest.version_id if newest else 'none'}",
        cause="another run committed a version of this volume meanwhile",
        next_step="run the backup again",
    ) from failure


def _unknown(draft: VersionDraft, found: str) -> UnknownOutcomeError:
    return UnknownOutcomeError(
        f"commit of {_subject(draft)}",
        expected="an answer that says whether the version exists",
        found=found,
        cause="the store failed in the middle of the commit",
        next_step="ask for the version of this run when the store answers again",
    )


def _subject(draft: VersionDraft) -> str:
    return f"run '{draft.run_id}' on volume '{draft.volume}'"


def _line(error: BaseException | None) -> str:
    text = str(error).strip() if error else ""
    return (text.splitlines() or [type(error).__name__])[0][:300]
