"""Where things lie below a store's prefix, and which names are allowed there.

Every key is relative to the prefix; ``docs/store-format.md`` shows the whole picture.
"""

from __future__ import annotations

import re

from nightwell.errors import InputError

DOCUMENT_KEY = "store.json"
VOLUMES_KEY = "volumes/"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_volume_name(volume: str) -> str:
    """Return the name when it may stand in a key, else raise InputError."""
    return _checked("volume", volume)


def check_run_id(run_id: str) -> str:
    """Return the run id when it may stand in a key, else raise InputError."""
    return _checked("run", run_id)


def _checked(kind: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{kind} {name!r}",
            expected="1 to 128 letters, digits, dots, dashes or underscores, starting with a letter or a digit",
            found=f"{len(name)} characters of another kind" if name else "an empty name",
            cause="the name was typed with a slash or a space",
            next_step=f"choose another name for this {kind}",
        )
    return name


def volume_key(volume: str) -> str:
    """Return the folder of a volume."""
    return f"{VOLUMES_KEY}{volume}/"


def repository_key(volume: str) -> str:
    """Return the folder of a volume's Icechunk repository, without a slash at its end."""
    return f"{volume_key(volume)}repository"


def packs_key(volume: str) -> str:
    """Return the folder of a volume's packs."""
    return f"{volume_key(volume)}packs/"


def pack_key(volume: str, source: str, number: int) -> str:
    """Return the key of one pack: ``source`` names the run and the attempt that wrote it."""
    return f"{packs_key(volume)}{source}-{number}.pack"


def scratch_key(volume: str) -> str:
    """Return the folder in which a repository is made before it is copied to its place."""
    return f"{volume_key(volume)}scratch/"


def marks_key(volume: str) -> str:
    """Return the key of the document in which a collection notes what it found unreferenced."""
    return f"{volume_key(volume)}collection.json"


def verifications_key(volume: str) -> str:
    """Return the folder of what verifications of a volume's versions have shown."""
    return f"{volume_key(volume)}verifications/"


def verification_key(volume: str, version_id: str) -> str:
    """Return the key of the document that says what the newest verification of a version has shown."""
    return f"{verifications_key(volume)}{version_id}.json"
