"""What crosses line 2: requests from the source site to the destination site, and the answers.

Pydantic models, since they leave the process as JSON. None holds a secret: the destination has its own credentials.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from nightwell import __version__
from nightwell.protocol import BackupMode, RunKind


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BackupRequest(_Message):
    """Copy what ``url`` shows to the store, as the next version of ``volume``."""

    run_id: str = Field(description="The run of the source site.")
    fencing_token: int = Field(description="Token of the run's lease; a newer version with a higher one refuses ours.")
    volume: str = Field(description="The primary volume.")
    source: str = Field(description="Array and volume that is read, for the version's record.")
    url: str = Field(description="Where the source array serves it on line 1.")
    mode: BackupMode = Field(description="split, pair or direct.")
    split_at: datetime | None = Field(default=None, description="The point in time of the split.")
    split_id: str | None = Field(default=None, description="The array's name of that point.")
    previous_split_id: str | None = Field(default=None, description="The point the array's change list counts from.")
    tells_pair: bool = Field(default=True, description="Whether the source array's exports tell the pair's state.")
    block_bytes: int | None = Field(default=None, description="Block size of a first version.")
    nightwell_version: str = Field(default=__version__, description="The release of nightwell at the source site.")


class RestoreRequest(_Message):
    """Write a version of ``volume`` to what ``url`` shows."""

    run_id: str = Field(description="The run of the source site.")
    fencing_token: int = Field(description="Token of the run's lease on the target volume.")
    volume: str = Field(description="The volume whose version is restored.")
    version_id: str = Field(description="The version.")
    target: str = Field(description="Array and volume that is written, for errors.")
    url: str = Field(description="Where the source array serves the target, writable, on line 1.")
    nightwell_version: str = Field(default=__version__, description="The release of nightwell at the source site.")


class FenceRequest(_Message):
    """End all work of a run, and say what came of it."""

    run_id: str = Field(description="The run of the source site.")
    kind: RunKind = Field(description="backup or restore.")
    volume: str = Field(description="The volume that the run protects or restores.")


class BackupAnswer(_Message):
    """A committed version, as far as the source site needs to know it."""

    version_id: str
    blocks_total: int
    blocks_read: int
    blocks_zero: int
    blocks_skipped_by_hint: int
    blocks_unchanged: int
    blocks_stored: int
    bytes_read: int
    bytes_stored: int
    point_in_time: bool
    longest_stall_ms: int = Field(default=0, description="Longest time without progress while the copy was under way.")
    cleanup_owed: str = Field(default="", description="What a person must still do at the destination.")


class RestoreAnswer(_Message):
    """A restored and verified volume."""

    version_id: str
    bytes_written: int
    bytes_zeroed: int
    longest_stall_ms: int = Field(default=0, description="Longest time without progress while the copy was under way.")
    cleanup_owed: str = Field(default="", description="What a person must still do at the destination.")


class FenceAnswer(_Message):
    """What a run had achieved when it was ended."""

    committed: bool = Field(description="Whether a version was committed, or a target restored and verified.")
    target_touched: bool = Field(default=True, description="Whether a restore's target may have been written.")
    answer: BackupAnswer | RestoreAnswer | None = Field(default=None, description="The answer, when committed.")


class VersionAnswer(_Message):
    """What the source site needs to know of a version before it begins."""

    version_id: str
    size_bytes: int
    fencing_token: int


class Destination(Protocol):
    """The destination site as the source site sees it. Every call is keyed by the run and idempotent."""

    def back_up(self, request: BackupRequest) -> BackupAnswer:
        """Carry the request out; block until the version is committed and the virtual server is deleted."""
        ...

    def restore(self, request: RestoreRequest) -> RestoreAnswer:
        """Carry the request out; block until the volume is verified and the virtual server is deleted."""
        ...

    def fence(self, request: FenceRequest) -> FenceAnswer:
        """End all work of a run, and answer what it achieved. Nothing of it runs afterwards."""
        ...

    def look_up(self, volume: str, selector: str) -> VersionAnswer | None:
        """Return a version (``latest``, an id, or the beginning of one), or ``None`` when there is none."""
        ...
