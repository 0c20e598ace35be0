from __future__ import annotations

import subprocess
import sys

import pytest

# What a mover has no use for, and what would take its memory and its time.
UNWANTED = {"prefect", "dask", "distributed", "pandas", "matplotlib", "scipy", "numba", "xarray", "sqlalchemy"}
UNWANTED |= {"pydantic", "typer", "rich", "fastapi", "pint", "lasio", "ext4"}


def test_the_mover_imports_little() -> None:
    text = "import sys, nightwell.mover.program\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.split()
    assert "nightwell.store.pipeline" in loaded
    assert not UNWANTED & set(loaded)
    foreign = ("nightwell.wells", "nightwell.report", "nightwell.cli", "nightwell.sites", "nightwell.protocol")
    assert not [name for name in loaded if name.startswith((*foreign, "nightwell.settings", "flows", "tasks"))]


@pytest.mark.parametrize("given", [b"", b"\n"])
def test_a_mover_without_a_job_ends(given: bytes) -> None:
    done = subprocess.run([sys.executable, "-m", "nightwell.mover"], input=given, capture_output=True, check=False)
    assert done.returncode == (1 if given else 3)
    assert b'"event": "failed"' in done.stdout
