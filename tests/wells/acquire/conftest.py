"""Small wells, and the real logs when they stand beside the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from wells.acquire.written_files import WriteFile

from nightwell.wells.composition import published_composition
from nightwell.wells.container import make_scans
from nightwell.wells.contract import Origin
from nightwell.wells.instrument import Instrument
from nightwell.wells.simulate import Plan, Simulation, simulate_scans


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    def write(*lines: str, name: str = "log.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture(scope="session")
def simulated() -> xr.DataTree:
    """A simulated well of 120 m; never changed by a test (copy it)."""
    composition = published_composition(top_m=1800.0, bottom_m=1920.0)
    return simulate_scans(composition, settings=Simulation(plan=Plan(sample_every=8)))


@pytest.fixture
def scans() -> xr.DataTree:
    """Six scans on m/z 1 to 50, written by hand."""
    time = np.datetime64("2024-05-17T12:00:00.123456789", "ns") + np.arange(6) * np.timedelta64(10, "s")
    return make_scans(
        Origin("by hand", Instrument("bench", dwell_s=0.1), simulated=False, provenance="typed in"),
        {
            "intensity": np.arange(300.0).reshape(6, 50) * 1e-12,
            "mz": np.arange(1, 51),
            "time": time,
            "stream": np.zeros(6),
            "kind": [1, 0, 0, 0, 0, 1],
            "valve": np.ones(6),
            "pressure": np.full(6, np.nan),
        },
        drilling={
            "time": time,
            "bit_depth": np.arange(6.0),
            "rop": np.ones(6),
            "flow": np.full(6, 0.05),
            "hole_diameter": np.full(6, 0.3),
            "pipe_diameter": np.full(6, 0.1),
        },
    )
