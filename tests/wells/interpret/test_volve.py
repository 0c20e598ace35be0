"""Our ratios of the real Volve gas against those the logging company printed beside it (GWR, LHR, OCQ)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from real_files import RealFile

from nightwell.wells.indicators import Curve, Curves, evaluate
from nightwell.wells.profiles import load_profiles, newest

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SPECIES = {
    "methane": "MTHA", "ethane": "ETHA", "propane": "PRPA", "isobutane": "IBTA", "n_butane": "NBTA",
    "isopentane": "IPNA", "n_pentane": "NPNA",
}  # fmt: skip
RATIOS = {"haworth_wetness": "GWR", "haworth_balance": "LHR", "haworth_character": "OCQ"}


@dataclass(frozen=True)
class Comparison:
    """The log, our ratios, and which rows have all seven gases above zero."""

    log: pd.DataFrame
    ours: dict[str, Floats]
    present: Bools

    def company(self, curve: str) -> Floats:
        return np.asarray(self.log[curve].to_numpy(), dtype=np.float64)

    def agrees(self, curve: str) -> Bools:
        """Within one percent and half of the last printed digit."""
        theirs = self.company(curve)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(self.ours[curve] - theirs) <= 0.005 + 0.01 * theirs)

    @property
    def differs(self) -> Bools:
        agree = np.logical_and.reduce([self.agrees(curve) for curve in RATIOS.values()])
        return np.asarray(self.present & ~agree)


@pytest.fixture(scope="module")
def volve(real_file: RealFile) -> Comparison:
    log = pd.read_csv(real_file("volve/15_9-F-15_D_mudlog.csv"), low_memory=False)
    log = log.rename(columns={name: name.split(" ")[0] for name in log.columns})
    curves = {name: Curve.of_log(log[curve].to_numpy(dtype=np.float64)) for name, curve in SPECIES.items()}
    profiles = newest(load_profiles())
    ours = {curve: evaluate(profiles[name], Curves(curves)).value for name, curve in RATIOS.items()}
    present = np.logical_and.reduce([curve.value > 0 for curve in curves.values()])
    return Comparison(log, ours, present)


def test_ratios_agree_wherever_the_inputs_are_present(volve: Comparison) -> None:
    rows = int(volve.present.sum())
    assert rows == 1233
    least = {"GWR": 0.93, "LHR": 0.93, "OCQ": 0.94}
    for curve, share in least.items():
        agree = int((volve.agrees(curve) & volve.present).sum())
        print(f"{curve}: {agree} of {rows} rows agree within 1 % ({100 * agree / rows:.1f} %)")  # noqa: T201 - the share is asked for
        assert agree / rows >= share, curve
    together = 1.0 - volve.differs.sum() / rows
    print(f"all three: {100 * together:.1f} %")  # noqa: T201 - as above
    assert together > 0.92


def test_the_company_leaves_zero_where_an_input_is_missing(volve: Comparison) -> None:
    """A zero is its placeholder: it never computes a ratio of six gases. Two rows (of 2073) break its own rule."""
    absent = ~volve.present
    assert absent.sum() == 2073
    assert ((volve.company("GWR") > 0) & absent).sum() == 2


def test_neopentane_is_not_in_the_companys_formula(volve: Comparison) -> None:
    assert volve.log["EPNA"].isna().all()


def test_what_differs_is_explained(volve: Comparison) -> None:
    """Held values, interpolated rows, two zeros; and rows where the gas changes within the metre that is averaged."""
    ratios = [volve.company(curve) for curve in RATIOS.values()]
    repeats = np.zeros(volve.present.size, dtype=bool)
    repeats[1:] = np.logical_and.reduce([ratio[1:] == ratio[:-1] for ratio in ratios])
    held = (repeats | np.roll(repeats, -1)) & volve.differs
    zero = volve.differs & (ratios[0] == 0)
    heavier = volve.log[[curve for curve in SPECIES.values() if curve != "MTHA"]].to_numpy(dtype=np.float64)
    interpolated = volve.differs & (np.abs(100 * heavier - np.round(100 * heavier)) > 1e-6).any(axis=1)
    rest = volve.differs & ~held & ~zero & ~interpolated
    methane = np.log(volve.company("MTHA"))
    step = np.maximum(np.abs(methane - np.roll(methane, 1)), np.abs(methane - np.roll(methane, -1)))
    changing = step > 0.2
    counts = {"held": held, "zero": zero, "interpolated": interpolated & ~held & ~zero, "rest": rest}
    print({name: int(rows.sum()) for name, rows in counts.items()}, f"{100 * changing[rest].mean():.0f} % at a change")  # noqa: T201 - as above
    assert held.sum() >= 14
    assert zero.sum() == 2
    assert rest.sum() < 0.07 * volve.present.sum()
    assert changing[rest].mean() > 0.9
    assert changing[volve.present].mean() < 0.45


def test_an_absurd_butane_is_computed_and_not_hidden(volve: Comparison) -> None:
    """28,045,800 ppm of butane is in the log: the ratio follows it; import is where absurd values are named."""
    worst = int(np.argmax(volve.company("NBTA")))
    assert volve.company("NBTA")[worst] > 2e7
    assert not volve.present[worst] or volve.ours["GWR"][worst] > 99
