"""One backup in a process of its own, to be killed; an importable module, so that a fork server can start it.

Only what may be inherited over a fork is imported at the top: Icechunk 2 starts threads when it is imported.
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TYPE_CHECKING

import blake3
import boto3
import obstore.store
import zarr
import zstandard

if TYPE_CHECKING:
    from backups import Data

    from nightwell.store import StoreLocation

# boto3 reads its models once, here, before the fork server forks; this client is not used.
boto3.client("s3", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none").close()

INHERITED = (blake3, boto3, obstore.store, zarr, zstandard)


def warm_processes() -> ForkServerContext:
    """Return a context whose processes start with nearly everything imported, in a few milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed_backup"])
    # The fork server does not know pytest's additions to sys.path, and says nothing when it cannot import.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), before]))
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


def run(location: StoreLocation, volume: str, run_id: str, data: Data) -> None:
    """Back up and leave without any tidying up, as a process that is not killed would not need it either."""
    from backups import BLOCK_BYTES, back_up, draft

    from nightwell.store import BackupStore

    with BackupStore.open(location) as store:
        back_up(store, data, draft(len(data), run_id, volume=volume, block_bytes=BLOCK_BYTES))
    os._exit(0)
