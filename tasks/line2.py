"""How a request crosses line 2 when one process plays both sites: as a flow that is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nightwell.sites.requests import (
    BackupAnswer,
    BackupRequest,
    FenceAnswer,
    FenceRequest,
    RestoreAnswer,
    RestoreRequest,
    VersionAnswer,
)


@dataclass(frozen=True, slots=True)
class CalledDestination:
    """The destination site in this process: its flows are called as subflows.

    Parameters
    ----------
    back_up_flow, restore_flow, fence_flow, look_up_flow
        The flows of :mod:`flows.remote`.
    """

    back_up_flow: Callable[[BackupRequest], BackupAnswer]
    restore_flow: Callable[[RestoreRequest], RestoreAnswer]
    fence_flow: Callable[[FenceRequest], FenceAnswer]
    look_up_flow: Callable[[str, str], VersionAnswer | None]

    def back_up(self, request: BackupRequest) -> BackupAnswer:
        """Carry a backup out."""
        return self.back_up_flow(request)

    def restore(self, request: RestoreRequest) -> RestoreAnswer:
        """Carry a restore out."""
        return self.restore_flow(request)

    def fence(self, request: FenceRequest) -> FenceAnswer:
        """End all work of a run."""
        return self.fence_flow(request)

    def look_up(self, volume: str, selector: str) -> VersionAnswer | None:
        """Return a version, or ``None``."""
        return self.look_up_flow(volume, selector)
