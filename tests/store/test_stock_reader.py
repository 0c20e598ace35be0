"""Any version opens with stock Icechunk and zarr, in a process that cannot import this project."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from backups import BLOCK_BYTES, VOLUME, Data, back_up, draft, random_bytes

from nightwell.store import BackupStore

_PAGE = Path(__file__).parents[2] / "docs" / "store-format.md"

_BEFORE = """
import hashlib, json, os, sys
job = json.loads(sys.argv[1])
sys.path.insert(0, job.pop("packages"))
try:
    import nightwell
except ImportError:
    globals().update(job)
else:
    sys.exit("nightwell can be imported here: this proves nothing")
"""

_AFTER = """
found = {}
for tag, group in versions.items():
    data = group["blocks"][:].tobytes()
    found[tag] = [len(data), hashlib.sha256(data).hexdigest(), dict(group.attrs)]
print(json.dumps(found), flush=True)
# All that was to be read is read. Icechunk's own threads can abort a Python that shuts down, without a word.
os._exit(0)
"""


def test_each_version_reads_the_same_without_this_project(store_on_each: BackupStore) -> None:
    store = store_on_each
    data = random_bytes(9 * BLOCK_BYTES + 321)
    data[BLOCK_BYTES : 4 * BLOCK_BYTES] = 0
    expected = {}
    for number in range(3):
        data = data.copy()
        data[number * BLOCK_BYTES : (number + 2) * BLOCK_BYTES] = 0 if number == 1 else number + 1
        version = back_up(store, data, draft(len(data), f"run-{number}", block_bytes=BLOCK_BYTES))
        about = {"volume": VOLUME, "version": version.version_id, "size_bytes": len(data)}
        expected[version.tag] = [len(data), _sha256(data), about]
    assert _read_as_a_stranger(store) == expected


def test_the_stranger_notices_a_reference_left_behind(store: BackupStore, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_bytes(3 * BLOCK_BYTES)
    back_up(store, data, draft(len(data), "run-0", block_bytes=BLOCK_BYTES))
    monkeypatch.setattr("nightwell.store.writer.VersionWriter._delete_erased", lambda _writer: None)
    data[:BLOCK_BYTES] = 0
    version = back_up(store, data, draft(len(data), "run-1"))
    assert _read_as_a_stranger(store)[version.tag][1] != _sha256(data)
    assert store.verify(version).references_wrong == (0,)


def _sha256(data: Data) -> str:
    return hashlib.sha256(data.tobytes()).hexdigest()


def _read_as_a_stranger(store: BackupStore) -> dict[str, Any]:
    """Run the lines that the documentation shows, and nothing of ours."""
    (program,) = re.findall(r"```python\n(.+?)```", _PAGE.read_text(), flags=re.DOTALL)
    location = store.location
    job = {
        "packages": sysconfig.get_paths()["purelib"],
        "bucket": location.bucket,
        "prefix": location.prefix,
        "volume": VOLUME,
        "endpoint_url": location.endpoint_url,
        "access_key": location.access_key,
        "secret_key": location.secret_key,
    }
    # -S leaves out site-packages' own start-up files, so that an editable install of this project does not count.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _BEFORE + program + _AFTER, json.dumps(job)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
