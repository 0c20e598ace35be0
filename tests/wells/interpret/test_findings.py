"""Findings on planted wells: each statement where it was put, none where nothing was, and all of it kept."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from real_files import RealFile

from nightwell.errors import FormatError
from nightwell.wells.analysis import analyse_well
from nightwell.wells.composition import published_composition
from nightwell.wells.findings import FINDING_FORMAT, Finding, FindingKind, findings_dataset, findings_of
from nightwell.wells.gas_log import GasLog, import_gas_log
from nightwell.wells.import_report import ImportReport
from nightwell.wells.interpret import load_classifications
from nightwell.wells.method import Method
from nightwell.wells.profiles import load_profiles
from nightwell.wells.read_log import read_gas_log
from nightwell.wells.read_well import read_well
from nightwell.wells.rules import Rules, load_rules
from nightwell.wells.simulate import simulate_scans
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]
DEPTH = np.arange(1000.0, 1800.0, 0.5)
TUTORIAL = Path(__file__).resolve().parents[3] / "docs" / "tutorial-ironbark.md"
SHARES = {"methane": 0.9, "ethane": 0.05, "propane": 0.025, "isobutane": 0.005, "n_butane": 0.01, "isopentane": 0.005,
          "n_pentane": 0.005}  # fmt: skip
PROFILES, CLASSIFICATIONS = load_profiles(), load_classifications()


def well(**changes: Floats) -> dict[str, Floats]:
    """Return 400 ppm of gas of one composition, with 10 % of scatter of its amount; ``changes`` multiply species."""
    noise = 10.0 ** (0.04 * np.random.default_rng(1).standard_normal(DEPTH.size))
    gas = {name: 400.0 * share * noise for name, share in SHARES.items()}
    return {name: value * changes.get("every", 1.0) * changes.get(name, 1.0) for name, value in gas.items()} | {
        name: value for name, value in changes.items() if name not in {*SHARES, "every"}
    }


def between(top_m: float, bottom_m: float, factor: float) -> Floats:
    return np.where((top_m <= DEPTH) & (bottom_m >= DEPTH), factor, 1.0)


def read(gas: dict[str, Floats], rules: Rules | None = None) -> tuple[Finding, ...]:
    coordinate = {"depth": DEPTH}
    table = xr.Dataset({name: ("depth", value) for name, value in gas.items()}, coords=coordinate)
    zeros = xr.Dataset({name: ("depth", value == 0.0) for name, value in gas.items()}, coords=coordinate)
    log = GasLog("planted", table, zeros, ImportReport("planted", "0", DEPTH.size, (), ()))
    result = read_gas_log(log, PROFILES, CLASSIFICATIONS, rules or load_rules())
    return findings_of(result["findings"].to_dataset())


def of(findings: tuple[Finding, ...], kind: FindingKind) -> list[Finding]:
    return [one for one in findings if one.kind is kind]


def test_nothing_is_found_where_nothing_is() -> None:
    assert {one.kind for one in read(well())} == {FindingKind.NOT_ASSESSED}


def test_a_show_with_other_gas_in_it_is_a_show_between_contacts() -> None:
    rich = between(1400, 1440, 3.0)
    found = read(well(every=between(1400, 1440, 30.0), ethane=rich, propane=rich, n_butane=1.5 * rich - 0.5))
    (show,) = of(found, FindingKind.SHOW)
    assert (show.top_m, show.bottom_m) == (1400.0, 1440.0)
    assert [(one.what, one.comparison, one.threshold) for one in show.evidence[:3]] == [
        ("median", ">=", 50.0),
        ("times its background", ">=", 3.0),
        ("z", ">=", 4.0),
    ]
    assert show.evidence[1].value == pytest.approx(30 * (0.9 + 0.15 + 0.075 + 0.02 + 0.02), rel=0.1)
    assert all(one.value >= one.threshold for one in show.evidence[:3])
    assert any("haworth_wetness" in one and "haworth@1" in one for one in show.thresholds)
    contacts = of(found, FindingKind.CONTACT)
    assert [round(one.top_m) for one in contacts] == [1400, 1440]
    assert "Its top is the contact at 1399.8 m" in show.statement


def test_a_show_of_the_same_gas_has_no_contacts() -> None:
    """One curve that changes, however much, is no contact."""
    found = read(well(every=between(1400, 1440, 30.0)))
    assert len(of(found, FindingKind.SHOW)) == 1
    assert of(found, FindingKind.CONTACT) == []
    assert "Its top is no contact" in of(found, FindingKind.SHOW)[0].statement


def test_a_show_whose_classes_contradict_each_other_says_so() -> None:
    """Much ethane and nothing heavier: gas by Haworth's wetness and balance, oil by C1/C2."""
    found = read(well(every=between(1400, 1440, 30.0), ethane=between(1400, 1440, 2.6)))
    (show,) = of(found, FindingKind.SHOW)
    assert "The methods contradict each other: gas by Haworth class" in show.statement
    assert "oil by Pixler C1/C2 zones, gas by Oil indicator class" in show.statement


