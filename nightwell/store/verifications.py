"""What verifications of a volume's versions have shown, kept beside the versions for whoever looks at the store.

One small object for each version, written over by its next verification: a version whose objects were brought back is
good again. A version without one is not known to be bad.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from nightwell.errors import FormatError
from nightwell.store.index import BlockIndex
from nightwell.store.layout import verification_key, verifications_key
from nightwell.store.objects import Objects

_FORMAT = 1
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The newest verification of a version: when it ended, whether the version was whole, and else what was found."""

    version_id: str
    verified_at: datetime
    ok: bool
    found: str


class Verifications:
    """The verifications of one volume.

    Parameters
    ----------
    objects
        The store's.
    volume
        Its name.
    """

    def __init__(self, objects: Objects, volume: str) -> None:
        self._objects = objects
        self._volume = volume

    def note(self, version_id: str, *, ok: bool, found: str) -> None:
        """Keep an outcome, over the one before."""
        document = {
            "format": _FORMAT,
            "version_id": version_id,
            "verified_at": datetime.now(UTC).isoformat(),
            "ok": ok,
            "found": found,
        }
        self._objects.put(verification_key(self._volume, version_id), json.dumps(document, indent=1).encode())

    def find(self, version_id: str) -> Verification | None:
        """Return the newest outcome, or ``None`` when the version was never verified to the end.

        Raises
        ------
        FormatError
            A newer release wrote it, or it is damaged: nothing is known then.
        """
        key = verification_key(self._volume, version_id)
        data = self._objects.get(key)
        return None if data is None else _decode(key, data)

    def all(self) -> Mapping[str, Verification]:
        """Return the newest outcome of every version that was verified, by its id."""
        folder = verifications_key(self._volume)
        ids = [info.key.removeprefix(folder).removesuffix(_SUFFIX) for info in self._objects.list(folder)]
        return {version_id: found for version_id in ids if (found := self.find(version_id)) is not None}


def shared(index: BlockIndex, damaged: tuple[int, ...], other: BlockIndex) -> int:
    """Return how many damaged blocks of one version lie at the very place where another version's blocks do."""
    if not other.sources:  # nothing but zeros
        return 0
    numbers = np.asarray([number for number in damaged if number < len(other.places)], dtype=np.int64)
    ours, theirs = index.places[numbers], other.places[numbers]
    # Sources are numbered in each version; what names a pack is the source's name.
    same_source = (
        np.asarray(index.sources, dtype=object)[ours[:, 0]] == (np.asarray(other.sources, dtype=object)[theirs[:, 0]])
    )
    return int(np.count_nonzero(same_source & (ours[:, 1:] == theirs[:, 1:]).all(axis=1)))


def _decode(key: str, data: bytes) -> Verification:
    try:
        document = json.loads(data)
        if document["format"] == _FORMAT:
            return Verification(
                version_id=str(document["version_id"]),
                verified_at=datetime.fromisoformat(document["verified_at"]),
                ok=bool(document["ok"]),
                found=str(document["found"]),
            )
        found = f"format {document['format']!r}"
    except (ValueError, KeyError, TypeError) as error:
        found = f"{type(error).__name__}: {error}"
    raise FormatError(
        f"verification '{key}'",
        expected=f"a document of format {_FORMAT}",
        found=found,
        cause="a newer release of nightwell wrote it, or it is damaged",
        next_step="verify the version again with the newest release of nightwell",
    )
