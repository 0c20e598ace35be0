"""A small simulated fleet, today's method, and real Dask workers for the whole session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr
from distributed import Client

from nightwell.wells.fleet.cluster import dask_client
from nightwell.wells.fleet.generator import FleetPlan, write_fleet
from nightwell.wells.method import Method

MEMORY_BYTES = 900 << 20
PLAN = FleetPlan(3, length_m=25.0, sample_every=25)


@pytest.fixture(scope="session")
def method() -> Method:
    return Method.default()


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the raw scans of three simulated wells; never changed by a test."""
    folder = tmp_path_factory.mktemp("fleet")
    write_fleet(PLAN, folder)
    return folder


@pytest.fixture(scope="session")
def workers() -> Iterator[Client]:
    with dask_client(workers=2, memory_bytes=MEMORY_BYTES) as client:
        yield client


@pytest.fixture(scope="session")
def analysed(fleet: Path, method: Method) -> xr.DataTree:
    """Return the analysis of the fleet's first well."""
    from nightwell.wells.analysis import analyse_well
    from nightwell.wells.container import open_scans

    return analyse_well(open_scans(fleet / "SIMULATED-00000.zarr"), method=method)
