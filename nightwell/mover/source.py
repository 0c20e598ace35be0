"""The volume at the other end of the line, as the block pipeline reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightwell.mover.job import LINE_TIMEOUT_S, TlsPaths
from nightwell.nbd.client import NbdClient
from nightwell.nbd.tls import TlsFiles


@dataclass(frozen=True, slots=True)
class VolumeAddress:
    """Where a volume is served, and how we prove who we are to the array."""

    url: str
    tls: TlsPaths | None = None
    timeout_s: float = LINE_TIMEOUT_S

    def connect(self, contexts: Sequence[str] = ()) -> NbdClient:
        """Open one connection; raises what :meth:`NbdClient.connect` raises."""
        tls = None if self.tls is None else TlsFiles(self.tls.ca, self.tls.certificate, self.tls.key)
        return NbdClient.connect(self.url, contexts=contexts, tls=tls, timeout_s=self.timeout_s)


@dataclass(slots=True)
class NbdSource:
    """A :class:`~nightwell.store.ports.BlockSource` over NBD: a connection for each thread."""

    address: VolumeAddress
    size_bytes: int

    def open(self) -> NbdClient:
        """Return a connection that reads."""
        return self.address.connect()