def test_more_gas_everywhere_changes_no_reading() -> None:
    """Ratios and backgrounds do not know the scale: ten times the gas reads the same, where thresholds in ppm allow."""
    gas = well(every=between(1400, 1440, 30.0), ethane=between(1400, 1440, 3.0))
    once, tenfold = read(gas), read({name: 10.0 * value for name, value in gas.items()})
    assert [(one.kind, one.top_m, one.bottom_m) for one in once] == [
        (one.kind, one.top_m, one.bottom_m) for one in tenfold
    ]


def test_thresholds_decide() -> None:
    rules = load_rules()
    strict = replace(rules, zone=replace(rules.zone, least_times=50.0))
    assert of(read(well(every=between(1400, 1440, 30.0)), strict), FindingKind.SHOW) == []


def test_gas_of_the_bit_is_told() -> None:
    ethene = np.where((DEPTH >= 1300) & (DEPTH <= 1310), 5.0, 0.01)
    (warning,) = of(read(well(ethylene=ethene)), FindingKind.WARNING)
    assert (warning.top_m, warning.bottom_m, warning.rule) == (1300.0, 1310.0, "metamorphism@2")
    assert warning.evidence[0].value == pytest.approx(5 / 25, rel=0.15)


def test_a_few_depths_of_ethene_near_each_other_are_noise() -> None:
    ethene = np.full(DEPTH.size, 0.01)
    ethene[600:616:5] = 5.0  # four of sixteen depths
    assert of(read(well(ethylene=ethene)), FindingKind.WARNING) == []
    ethene[600:616] = 5.0
    assert len(of(read(well(ethylene=ethene)), FindingKind.WARNING)) == 1


@pytest.mark.parametrize(("share", "told"), [(0.15, True), (0.0, False), (0.9, False)])
def test_the_echo_of_a_show_may_be_recycled_gas(share: float, told: bool) -> None:  # noqa: FBT001 - a table of cases
    """As high as the show itself it is another show; a show without an echo is none."""
    shape = 1.0 + 30.0 * np.exp(-(((DEPTH - 1300.0) / 8.0) ** 2)) + 15.0 * np.exp(-(((DEPTH - 1320.0) / 5.0) ** 2))
    echo = np.interp(DEPTH - 120.0, DEPTH, shape) - 1.0
    found = of(read(well(every=shape + share * echo)), FindingKind.WARNING)
    assert [round(one.evidence[1].value, 1) for one in found if abs(one.top_m - 1406) < 6] == ([0.1] if told else [])


def test_a_recycled_share_is_used_where_an_analysis_has_one(result: xr.DataTree) -> None:
    known = result.copy()
    species = known["trap_gas/species"].to_dataset()
    fraction = np.where(species["depth"] > 1850.0, 0.6, 0.05)
    known["trap_gas/species"] = xr.DataTree(species.assign(recycled_share=("depth", fraction)))
    found = read_well(known, load_rules())
    (warning,) = [one for one in found if one.rule == "recycled@1"]
    assert "60 % of the gas went round" in warning.statement
    assert (warning.top_m, warning.evidence[0].threshold) == (1850.5, 0.2)


def test_absurd_values_and_gaps_are_named_and_nothing_rests_on_them() -> None:
    gas = well(every=between(1400, 1440, 30.0))
    gas["n_butane"][(DEPTH >= 1500) & (DEPTH <= 1501)] = 28_045_800.0
    for name in gas:
        gas[name][(DEPTH >= 1600) & (DEPTH <= 1620)] = np.nan
    found = read(gas)
    absurd, gap = of(found, FindingKind.QUALITY)
    assert absurd.statement.startswith("Absurd: n butane 28,045,800 ppm; nothing was read at 3 depths")
    assert (absurd.top_m, absurd.bottom_m) == (1500.0, 1501.0)
    assert gap.statement.startswith("Nothing was measured")
    assert (gap.top_m, gap.bottom_m) == (1600.0, 1620.0)
    assert [(one.top_m, one.bottom_m) for one in of(found, FindingKind.SHOW)] == [(1400.0, 1440.0)]


