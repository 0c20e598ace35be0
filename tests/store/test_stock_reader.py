"""Any version opens with stock Icechunk and zarr, in a process that cannot import this project."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig

import numpy as np
import pytest
from backups import BLOCK_BYTES, VOLUME, back_up, draft, random_bytes

from nightwell.store import BackupStore

# What docs/store-format.md tells a reader to do, and nothing else.
_PROGRAM = """
import hashlib, json, sys
job = json.loads(sys.argv[1])
sys.path.insert(0, job["packages"])
try:
    import nightwell
except ImportError:
    pass
else:
    sys.exit("nightwell can be imported here: this proves nothing")
import icechunk, zarr
storage = icechunk.s3_storage(
    bucket=job["bucket"], prefix=job["prefix"], region="us-east-1", endpoint_url=job["endpoint"], allow_http=True,
    access_key_id=job["key"], secret_access_key=job["secret"], force_path_style=True)
config = icechunk.Repository.fetch_config(storage)
credentials = icechunk.s3_credentials(access_key_id=job["key"], secret_access_key=job["secret"])
allowed = icechunk.containers_credentials({name: credentials for name in config.virtual_chunk_containers})
repository = icechunk.Repository.open(storage, authorize_virtual_chunk_access=allowed)
found = {}
for tag in repository.list_tags():
    group = zarr.open_group(repository.readonly_session(tag=tag).store, mode="r")
    blocks = group["blocks"]
    found[tag] = [blocks.shape[0], hashlib.sha256(blocks[:].tobytes()).hexdigest(), dict(group.attrs)]
print(json.dumps(found))
"""


def test_each_version_reads_the_same_without_this_project(store_on_each: BackupStore) -> None:
    import hashlib

    store = store_on_each
    data = random_bytes(9 * BLOCK_BYTES + 321)
    data[BLOCK_BYTES : 4 * BLOCK_BYTES] = 0
    expected = {}
    for number in range(3):
        data = data.copy()
        data[number * BLOCK_BYTES : (number + 2) * BLOCK_BYTES] = 0 if number == 1 else number + 1
        version = back_up(store, data, draft(len(data), f"run-{number}", block_bytes=BLOCK_BYTES))
        about = {"volume": VOLUME, "version": version.version_id, "size_bytes": len(data)}
        expected[version.tag] = [len(data), hashlib.sha256(data.tobytes()).hexdigest(), about]
    assert np.count_nonzero(data) > 0
    assert _read_as_a_stranger(store) == expected


def test_the_stranger_notices_a_reference_left_behind(store: BackupStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    data = random_bytes(3 * BLOCK_BYTES)
    back_up(store, data, draft(len(data), "run-0", block_bytes=BLOCK_BYTES))
    monkeypatch.setattr("nightwell.store.writer.VersionWriter._delete_erased", lambda _writer: None)
    data[:BLOCK_BYTES] = 0
    version = back_up(store, data, draft(len(data), "run-1"))
    found = _read_as_a_stranger(store)[version.tag]
    assert isinstance(found, list)
    assert found[1] != hashlib.sha256(data.tobytes()).hexdigest()
    assert store.verify(version).references_wrong == (0,)


def _read_as_a_stranger(store: BackupStore) -> dict[str, object]:
    location = store.location
    job = {
        "packages": sysconfig.get_paths()["purelib"],
        "bucket": location.bucket,
        "prefix": f"{location.prefix}/volumes/{VOLUME}/repository",
        "endpoint": location.endpoint_url,
        "key": location.access_key,
        "secret": location.secret_key,
    }
    # -S leaves out site-packages' own start-up files, so that an editable install of this project does not count.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _PROGRAM, json.dumps(job)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found
