"""A real gas log of 8,071 rows end to end: simulate, cube, species, indicators, depth log and LAS."""

from __future__ import annotations

import time
from pathlib import Path

import lasio
import numpy as np
from numpy.typing import NDArray
from real_files import RealFile

from nightwell.report.depth_log import write_depth_log
from nightwell.report.las import write_las
from nightwell.wells.analysis import analyse_well
from nightwell.wells.archive import ResultsArchive
from nightwell.wells.composition import composition_of_log
from nightwell.wells.drilling import import_drilling
from nightwell.wells.gas_log import import_gas_log
from nightwell.wells.simulate import simulate_scans

Floats = NDArray[np.float64]

GAS = "ironbark1/IRONBARK-1_GSS_DGAS_1583.0-5816.0m_TD.csv"
DRILLING = "ironbark1/IRONBARK-1_GSS_DDRL_201229_5618.0m_TD.csv"


def test_ironbark_end_to_end(real_file: RealFile, tmp_path: Path) -> None:
    started = time.process_time()
    gas = import_gas_log(real_file(GAS))
    composition = composition_of_log(gas)
    assert composition.depth_m.size == 8071
    result = analyse_well(simulate_scans(composition, import_drilling(real_file(DRILLING))))
    analysed = time.process_time()
    picture = write_depth_log(result, tmp_path / "ironbark.png")
    las = lasio.read(write_las(result, tmp_path / "ironbark.las"))  # type: ignore[no-untyped-call]  # lasio has no types
    _, new = ResultsArchive(tmp_path / "results", "IRONBARK-1").commit(result)
    assert new
    spent = time.process_time() - started
    print(f"analysed in {analysed - started:.1f} s, all in {spent:.1f} s of CPU")  # noqa: T201 - figures for `pytest -s`
    assert spent < 60.0
    assert picture.stat().st_size > 100_000
    assert abs(las["DEPT"].size - 8071) < 10

    found = result["trap_gas/species"].to_dataset()
    for name, percent in (("methane", 8.0), ("ethane", 10.0), ("propane", 15.0)):
        put_in: Floats = np.interp(found["depth"].to_numpy(), composition.depth_m, composition.ppm[name])
        value = found["value"].sel(species=name).to_numpy()
        strong = put_in > 20.0
        relative = value[strong] / put_in[strong] - 1.0
        middle, half = np.nanmedian(relative), np.nanmedian(np.abs(relative))
        print(f"{name}: median {100 * middle:+.2f} %, half of the depths within {100 * half:.1f} %")  # noqa: T201 - as above
        assert 100 * abs(middle) < 3.0, name
        assert 100 * half < percent, name
