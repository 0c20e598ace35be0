"""How often a contact is false, and how often a true one is found, on logs whose species wander by themselves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from nightwell.wells.contacts import Contact, agree, find_changes, wander_of
from nightwell.wells.rules import load_rules

Floats = NDArray[np.float64]
DEPTH = np.arange(1000.0, 2000.0, 0.5)
CONTACT_M = 1500.0
GAS = {"methane": 360.0, "ethane": 20.0, "propane": 10.0, "isobutane": 2.0, "n_butane": 4.0, "isopentane": 2.0,
       "n_pentane": 2.0, "benzene": 0.8, "toluene": 1.2, "n_hexane": 1.6, "methylcyclohexane": 1.2}  # fmt: skip
OTHER_FLUID = {"ethane": 2.5, "propane": 3.5, "isobutane": 3.0, "n_butane": 5.0, "n_hexane": 2.0}
SEEDS = 8

#: Scatter of each species in log10, correlation of depths 0.5 m apart, the most false contacts per km, the least found.
CASES = ((0.05, 0.0, 0.2, 8), (0.1, 0.9, 0.2, 2), (0.1, 0.99, 1.0, 0))


def planted(seed: int, scatter: float, likeness: float, below: dict[str, float]) -> dict[str, Floats]:
    """Return the curves that vote, of species that wander each by itself about amounts that wander together."""
    rng = np.random.default_rng(seed)

    def wander(size: float) -> Floats:
        steps = rng.standard_normal(DEPTH.size) * size * np.sqrt(1.0 - likeness**2)
        walked: Floats = lfilter([1.0], [1.0, -likeness], steps)
        return walked

    amount = wander(2.0 * scatter)
    gas = {
        name: ppm * 10.0 ** (amount + wander(scatter)) * np.where(DEPTH < CONTACT_M, 1.0, below.get(name, 1.0))
        for name, ppm in GAS.items()
    }
    butanes, pentanes = gas["isobutane"] + gas["n_butane"], gas["isopentane"] + gas["n_pentane"]
    return {
        "total_gas": gas["methane"] + gas["ethane"] + gas["propane"] + butanes + pentanes,
        "pixler_c1_c2": gas["methane"] / gas["ethane"],
        "ethane_propane": gas["ethane"] / gas["propane"],
        "haworth_character": (butanes + pentanes) / gas["propane"],
        "butane_isomers": gas["isobutane"] / gas["n_butane"],
        "pentane_isomers": gas["isopentane"] / gas["n_pentane"],
        "benzene_toluene": gas["benzene"] / gas["toluene"],
        "benzene_hexane": gas["benzene"] / gas["n_hexane"],
        "toluene_methylcyclohexane": gas["toluene"] / gas["methylcyclohexane"],
    }


def contacts(curves: dict[str, Floats]) -> list[Contact]:
    rule = load_rules().contact
    return agree({name: find_changes(name, DEPTH, value, rule) for name, value in curves.items()}, rule)


@pytest.mark.parametrize(("scatter", "likeness", "most_false", "least_found"), CASES)
def test_gas_that_wanders_is_no_contact(scatter: float, likeness: float, most_false: float, least_found: int) -> None:
    length_km = (DEPTH[-1] - DEPTH[0]) / 1000.0
    false = sum(len(contacts(planted(seed, scatter, likeness, {}))) for seed in range(SEEDS)) / SEEDS / length_km
    found = sum(
        any(abs(one.depth_m - CONTACT_M) <= 6.0 for one in contacts(planted(seed, scatter, likeness, OTHER_FLUID)))
        for seed in range(SEEDS)
    )
    print(f"{scatter:.2f}, {likeness:g}: {false:.2f} false per km, found {found} of {SEEDS}")  # noqa: T201 - figures for `pytest -s`
    assert false <= most_false
    assert found >= least_found


def test_wandering_is_estimated_and_changes_of_the_mean_are_none() -> None:
    rng = np.random.default_rng(4)
    white = rng.standard_normal(4000)
    assert wander_of(white) < 0.1
    assert wander_of(white + np.repeat(np.arange(8) * 20.0, 500)) < 0.1, "eight means"
    walked = lfilter([1.0], [1.0, -0.7], rng.standard_normal(40_000))
    assert wander_of(walked) == pytest.approx(0.7, abs=0.05)
    assert wander_of(np.zeros(50)) == 0.0
    assert wander_of(np.zeros(2)) == 0.0
