"""The backup store: versions of volumes, as packs and Icechunk repositories in an S3 bucket."""

from __future__ import annotations

from nightwell.store.location import StoreLocation
from nightwell.store.store import BackupStore
from nightwell.store.versions import BlockStatistics, Version, VersionDraft

__all__ = ["BackupStore", "BlockStatistics", "StoreLocation", "Version", "VersionDraft"]
