"""A directory or a place on an S3-compatible server, seen alike: objects with names, sizes and marks of change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from blake3 import blake3
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from nightwell.errors import NotFoundError, UnreachableError
from nightwell.wells.archive import Place

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CONNECT_TIMEOUT = timedelta(seconds=5)
_REQUEST_TIMEOUT = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Listing:
    """What stands directly below a name."""

    folders: tuple[str, ...]
    objects: tuple[str, ...]


class Objects:
    """The objects below a place.

    Parameters
    ----------
    place
        A directory, which may be missing yet, or a place on a server.
    """

    def __init__(self, place: Place) -> None:
        self.place = place

    @cached_property
    def _store(self) -> ObjectStore:
        if not isinstance(self.place, str | PathLike):
            return s3_store(self.place)
        if not Path(self.place).is_dir():
            raise FileNotFoundError(self.place)
        return LocalStore(Path(self.place).absolute())

    def listing(self, name: str = "") -> Listing:
        """Return the names directly below a folder, without hidden ones (a writer's drafts are hidden)."""
        with self._reported("list"):
            found = obstore.list_with_delimiter(self._store, f"{name}/" if name else None)
        folders = (path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"])
        objects = (one["path"].rpartition("/")[2] for one in found["objects"])
        return Listing(
            tuple(sorted(one for one in folders if not one.startswith("."))),
            tuple(sorted(one for one in objects if not one.startswith("."))),
        )

    def mark_of(self, name: str) -> str:
        """Return a digest of names, sizes and marks of change of all objects below a folder; no object is read.

        The mark of change is the entity tag: on a server usually a digest of the content, in a directory made of
        inode, time of change and size.
        """
        hasher = blake3()
        with self._reported("list"):
            pages = obstore.list(self._store, f"{name}/" if name else None)
            every = sorted(
                (one["path"].removeprefix(f"{name}/"), one["size"], one["e_tag"] or str(one["last_modified"]))
                for page in pages
                for one in page
            )
        for entry in every:
            hasher.update(repr(entry).encode())
        return hasher.hexdigest(length=16)

    def read(self, name: str) -> bytes:
        """Return an object's bytes (NotFoundError)."""
        with self._reported(f"read {name}"):
            return bytes(obstore.get(self._store, name).bytes())

    def write(self, name: str, data: bytes) -> None:
        """Write an object; it appears whole or not at all."""
        if isinstance(self.place, str | PathLike):
            Path(self.place).mkdir(parents=True, exist_ok=True)
        with self._reported(f"write {name}"):
            obstore.put(self._store, name, data)

    def remove(self, name: str) -> None:
        """Remove an object; NotFoundError or nothing when it is not there, as the place has it."""
        with self._reported(f"remove {name}"):
            obstore.delete(self._store, name)

    @contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFoundError(
                f"{where(self.place)}",
                expected=f"something to {what}",
                found="nothing of that name",
                cause="a mistyped place or name, or nothing was written there yet",
                next_step="correct the place in the settings or on the command line",
            ) from error
        except (BaseError, OSError) as error:
            raise UnreachableError(
                f"{where(self.place)}",
                expected=f"to {what}",
                found=(str(error).strip().splitlines() or [type(error).__name__])[0][:300],
                cause="the server or the directory is away, the bucket is missing, or the credentials are wrong",
                next_step="check the place named in the settings, and try again",
            ) from error


def where(place: Place) -> str:
    """Return a place in words."""
    return f"directory '{place}'" if isinstance(place, str | PathLike) else str(place)


def s3_store(place: Place, name: str = "") -> S3Store:
    """Return obstore's view of a place on a server, or of a folder below it."""
    assert not isinstance(place, str | PathLike), "a place on a server"
    prefix = "/".join(part for part in (place.prefix, name) if part)
    return S3Store(
        place.bucket,
        prefix=prefix or None,
        endpoint=place.endpoint_url,
        region=place.region,
        access_key_id=place.access_key,
        secret_access_key=place.secret_key,
        virtual_hosted_style_request=False,
        client_options={
            "allow_http": place.allow_http,
            "connect_timeout": _CONNECT_TIMEOUT,
            "timeout": _REQUEST_TIMEOUT,
        },
    )
