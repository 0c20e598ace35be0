"""The real logs and scans beside the project: their names, and the fixture that finds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

IRONBARK_GAS = "ironbark1/IRONBARK-1_GSS_DGAS_1583.0-5816.0m_TD.csv"
IRONBARK_DRILLING = "ironbark1/IRONBARK-1_GSS_DDRL_201229_5618.0m_TD.csv"
VOLVE = "volve/15_9-F-15_D_mudlog.csv"
QUADRUPOLE = "qms/anatema_2025-03-12_Ar-EtOH_plasma_peakheights.csv"
QUADSTAR = "qms/anatema_2025-03-12_Ar-EtOH_plasma.sac"
PATTERNS = "patterns/species.csv"

RealFile = Callable[[str], Path]


@pytest.fixture(scope="session")
def real_file() -> RealFile:
    """Return the path of a real file: it must be there when the folder is, and a clone has no folder."""

    def find(name: str) -> Path:
        if not REAL_DATA.is_dir():
            pytest.skip("the real logs are not part of the project; they are read from ../shared/data when it exists")
        path = REAL_DATA / name
        if not path.is_file():
            pytest.fail(f"{path} is missing")
        return path

    return find
