"""How old the newest good version of each volume is, against the age that its site allows (RPO)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from nightwell.errors import NightwellError
from nightwell.settings import BackupSettings, Settings
from nightwell.sites.build import store_location
from nightwell.store.store import BackupStore
from nightwell.store.versions import Version

_HOUR_S = 3_600.0
_DAY_S = 24 * _HOUR_S


class Timeliness(StrEnum):
    """How a volume stands against its target, worst first."""

    UNKNOWN = "unknown"
    NEVER = "never backed up"
    NONE_GOOD = "no good version"
    LATE = "late"
    IN_TIME = "in time"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPoint:
    """What a volume could be restored to now.

    ``version_id`` and ``taken_at`` are of the newest good version: committed, of one point in time, and not known to be
    damaged. ``torn`` counts newer versions into which the host wrote while they were read, ``damaged`` those whose
    newest verification failed. ``problem`` says why nothing is known of the volume.
    """

    volume: str
    target_s: float
    version_id: str = ""
    taken_at: datetime | None = None
    age_s: float | None = None
    torn: int = 0
    damaged: int = 0
    problem: str = ""

    @property
    def timeliness(self) -> Timeliness:
        """How it stands against the target."""
        if self.problem:
            return Timeliness.UNKNOWN
        if self.age_s is None:
            return Timeliness.NONE_GOOD if self.torn or self.damaged else Timeliness.NEVER
        return Timeliness.IN_TIME if self.age_s <= self.target_s else Timeliness.LATE


def recovery_points(
    settings: Settings, *, volumes: Iterable[str] = (), now: datetime | None = None
) -> tuple[RecoveryPoint, ...]:
    """Return the recovery point of every volume, the worst first.

    Parameters
    ----------
    settings
        Of a site that reaches the store.
    volumes
        Volumes that are to have a version, beside those that have one and those with a target of their own.
    now
        UTC, aware; by default this host's clock.

    Raises
    ------
    NightwellError
        The store cannot be opened; as :meth:`BackupStore.open`. What is wrong with one volume stands in its point.
    """
    named = {*volumes, *settings.backup.rpo_hours_of}
    store = BackupStore.find(store_location(settings))
    if store is None:
        return tuple(RecoveryPoint(volume=name, target_s=target_s(settings.backup, name)) for name in sorted(named))
    with store:
        return points_of(store, settings.backup, volumes=named, now=now or datetime.now(UTC))


def points_of(
    store: BackupStore, backup: BackupSettings, *, volumes: Iterable[str] = (), now: datetime
) -> tuple[RecoveryPoint, ...]:
    """Return the recovery points of the volumes of an open store, and of those named; the worst first."""
    known = store.volumes()
    points = [_point(store, name, name in known, target_s(backup, name), now) for name in {*known, *volumes}]
    order = list(Timeliness)
    return tuple(sorted(points, key=lambda one: (order.index(one.timeliness), one.volume)))


def target_s(backup: BackupSettings, volume: str) -> float:
    """Return the age that a volume's newest good version may have."""
    return _HOUR_S * backup.rpo_hours_of.get(volume, backup.rpo_hours)


def in_words(seconds: float) -> str:
    """Return an age as a person says it: ``42 s``, ``17 min``, ``3 h 12 min``, ``2 d 5 h``."""
    if seconds < 60:  # noqa: PLR2004  seconds of a minute
        return f"{seconds:.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds // 60:.0f} min"
    large, unit_s, small, part_s = ("d", _DAY_S, "h", _HOUR_S) if seconds >= _DAY_S else ("h", _HOUR_S, "min", 60.0)
    rest = seconds % unit_s // part_s
    return f"{seconds // unit_s:.0f} {large}" + (f" {rest:.0f} {small}" if rest else "")


def _point(store: BackupStore, volume: str, known: bool, target: float, now: datetime) -> RecoveryPoint:  # noqa: FBT001
    if not known:
        return RecoveryPoint(volume=volume, target_s=target)
    torn = damaged = 0
    try:
        for version in reversed(store.versions(volume)):
            if not version.point_in_time:
                torn += 1
            elif store.is_known_bad(version):
                damaged += 1
            else:
                taken_at = _taken_at(version)
                return RecoveryPoint(
                    volume=volume,
                    target_s=target,
                    version_id=version.version_id,
                    taken_at=taken_at,
                    age_s=max(0.0, (now - taken_at).total_seconds()),
                    torn=torn,
                    damaged=damaged,
                )
    except NightwellError as error:
        return RecoveryPoint(volume=volume, target_s=target, problem=f"{error.found}. Next step: {error.next_step}")
    return RecoveryPoint(volume=volume, target_s=target, torn=torn, damaged=damaged)


def _taken_at(version: Version) -> datetime:
    # The split is by the source's clock, which may go ahead; no version is younger than its commit.
    return min(version.split_at or version.committed_at, version.committed_at)
