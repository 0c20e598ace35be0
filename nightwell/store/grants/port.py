"""The port that every driver of store credentials implements: the least rights for one request, which end with it.

A driver keeps nothing in memory that ending needs: what was issued for a run is found by the run's id, so whoever
comes after a crash can end it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Rights(StrEnum):
    """What a request does with its volume's part of the store."""

    READ = "read"  # a restore
    WRITE = "write"  # a backup: reads the version before, writes and tidies its own


@dataclass(frozen=True, slots=True)
class Grant:
    """Rights over one volume's part of the store for one run."""

    run_id: str
    volume: str
    rights: Rights


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the virtual server gets; secrets never show in a ``repr``."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    expires_at: datetime | None = None


class StoreGrants(Protocol):
    """Issues and ends credentials."""

    driver: str

    def issue(self, grant: Grant) -> Credentials:
        """Return credentials for a grant; what was issued for this run before is ended first."""
        ...

    def end(self, run_id: str) -> None:
        """End what was issued for a run; idempotent. Afterwards the store refuses it, where the driver can do that."""
        ...

    def standing(self) -> tuple[str, ...]:
        """Return the runs for which something stands that only :meth:`end` ends; sorted.

        Of a server that several sites share, also the runs of others.
        """
        ...
