"""What the server serves: one :class:`Backend` per opened export, found in an :class:`ExportTable`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from nightwell.nbd.wire import Extent


class Backend(Protocol):
    """One opened export as the server sees it. Thread-safe: several connections may share what is below it.

    The server checks ranges and read-only before it calls. ``OSError(errno.X)`` raised here becomes that NBD error;
    any other :class:`~nightwell.errors.NightwellError` becomes EIO with its text.
    """

    @property
    def size_bytes(self) -> int:
        """Size of the export; stays the same while it is open."""
        ...

    @property
    def read_only(self) -> bool:
        """Writes are refused with EPERM."""
        ...

    def file_descriptor(self) -> int | None:
        """Return a file to read from directly (``sendfile``) at the export's own offsets; ``None``: use read()."""
        ...

    def read(self, offset_bytes: int, length_bytes: int) -> bytes | memoryview:
        """Return exactly ``length_bytes`` bytes."""
        ...

    def write(self, offset_bytes: int, data: memoryview, *, fua: bool) -> None:
        """Write ``data``, which is valid only during the call; with ``fua`` it is durable on return."""
        ...

    def zero(self, offset_bytes: int, length_bytes: int, *, may_punch: bool, fua: bool) -> None:
        """Make the range read as zero; without ``may_punch`` its space must stay allocated."""
        ...

    def trim(self, offset_bytes: int, length_bytes: int) -> None:
        """Take notice that the range is not needed; what it reads as afterwards is open."""
        ...

    def flush(self) -> None:
        """Return when everything written before is durable."""
        ...

    def contexts(self) -> tuple[str, ...]:
        """Return the metadata contexts that :meth:`extents` knows."""
        ...

    def extents(self, context: str, offset_bytes: int, length_bytes: int) -> Iterable[Extent]:
        """Return the status of the range: extents in order, without gaps, from its start; more than asked is cut."""
        ...

    def close(self) -> None:
        """Release what :meth:`ExportTable.open` took; called once, when the connection ends."""
        ...


class ExportTable(Protocol):
    """The exports that a server offers at this moment."""

    def names(self) -> tuple[str, ...]:
        """Return the names that a client may list."""
        ...

    def open(self, name: str) -> Backend:
        """Open an export for one connection.

        Raises
        ------
        NotFoundError
            There is no export of this name.
        ConflictError
            Its state forbids serving it now.
        UnreachableError
            What it stands on does not answer.
        """
        ...
