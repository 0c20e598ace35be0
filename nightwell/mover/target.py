"""The volume at the other end of the line, as the block pipeline writes it."""

from __future__ import annotations

from dataclasses import dataclass

from nightwell.errors import ConflictError, InputError
from nightwell.mover.source import VolumeAddress
from nightwell.nbd.client import NbdClient


class NbdSink:
    """A :class:`~nightwell.store.ports.BlockSink` over one connection."""

    def __init__(self, client: NbdClient) -> None:
        self._client = client
        self.zero = client.zero  # gives the space back where the array can
        self.flush = client.flush
        self.close = client.close

    def write(self, offset_bytes: int, view: memoryview) -> None:
        """Write the whole view; the array has taken it on return."""
        self._client.write(offset_bytes, view)


@dataclass(slots=True)
class NbdTarget:
    """A :class:`~nightwell.store.ports.BlockTarget` over NBD: a connection for each thread, each flushed by its own."""

    address: VolumeAddress
    size_bytes: int

    def open(self) -> NbdSink:
        """Return a connection that writes."""
        return NbdSink(self.address.connect())


def check_target(client: NbdClient, *, volume: str, needed_bytes: int) -> None:
    """Raise ConflictError for a read-only volume and InputError for one that is too small; nothing is written."""
    if client.read_only:
        raise ConflictError(
            f"the volume that {volume!r} is restored to",
            expected="an export that may be written",
            found="a read-only export",
            cause="the array serves it read-only, as it does a secondary or a backup's import",
            next_step="have the third volume exported and imported writable",
        )
    if client.size_bytes < needed_bytes:
        raise InputError(
            f"the volume that {volume!r} is restored to",
            expected=f"at least {needed_bytes} bytes, the version's size",
            found=f"{client.size_bytes} bytes",
            cause="the target was made for another volume, or before this one grew",
            next_step=f"restore to a volume of {needed_bytes} bytes or more; nothing was written",
        )
