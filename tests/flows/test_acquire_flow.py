"""The flow ``acquire-well`` in this process: it acquires, a second run goes on, and what is refused fails the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine import Machine
from wells.acquisition.rigs import recording

from flows.acquire import acquire_well
from nightwell.errors import InputError
from nightwell.wells.acquire.archive import ScanArchive
from nightwell.wells.acquire.session import InstrumentDriver
from nightwell.wells.container import write_scans


def test_a_well_is_acquired_and_gone_on_with(machine: Machine, tmp_path: Path) -> None:
    write_scans(recording(), tmp_path / "recorded")
    archive = ScanArchive(machine.settings.results_location(), "w-12")
    versions = [
        acquire_well("w-12", InstrumentDriver.REPLAY, recording=str(tmp_path / "recorded"), scans=scans)
        for scans in (3, 2)
    ]
    assert archive.version() == versions[-1] != versions[0]
    assert archive.progress().scans == 5
    with pytest.raises(InputError, match="a device"):
        acquire_well("w-13", InstrumentDriver.SRS_RGA)
