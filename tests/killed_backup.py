"""One backup in a process of its own, to be killed; an importable module, so that a fork server can start it."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.context import ForkServerContext

from backups import BLOCK_BYTES, Data, back_up, draft

from nightwell.store import BackupStore, StoreLocation


def warm_processes() -> ForkServerContext:
    """Return a context whose processes start with everything imported, in a few milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed_backup"])
    return context


def run(location: StoreLocation, volume: str, run_id: str, data: Data) -> None:
    """Back up and leave without any tidying up, as a process that is not killed would not need it either."""
    with BackupStore.open(location) as store:
        back_up(store, data, draft(len(data), run_id, volume=volume, block_bytes=BLOCK_BYTES))
    os._exit(0)
