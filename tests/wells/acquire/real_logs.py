"""Names of the real files beside the project, and the types of the fixtures that find and write files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

REAL_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"

IRONBARK_GAS = "ironbark1/IRONBARK-1_GSS_DGAS_1583.0-5816.0m_TD.csv"
IRONBARK_DRILLING = "ironbark1/IRONBARK-1_GSS_DDRL_201229_5618.0m_TD.csv"
VOLVE = "volve/15_9-F-15_D_mudlog.csv"
QUADRUPOLE = "qms/anatema_2025-03-12_Ar-EtOH_plasma_peakheights.csv"
QUADSTAR = "qms/anatema_2025-03-12_Ar-EtOH_plasma.sac"
PATTERNS = "patterns/species.csv"

RealFile = Callable[[str], Path]
WriteFile = Callable[..., Path]
