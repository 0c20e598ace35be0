"""The format document at the root of a store: which format it has, and the store's id."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from nightwell.errors import FormatError, NotFoundError
from nightwell.store.layout import DOCUMENT_KEY
from nightwell.store.objects import Objects

FORMAT_NAME = "nightwell-store"

#: Raised whenever an older release could misread what a newer one writes; docs/store-format.md tells each one's story.
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class StoreDocument:
    """What ``store.json`` says."""

    store_id: str
    created_at: datetime


def load_document(objects: Objects) -> StoreDocument | None:
    """Return the store's document, or ``None`` when there is no store at the prefix.

    Raises
    ------
    FormatError
        The store is of a newer format, or the document is not one.
    """
    data = objects.get(DOCUMENT_KEY)
    if data is None:
        return None
    try:
        fields = json.loads(data)
        name, version = fields["format"], fields["version"]
        document = StoreDocument(str(fields["store_id"]), datetime.fromisoformat(fields["created_at"]))
    except (ValueError, KeyError, TypeError) as error:
        # A newer format may look different altogether, but it keeps these two fields.
        raise _unreadable(objects, f"{type(error).__name__}: {error}") from error
    if name != FORMAT_NAME or version != FORMAT_VERSION:
        raise _unreadable(objects, f"format {name!r}, version {version!r}")
    return document


def create_document(objects: Objects) -> StoreDocument:
    """Write the document of a new store; when another writer was first, return that one's."""
    document = StoreDocument(store_id=uuid4().hex, created_at=datetime.now(UTC))
    fields = {
        "format": FORMAT_NAME,
        "version": FORMAT_VERSION,
        "store_id": document.store_id,
        "created_at": document.created_at.isoformat(),
    }
    objects.put_new(DOCUMENT_KEY, json.dumps(fields, indent=1).encode())
    # Read back whatever the answer was: a retried conditional write can fail against its own success.
    stored = load_document(objects)
    if stored is None:
        raise store_missing(objects)
    return stored


def store_missing(objects: Objects) -> NotFoundError:
    """Return the error for a prefix under which there is no store."""
    return NotFoundError(
        str(objects.location),
        expected=f"a store, with {DOCUMENT_KEY} at its root",
        found="no such object",
        cause="the prefix is mistyped, or nothing was ever backed up there",
        next_step="correct the prefix, or create the store by a first backup",
    )


def _unreadable(objects: Objects, found: str) -> FormatError:
    return FormatError(
        str(objects.location),
        expected=f"{FORMAT_NAME} version {FORMAT_VERSION}",
        found=found,
        cause="a newer release of nightwell wrote this store",
        next_step="update nightwell here; nothing was changed",
    )
