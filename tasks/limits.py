"""Limits that the UI shows: so many runs an array, and one a volume.

They keep runs from waiting for each other's lease, and show who waits for what. That no two runs work on one volume
does not rest on them: the journal's lease refuses it whatever Prefect says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from nightwell.errors import BusyError

_WAIT_S = 3_600.0
#: The shortest that Prefect takes: a run that was killed with -9 keeps its slots no longer than this.
_LEASE_S = 60.0


def array_limit(array: str) -> str:
    """Return the name of an array's limit."""
    return f"array-{array}"


def volume_limit(volume: str) -> str:
    """Return the name of a volume's limit."""
    return f"volume-{volume}"


def ensure_limit(api: SyncPrefectClient, name: str, slots: int) -> bool:
    """Make a limit where there is none; one that stands keeps its slots. Return whether it was made."""
    try:
        api.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        try:
            api.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=slots))
        except ObjectAlreadyExists:  # another run came first
            return False
        return True
    return False


@contextmanager
def holding(array: str, volume: str, *, array_runs: int, wait_s: float = _WAIT_S) -> Iterator[None]:
    """Hold a slot of the volume and one of its array while the block runs.

    Raises
    ------
    BusyError
        Other runs held them for longer than ``wait_s``.
    """
    names = [volume_limit(volume), array_limit(array)]
    with get_client(sync_client=True) as api:
        ensure_limit(api, names[0], 1)
        ensure_limit(api, names[1], array_runs)
    slots = concurrency(
        names, timeout_seconds=wait_s, lease_duration=_LEASE_S, strict=True, raise_on_lease_renewal_failure=False
    )
    try:
        slots.__enter__()
    except TimeoutError as error:
        raise BusyError(
            f"volume '{volume}' of array '{array}'",
            expected=f"a free slot of the limits {names} within {wait_s:.0f} s",
            found="none",
            cause="another run of the volume, or as many runs as the array may serve",
            next_step="look at the limits in the UI, wait for the runs that hold them, or cancel one",
        ) from error
    try:
        yield
    finally:
        slots.__exit__(None, None, None)
