"""What is known about a version: the draft it starts from, and what its commit records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from nightwell.errors import FormatError

#: The key under which a commit's metadata is ours, and the layout of what lies there.
METADATA_KEY = "nightwell"
METADATA_FORMAT = 1

TAG_PREFIX = "v-"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDraft:
    """What a run knows before it copies.

    ``split_id`` names the point in time of what is read, ``previous_split_id`` the point from which the run's change
    hint counts; ``point_in_time`` is false when the volume may have changed while it was read. ``block_bytes`` is
    ``None`` for the parent's, or the default of a new volume.
    """

    volume: str
    size_bytes: int
    run_id: str
    fencing_token: int
    source: str
    mode: str
    split_at: datetime | None = None
    split_id: str | None = None
    previous_split_id: str | None = None
    point_in_time: bool = True
    block_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStatistics:
    """What became of each block.

    ``blocks_total = blocks_skipped_by_hint + blocks_read`` and
    ``blocks_read = blocks_zero + blocks_unchanged + blocks_stored``. ``hint_samples`` blocks were read although the
    hint promised what they hold; ``hint_violations`` blocks broke the promise, and then everything was read.
    """

    blocks_total: int = 0
    blocks_read: int = 0
    blocks_zero: int = 0
    blocks_skipped_by_hint: int = 0
    blocks_unchanged: int = 0
    blocks_stored: int = 0
    bytes_read: int = 0
    bytes_stored: int = 0
    packs: int = 0
    hint_samples: int = 0
    hint_violations: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One backup of one volume.

    ``parents`` are the ids of the versions it was made from (none, or one); ``snapshot_id`` is the Icechunk snapshot
    that holds it, and ``fingerprint`` the digest of its digests.
    """

    version_id: str
    volume: str
    size_bytes: int
    block_bytes: int
    run_id: str
    fencing_token: int
    source: str
    mode: str
    split_at: datetime | None
    split_id: str | None
    committed_at: datetime
    parents: tuple[str, ...]
    point_in_time: bool
    statistics: BlockStatistics
    snapshot_id: str
    fingerprint: str

    @property
    def tag(self) -> str:
        """The tag that names the version's snapshot in the Icechunk repository."""
        return TAG_PREFIX + self.version_id


def encode_version(version: Version) -> dict[str, Any]:
    """Return a version as the metadata of its commit; what Icechunk itself records is left out."""
    document = asdict(version)
    for known_to_icechunk in ("snapshot_id", "committed_at"):
        del document[known_to_icechunk]
    document["split_at"] = version.split_at.isoformat() if version.split_at else None
    document["parents"] = list(version.parents)
    return {METADATA_KEY: {"format": METADATA_FORMAT, **document}}


def decode_version(metadata: Mapping[str, Any], *, snapshot_id: str, committed_at: datetime) -> Version | None:
    """Return the version that a commit holds, or ``None`` when the commit is not a version.

    Raises
    ------
    FormatError
        The metadata was written by a newer release, or is damaged.
    """
    document = metadata.get(METADATA_KEY)
    if document is None:
        return None
    if document.get("format") != METADATA_FORMAT:
        raise FormatError(
            f"snapshot {snapshot_id}",
            expected=f"metadata of format {METADATA_FORMAT}",
            found=f"format {document.get('format')!r}",
            cause="a newer release of nightwell wrote this version",
            next_step="update nightwell here",
        )
    try:
        return _decode(document, snapshot_id, committed_at)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"snapshot {snapshot_id}",
            expected="metadata as this release writes it",
            found=f"{type(error).__name__}: {error}",
            cause="something else than nightwell wrote to the repository",
            next_step="look at the snapshot with Icechunk",
        ) from error


def _decode(document: Mapping[str, Any], snapshot_id: str, committed_at: datetime) -> Version:
    names = {field.name for field in fields(Version)} - {"snapshot_id", "committed_at"}
    values = {name: document[name] for name in names}
    values["split_at"] = datetime.fromisoformat(values["split_at"]) if values["split_at"] else None
    values["parents"] = tuple(values["parents"])
    values["statistics"] = BlockStatistics(**values["statistics"])
    return Version(snapshot_id=snapshot_id, committed_at=committed_at, **values)
