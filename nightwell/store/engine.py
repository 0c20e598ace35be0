"""Icechunk, as this store uses it: one repository per volume, packs as its virtual chunks.

Only what Icechunk 1.1 and 2 share is used. Repositories are written in Icechunk's format 1, which both read and write.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import icechunk

from nightwell.store.halfmade import complete_repository
from nightwell.store.layout import packs_key, repository_key
from nightwell.store.objects import Objects
from nightwell.store.versions import Version, decode_version

BRANCH = "main"

#: References per manifest: an increment rewrites the manifests it touches, 18 bytes a reference, not all of them.
MANIFEST_REFERENCES = 1 << 15

_FEWEST_TRIES = 5
_FIRST_BACKOFF = timedelta(milliseconds=100)
_LAST_BACKOFF = timedelta(seconds=3)
_MEAN_PAUSE = _LAST_BACKOFF / 2  # the pauses are drawn between nothing and the last one


class Engine:
    """The Icechunk repository of one volume.

    Parameters
    ----------
    objects, volume
        The store's objects, and whose repository this is.
    """

    def __init__(self, objects: Objects, volume: str) -> None:
        self.volume = volume
        self._objects = objects
        self._location = location = objects.location
        self._root = f"{location.prefix}/" if location.prefix else ""
        self.packs_url = f"s3://{location.bucket}/{self._root}{packs_key(volume)}"
        self._storage = self._storage_at(repository_key(volume))
        self._repository: Any = None

    def exists(self) -> bool:
        """Return whether the volume has a repository."""
        return self._repository is not None or bool(icechunk.Repository.exists(self._storage))

    def open(self) -> None:
        """Open the repository, which must exist; once is enough."""
        if self._repository is None:
            self._repository = icechunk.Repository.open(self._storage, self._config(), self._credentials())

    def create(self) -> None:
        """Open the repository, after making it if there is none; whatever a crash left half made is completed."""
        if not self.exists():
            try:
                self._create_at(repository_key(self.volume))
            except icechunk.IcechunkError:
                if not self.exists():  # another run has not made it meanwhile; one that was killed has begun it
                    complete_repository(self._objects, self.volume, self._create_at)
        self.open()
        saved = icechunk.Repository.fetch_config(self._storage)
        if saved is None or self.packs_url not in (saved.virtual_chunk_containers or {}):
            self._repository.save_config()  # stock Icechunk learns from it where the packs are

    def writable(self) -> Any:
        """Return a session that starts from the newest snapshot."""
        return self._repository.writable_session(BRANCH)

    def readonly(self, snapshot_id: str) -> Any:
        """Return a session on one snapshot."""
        return self._repository.readonly_session(snapshot_id=snapshot_id)

    def newest_snapshot(self) -> str:
        """Return the snapshot the branch stands at, read from the server."""
        return str(self._repository.lookup_branch(BRANCH))

    def versions(self, snapshot_id: str | None = None) -> Iterator[Version]:
        """Yield the versions from a snapshot (the branch's newest) back to the first."""
        start = {"branch": BRANCH} if snapshot_id is None else {"snapshot_id": snapshot_id}
        for snapshot in self._repository.ancestry(**start):
            version = decode_version(snapshot.metadata, snapshot_id=snapshot.id, committed_at=snapshot.written_at)
            if version is not None:
                yield version

    def newest_version(self) -> Version | None:
        """Return the newest version, or ``None``; reads the branch from the server."""
        return next(self.versions(), None)

    def version_of_run(self, run_id: str, *, back_to: Version | None = None) -> Version | None:
        """Return the version that a run made, looking from the newest back to ``back_to``, that one included.

        Each step back costs a request, so a caller that knows how far the run can have been says so.
        """
        for version in self.versions():
            if version.run_id == run_id:
                return version
            if back_to is not None and version.snapshot_id == back_to.snapshot_id:
                return None
        return None

    def ensure_tag(self, version: Version) -> None:
        """Tag a version's snapshot; a tag that is there already is fine."""
        with suppress(icechunk.IcechunkError):
            self._repository.lookup_tag(version.tag)  # listing all tags would cost two requests for each
            return
        self._repository.create_tag(version.tag, version.snapshot_id)

    def tags(self) -> set[str]:
        """Return the tags there are."""
        return set(self._repository.list_tags())

    def roots(self) -> set[str]:
        """Return the snapshots of all versions and tags: what must stay readable."""
        tagged = {str(self._repository.lookup_tag(tag)) for tag in self.tags()}
        return tagged | {version.snapshot_id for version in self.versions()}

    def live_packs(self, snapshot_id: str) -> set[str]:
        """Return the URLs of the packs that a snapshot refers to."""
        return set(self.readonly(snapshot_id).all_virtual_chunk_locations())

    def collect(self, older_than: Any) -> int:
        """Delete what no snapshot refers to inside the repository; return the bytes deleted."""
        return int(self._repository.garbage_collect(older_than).bytes_deleted)

    def _storage_at(self, key: str) -> Any:
        location = self._location
        return icechunk.s3_storage(
            bucket=location.bucket,
            prefix=self._root + key,
            region=location.region,
            endpoint_url=location.endpoint_url,
            allow_http=location.allow_http,
            access_key_id=location.access_key,
            secret_access_key=location.secret_key,
            session_token=location.session_token or None,
            force_path_style=True,
        )

    def _create_at(self, key: str) -> None:
        icechunk.Repository.create(self._storage_at(key), self._config(), self._credentials(), **_first_format())

    def _config(self) -> Any:
        location = self._location
        config = icechunk.RepositoryConfig.default()
        config.set_virtual_chunk_container(
            icechunk.VirtualChunkContainer(
                self.packs_url,
                icechunk.s3_store(
                    region=location.region,
                    endpoint_url=location.endpoint_url,
                    allow_http=location.allow_http,
                    s3_compatible=True,
                    force_path_style=True,
                ),
            )
        )
        config.manifest = icechunk.ManifestConfig(
            splitting=icechunk.ManifestSplittingConfig.from_dict(
                {
                    icechunk.ManifestSplitCondition.AnyArray(): {
                        icechunk.ManifestSplitDimCondition.Any(): MANIFEST_REFERENCES
                    }
                }
            )
        )
        config.storage = icechunk.StorageSettings(
            retries=icechunk.StorageRetriesSettings(
                max_tries=_FEWEST_TRIES + int(location.outage_s / _MEAN_PAUSE.total_seconds()),
                initial_backoff_ms=int(_FIRST_BACKOFF.total_seconds() * 1000),
                max_backoff_ms=int(_LAST_BACKOFF.total_seconds() * 1000),
            )
        )
        return config

    def _credentials(self) -> Any:
        key = icechunk.s3_credentials(
            access_key_id=self._location.access_key,
            secret_access_key=self._location.secret_key,
            session_token=self._location.session_token or None,
        )
        return icechunk.containers_credentials({self.packs_url: key})


def _first_format() -> dict[str, int]:
    """Return the argument that keeps Icechunk 2 to format 1; Icechunk 1 knows no other and has no such argument."""
    has_choice = "spec_version" in inspect.signature(icechunk.Repository.create).parameters
    return {"spec_version": 1} if has_choice else {}