def test_a_log_of_nothing_says_so() -> None:
    found = read({name: np.full(DEPTH.size, np.nan) for name in SHARES})
    assert {one.kind for one in found} == {FindingKind.QUALITY, FindingKind.NOT_ASSESSED}
    words = " ".join(one.statement for one in found)
    assert "Nothing was measured" in words
    assert "Shows were not sought" in words
    assert "Contacts were not sought" in words


def test_findings_are_read_back_as_they_were(result: xr.DataTree) -> None:
    dataset = result["findings"].to_dataset()
    found = findings_of(dataset)
    again = findings_dataset(found)
    xr.testing.assert_identical(again, dataset)
    assert [json.loads(text)["statement"] for text in dataset["document"].to_numpy()] == [
        one.statement for one in found
    ]
    assert findings_of(findings_dataset([])) == ()
    newer = dataset.assign_attrs(finding_format=FINDING_FORMAT + 1)
    with pytest.raises(FormatError, match="newer release"):
        findings_of(newer)


def test_the_zones_of_the_simulated_well_are_found_with_their_halos() -> None:
    """The forward model put gas at 1820 to 1860 and 2240 to 2300 m, and aromatics up to some 40 m above."""
    result = analyse_well(simulate_scans(published_composition()), method=Method.default())
    assert result.attrs["simulated"] == 1
    found = findings_of(result["findings"].to_dataset())
    shows = [one for one in of(found, FindingKind.SHOW) if one.stream == Stream.TRAP_GAS]
    ends = [depth for one in shows for depth in (one.top_m, one.bottom_m)]
    assert ends == pytest.approx([1820.0, 1860.0, 2240.0, 2300.0], abs=2.0)
    contacts = [(one.top_m + one.bottom_m) / 2 for one in of(found, FindingKind.CONTACT)]
    for depth in (1820.0, 2240.0, 2300.0):
        assert min(abs(one - depth) for one in contacts) < 2.5
    every = of(found, FindingKind.SHOW)
    assert [one.statement for one in every if re.search(r"\. [a-z]", one.statement)] == [], "sentences, as in a report"
    halos = of(found, FindingKind.PROXIMITY)
    assert all(
        (one.top_m > 1740 and one.bottom_m < 1870) or (one.top_m > 2160 and one.bottom_m < 2310) for one in halos
    )
    assert {one.stream for one in halos} >= {"mud_fluid", "cuttings_crush"}
    origins = of(found, FindingKind.ORIGIN)
    assert {(one.top_m, one.rule) for one in origins} == {
        (show.top_m, rule) for show in shows for rule in ("fluid_relation@1", "where_petroleum_is@1")
    }
    assert of(found, FindingKind.QUALITY) == []


def real(path: str, real_file: RealFile) -> tuple[Finding, ...]:
    log = import_gas_log(real_file(path))
    found = findings_of(read_gas_log(log, PROFILES, CLASSIFICATIONS, load_rules())["findings"].to_dataset())
    for one in found:
        print(f"{one.top_m:7.1f} {one.bottom_m:7.1f} {one.statement}")  # noqa: T201 - figures for `pytest -s`
    return found


def test_volve_its_reservoir_is_a_rise_of_oil_and_its_absurd_butane_is_named(real_file: RealFile) -> None:
    found = real("volve/15_9-F-15_D_mudlog.csv", real_file)
    (rise,) = of(found, FindingKind.RISE)
    assert [rise.top_m, rise.bottom_m] == pytest.approx([3446.0, 4685.0], abs=5.0)
    assert "gas with oil by Ch" in rise.statement
    assert "oil of high gravity" in rise.statement
    assert any("28,045,800" in one.statement for one in of(found, FindingKind.QUALITY))
    assert all(len(one.evidence) >= 3 for one in of(found, FindingKind.CONTACT))


def test_ironbark_has_rises_of_gas_and_no_show(real_file: RealFile) -> None:
    found = real("ironbark1/IRONBARK-1_GSS_DGAS_1583.0-5816.0m_TD.csv", real_file)
    rises = of(found, FindingKind.RISE)
    assert [round(one.top_m) for one in rises] == [1974, 3061]
    told = "Contact at 4363.2 m", "Pixler C1/C2 13.9 to 5.24"
    assert any(all(words in one.statement for words in told) for one in of(found, FindingKind.CONTACT))
    tutorial = TUTORIAL.read_text()
    assert "contact at 4363.2 m, where C1/C2 falls from 13.9 to 5.24" in " ".join(tutorial.split())
    assert all("gas, the wetter the closer the curves" in one.statement for one in rises)
    assert of(found, FindingKind.SHOW) == []
