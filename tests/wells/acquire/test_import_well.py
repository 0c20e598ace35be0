"""A well from whatever files there are, and the pairs of files that do not go together."""

from __future__ import annotations

import numpy as np
import pytest
from real_files import IRONBARK_DRILLING, IRONBARK_GAS, RealFile
from wells.acquire.written_files import WriteFile

from nightwell.errors import InputError
from nightwell.wells.contract import Origin
from nightwell.wells.cube import build_cube
from nightwell.wells.import_well import build_scans

GAS = ["Depth (m),C1 (ppm),C2 (ppm),C3 (ppm)", *(f"{1000 + row},{100 + row},10,1" for row in range(40))]
RECORD = ["Time,Bit Depth (m),Flow In (L/min),Bit Size (in)",
          *(f"{1_700_000_000 + 60 * row},{1000 + row / 4},3000,12.25" for row in range(200))]  # fmt: skip
SPECTRA = ["Time,28,32,40", *(f"{1_700_003_000 + 60 * row},1e-7,2e-8,{1e-9 * (1 + row)}" for row in range(100))]


def test_without_files_the_well_is_published_and_says_that_it_is_simulated() -> None:
    found = build_scans(well="demo")
    assert Origin.of(found.scans).well == "demo"
    assert Origin.of(found.scans).simulated
    assert found.reports == ()


def test_a_real_gas_log_and_its_drilling_file(real_file: RealFile) -> None:
    found = build_scans(gas_log=real_file(IRONBARK_GAS), drilling=real_file(IRONBARK_DRILLING), well="Ironbark-1")
    assert [report.rows for report in found.reports] == [8071, 10_588]
    assert "rop, flow by depth from IRONBARK-1_GSS_DDRL" in Origin.of(found.scans).provenance


def test_measured_spectra_with_the_rigs_record_are_registered(write_file: WriteFile) -> None:
    found = build_scans(
        spectra=write_file(*SPECTRA, name="spectra.csv"), drilling=write_file(*RECORD, name="record.csv"), well="bench"
    )
    assert not Origin.of(found.scans).simulated
    assert "assumed: pipe_diameter" in Origin.of(found.scans).provenance
    cube = build_cube(found.scans)["trap_gas"].to_dataset()
    argon = cube.intensity.sel(mz=40).to_numpy()
    assert (np.diff(argon[cube.scan_count.to_numpy() > 0]) > 0).all()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"spectra": SPECTRA, "gas_log": GAS}, "found both"),
        ({"gas_log": GAS, "drilling": RECORD}, "a log by depth"),
        ({"spectra": SPECTRA, "drilling": ["Depth (m),ROP (m/h)", "1,2"]}, "a record in time"),
    ],
)
def test_files_that_do_not_go_together_are_named(write_file: WriteFile, files: dict[str, list[str]], said: str) -> None:
    paths = {name: write_file(*lines, name=f"{name}.csv") for name, lines in files.items()}
    with pytest.raises(InputError, match=said):
        build_scans(gas_log=paths.get("gas_log"), drilling=paths.get("drilling"), spectra=paths.get("spectra"))
