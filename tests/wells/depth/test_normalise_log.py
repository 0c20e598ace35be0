"""A measured gas log normalised without any spectrum; what is missing is named, never assumed in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightwell.errors import InputError
from nightwell.wells.drilling import import_drilling
from nightwell.wells.gas_log import import_gas_log
from nightwell.wells.normalise import Normalisation
from nightwell.wells.normalise_log import normalise_log, write_normalised

GAS = ["Depth (m),C1 (ppm),C2 (ppm),C3 (ppm)", "100,1000,100,0", "101,1000,,10", "102,1000,100,10", "110,1000,100,10"]
DRILLING = ["Depth (m),ROP (m/h),Flow In (L/min)", "99.9,10,3000", "101.2,20,3000", "102,40,0"]


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_log_is_normalised_and_its_zeros_and_gaps_stay_what_they_are(tmp_path: Path) -> None:
    gases = import_gas_log(write(tmp_path / "gas.csv", GAS))
    log = import_drilling(write(tmp_path / "drilling.csv", DRILLING))
    found = normalise_log(gases, log, Normalisation(rop_m_h=20.0, trap_efficiency=0.5), hole_diameter_m=0.3)
    write_normalised(found, tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    np.testing.assert_allclose(table.methane_normalised_ppm, [4000, 2000, np.nan, np.nan])  # no flow; no parameters
    assert np.isnan(table.ethane_normalised_ppm[1])
    assert table.exact_zeros.fillna("").tolist() == ["propane", "", "", ""]
    gpm, foot, inch = 3.785411784e-3 / 60, 0.3048, 0.0254
    assert table.c1n[0] == pytest.approx(11.6 * 1000 * (0.05 / gpm) / ((10 / foot) * (0.3 / inch) ** 2), rel=1e-5)
    assert found.notes[1].startswith("2 of 4 depths not drilled")
    assert found.notes[2] == "diameter of the hole taken as 0.3 m throughout"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (DRILLING, "give --hole-diameter"),
        (["Depth (m),ROP (m/h)", "99.9,10"], "found no flow"),
        (["Time,Bit Depth (m),Flow In (L/min)", "1700000000,1,1"], "a record in time"),
        (["Depth (m),ROP (m/h),Flow In (L/min),Bit Size (in)", "5000,10,100,12"], "the same interval"),
    ],
)
def test_what_a_log_lacks_is_named(tmp_path: Path, lines: list[str], said: str) -> None:
    gases = import_gas_log(write(tmp_path / "gas.csv", GAS))
    log = import_drilling(write(tmp_path / "drilling.csv", lines))
    with pytest.raises(InputError, match=said):
        normalise_log(gases, log)
