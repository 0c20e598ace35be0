"""The words of the protocols: kinds of run, sites, modes and steps."""

from __future__ import annotations

from enum import StrEnum


class RunKind(StrEnum):
    """What a run is for."""

    BACKUP = "backup"
    RESTORE = "restore"


class Site(StrEnum):
    """Where a run is driven: where the request comes from, or where it is executed."""

    SOURCE = "source"
    DESTINATION = "destination"


class BackupMode(StrEnum):
    """What the virtual server reads."""

    SPLIT = "split"  # S, standing still at one point in time
    PAIR = "pair"  # S while it follows P; the mover confirms PAIR before and after
    DIRECT = "direct"  # the volume itself, no pair


class RestoreMode(StrEnum):
    """How a version comes back."""

    VOLUME = "volume"  # onto a third volume, over the same road


Mode = BackupMode | RestoreMode


class Step(StrEnum):
    """One effect. Some appear only forward, some only as another step's undo, some as both."""

    CHECK_PAIR = "check_pair"
    CREATE_SECONDARY = "create_secondary"
    CREATE_PAIR = "create_pair"
    RESYNC_STALE = "resync_stale"
    WAIT_PAIR = "wait_pair"
    QUIESCE = "quiesce"
    SPLIT = "split"
    THAW = "thaw"
    EXPORT = "export"
    REQUEST = "request"
    FENCE = "fence"
    WITHDRAW_EXPORT = "withdraw_export"
    RESYNC = "resync"
    DELETE_PAIR = "delete_pair"
    DELETE_SECONDARY = "delete_secondary"
    IMPORT = "import"
    PRODUCE = "produce"
    COPY = "copy"
    COMMIT = "commit"
    VERIFY = "verify"
    DELETE_SERVER = "delete_server"
    RELEASE_IMPORT = "release_import"
    CHECK_TARGET = "check_target"
    EXPORT_TARGET = "export_target"
