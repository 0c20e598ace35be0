"""Write a file whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Give a path to write to; what is there becomes ``target`` when the block ends without an error.

    Otherwise it is removed, and ``target`` is what it was. A device, such as ``/dev/stdout``, is written itself.

    Raises
    ------
    IsADirectoryError
        ``target`` is a folder.
    """
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if target.exists() and not target.is_file():
        yield target
        return
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield draft
        draft.replace(target)
    except OSError as error:
        if error.filename == str(draft):
            error.filename = str(target)  # the name that the person gave
        raise
    finally:
        draft.unlink(missing_ok=True)
