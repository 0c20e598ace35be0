"""ext4 on a volume, without root: make an image from a folder, list and extract files from any readable version.

Making uses ``mke2fs`` of e2fsprogs (part of every Debian); reading uses the ``ext4`` package, so that it works on a
file object that reads straight from the store.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import ext4
from blake3 import blake3

from nightwell.errors import FormatError, InputError, NotFoundError
from nightwell.whole_file import written_whole

#: mke2fs keeps tables and a journal of its own; below this an image holds next to nothing.
SMALLEST_IMAGE_BYTES = 8 << 20
_COPY_BYTES = 4 << 20
_SKIPPED = {".", "..", "lost+found"}


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One entry of a folder in the file system."""

    path: PurePosixPath
    is_folder: bool
    size_bytes: int


def make_ext4(folder: Path, image: Path, size_bytes: int, *, label: str = "nightwell") -> None:
    """Write an ext4 image that holds a copy of ``folder``.

    Parameters
    ----------
    folder
        What to copy.
    image
        The file to write; it is sparse.
    size_bytes
        Size of the image; rounded down to whole 4 KiB blocks by mke2fs.
    label
        Label of the file system, at most 16 characters.

    Raises
    ------
    InputError
        The folder does not fit, or the size is below :data:`SMALLEST_IMAGE_BYTES`.
    NotFoundError
        mke2fs is not installed.
    """
    program = shutil.which("mke2fs", path=None) or shutil.which("mke2fs", path="/usr/sbin:/sbin")
    if program is None:
        raise NotFoundError(
            "program 'mke2fs'",
            expected="it on PATH or in /usr/sbin",
            found="nothing",
            cause="e2fsprogs is not installed",
            next_step="apt install e2fsprogs",
        )
    with image.open("wb") as file:
        file.truncate(size_bytes)
    # No lazy initialisation: the image must not change later because a kernel finishes making it.
    command = [program, "-q", "-F", "-t", "ext4", "-L", label, "-E", "lazy_itable_init=0,lazy_journal_init=0"]
    made = subprocess.run([*command, "-d", str(folder), str(image)], capture_output=True, text=True, check=False)
    if made.returncode != 0 or size_bytes < SMALLEST_IMAGE_BYTES:
        image.unlink(missing_ok=True)
        raise InputError(
            f"ext4 image of '{folder}'",
            expected=f"a size that holds the folder, at least {SMALLEST_IMAGE_BYTES >> 20} MiB",
            found=f"{size_bytes} bytes: {made.stderr.strip() or 'too small'}",
            cause="the folder is larger than the volume",
            next_step="give a larger size",
        )


class Ext4Reader:
    """Read an ext4 file system from any seekable binary stream.

    Parameters
    ----------
    stream
        The volume's bytes from its first one; the caller closes it.

    Raises
    ------
    FormatError
        The stream holds no ext4 file system.
    """

    def __init__(self, stream: io.RawIOBase | io.BufferedIOBase) -> None:
        # Directory walks read in small steps; a large buffer turns them into few reads of the store.
        buffered = io.BufferedReader(stream, 1 << 20) if isinstance(stream, io.RawIOBase) else stream
        try:
            self._volume = ext4.Volume(buffered)
        except (
            ext4.MagicError,
            ext4.ChecksumError,
            ext4.InvalidStreamException,
            EOFError,
            ValueError,
            OSError,
        ) as error:
            raise FormatError(
                "volume",
                expected="an ext4 file system from its first byte",
                found=str(error) or type(error).__name__,
                cause="the volume is empty, partitioned, or holds another file system",
                next_step="restore the volume and mount it instead",
            ) from error

    def entries(self, path: str = "/") -> Iterator[FileEntry]:
        """Yield the entries of a folder, without ``lost+found``."""
        where = PurePosixPath("/", path)
        inode = self._inode(where)
        if not isinstance(inode, ext4.Directory):
            raise InputError(
                f"'{where}'",
                expected="a folder",
                found="a file",
                cause="the path names a file",
                next_step="leave out its last part",
            )
        for entry, _ in sorted(inode.opendir(), key=lambda pair: str(pair[0].name_str)):
            name = str(entry.name_str)
            if name in _SKIPPED:
                continue
            child = self._inode(where / name)
            # Links, devices and pipes hold no data of a well, and following links could leave the folder.
            if isinstance(child, ext4.Directory | ext4.File):
                yield FileEntry(where / name, isinstance(child, ext4.Directory), int(child.i_size))

    def extract(self, path: str, target: Path) -> int:
        """Copy a folder or a file out of the file system; return the number of bytes written."""
        where = PurePosixPath("/", path)
        inode = self._inode(where)
        if not isinstance(inode, ext4.Directory):
            target.parent.mkdir(parents=True, exist_ok=True)
            return _copy(inode.open(), target)
        target.mkdir(parents=True, exist_ok=True)
        return sum(self.extract(str(entry.path), target / entry.path.name) for entry in self.entries(str(where)))

    def mark_of(self, path: str) -> str:
        """Return a digest of names, sizes, inodes and times of all files below a folder; no file is read."""
        hasher = blake3()
        for file in self._files(PurePosixPath("/", path)):
            inode = self._inode(file)
            times = (inode.i_mtime, inode.i_mtime_extra, inode.i_ctime, inode.i_ctime_extra)
            entry = (str(file), int(inode.i_no), int(inode.i_size), *map(int, times))
            hasher.update(repr(entry).encode())
        return hasher.hexdigest(length=16)

    def _files(self, folder: PurePosixPath) -> Iterator[PurePosixPath]:
        for entry in self.entries(str(folder)):
            if entry.is_folder:
                yield from self._files(entry.path)
            else:
                yield entry.path

    def _inode(self, path: PurePosixPath) -> ext4.Inode:
        try:
            return self._volume.inode_at(str(path))
        except FileNotFoundError as error:
            raise NotFoundError(
                f"'{path}' on the volume",
                expected="a file or folder of that name",
                found="none",
                cause="a mistyped path, or a version from before it was written",
                next_step="list its folder, or choose another version",
            ) from error


def _copy(source: IO[bytes], target: Path) -> int:
    written = 0
    with written_whole(target) as draft, draft.open("wb") as file:
        while chunk := source.read(_COPY_BYTES):
            written += file.write(chunk)
    return written
