"""The species library: every fact has a source, and a library that cannot be solved is refused."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_files import PATTERNS, RealFile

from nightwell.errors import InputError, NotFoundError
from nightwell.wells.species import MAX_CONDITION, SpeciesGroup
from nightwell.wells.species_file import load_library

DATA = Path(load_library.__code__.co_filename).parent / "data"
FULL_AXIS = np.arange(1, 121)
CORE = load_library()


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((DATA / name).read_text().splitlines()))


@pytest.mark.parametrize("name", ["species.csv", "sensitivities.csv", "gases.csv"])
def test_every_row_has_a_source_that_was_read(name: str) -> None:
    for row in rows(name):
        assert len(row["source"]) > 10, row
        assert "recalled" not in row["source"]


def test_the_core_covers_all_groups_and_can_be_solved() -> None:
    assert 28 <= len(CORE.names) <= 40
    assert set(CORE.groups) == set(SpeciesGroup)
    assert CORE.condition_number(FULL_AXIS) == pytest.approx(84.7, abs=0.1)
    assert CORE.design_matrix(FULL_AXIS).shape == (120, len(CORE.names))


def test_species_that_cannot_be_told_apart_are_lumped_by_name() -> None:
    lumped = CORE.species[CORE.index("xylenes_ethylbenzene")]
    assert lumped.members == ("ethylbenzene", "o_xylene", "m_xylene", "p_xylene")
    assert sum(share for _, share in lumped.peaks) == pytest.approx(1.0)
    apart = load_library(lumps=False)
    unit = apart.pattern_matrix(FULL_AXIS)
    unit /= np.linalg.norm(unit, axis=0)
    meta, para = (unit[:, apart.index(name)] for name in ("m_xylene", "p_xylene"))
    assert meta @ para > 0.99
    assert "m_xylene+p_xylene" in apart.lumped(cosine=0.99).names


def test_lumping_passes_likeness_on_and_leaves_the_rest() -> None:
    library = load_library(core=False, lumps=False)
    lumped = library.lumped(cosine=0.985)
    assert "nitrogen+carbon_monoxide" in lumped.names
    assert "1_butene+isobutene" in lumped.names
    assert "methane" in lumped.names
    members = [leaf for one in lumped.species for leaf in (one.members or (one.name,))]
    assert sorted(members) == sorted(library.names)


def test_a_library_that_cannot_be_solved_is_refused_by_name() -> None:
    library = load_library(core=False, lumps=False)
    with pytest.raises(InputError, match=f"up to {MAX_CONDITION:g}; found .*nitrogen and carbon_monoxide"):
        library.design_matrix(np.arange(1, 151))


def test_an_axis_that_lacks_peaks_is_refused_by_species_and_mass() -> None:
    with pytest.raises(InputError, match="toluene needs m/z 51, 63, 65, 90, 91, 92, 93") as caught:
        CORE.design_matrix(np.arange(1, 51))
    assert "methane" not in caught.value.found
    assert "m/z axis 1 to 50" in caught.value.subject


def test_species_an_axis_cannot_show_can_be_left_out_openly() -> None:
    axis = np.arange(1, 91)
    library, missing = CORE.covered(axis)
    assert missing["toluene"] == (91, 92, 93)
    assert "benzene" in library.names
    assert library.design_matrix(axis).shape == (90, len(library.names))
    assert set(library.names) | set(missing) == set(CORE.names)


def test_the_three_factors_of_the_design_matrix() -> None:
    axis = FULL_AXIS
    matrix = CORE.design_matrix(axis, transmission_exponent=0.5)
    methane = CORE.index("methane")
    share = 86 / (100 + 86 + 16 + 8 + 4 + 2.5 + 1.2)
    assert matrix[14, methane] == pytest.approx(1.6 * share * (28 / 15) ** 0.5)
    flat = CORE.design_matrix(axis)
    np.testing.assert_allclose(flat.sum(axis=0), CORE.sensitivities)


def test_estimated_sensitivities_are_what_their_source_says() -> None:
    rate = {"C": 0.55, "H": 0.22, "O": 0.45, "S": 2.05}
    formulas = {row["species"]: row["formula"] for row in rows("species.csv")}
    estimated = [row for row in rows("sensitivities.csv") if row["source"].startswith("estimate")]
    assert len(estimated) > 20
    for row in estimated:
        atoms = re.findall(r"([A-Z][a-z]?)(\d*)", formulas[row["species"]])
        expected = sum(rate[element] * int(count or 1) for element, count in atoms)
        assert float(row["relative_sensitivity"]) == pytest.approx(expected, abs=0.006), row["species"]


def test_a_pattern_learned_from_a_standard_replaces_the_library() -> None:
    learned = CORE.with_pattern("nitrogen", {28: 200.0, 14: 13.4}, source="bench standard")
    assert learned.version != CORE.version
    column = learned.pattern_matrix([14, 28])[:, learned.index("nitrogen")]
    np.testing.assert_allclose(column, [13.4 / 213.4, 200 / 213.4])
    assert learned.select(["argon"]).version == CORE.select(["argon"]).version


@given(st.permutations(CORE.names).map(lambda names: names[:12]))
def test_a_selection_keeps_its_order_and_its_columns(names: list[str]) -> None:
    part = CORE.select(names)
    assert part.names == tuple(names)
    whole = CORE.pattern_matrix(FULL_AXIS)
    np.testing.assert_array_equal(part.pattern_matrix(FULL_AXIS), whole[:, [CORE.index(name) for name in names]])
    assert part.condition_number(FULL_AXIS) <= CORE.condition_number(FULL_AXIS) * (1 + 1e-9)


def test_an_unknown_species_is_named() -> None:
    with pytest.raises(NotFoundError, match="'unobtainium'"):
        CORE.index("unobtainium")


SPECIES_HEADER = "species,formula,group,core,lump,peaks,source"
SENSITIVITY_HEADER = "species,relative_sensitivity,error_percent,source"


@pytest.mark.parametrize(
    ("species", "sensitivity", "said"),
    [
        ("neon,Ne,inorganic,yes,,20:100,", "neon,1,10,somewhere", "a source on every row.*neon"),
        ("neon,Ne,inorganic,yes,,20:100,read", "argon,1,10,somewhere", "a row for neon"),
        ("neon,Ne,inorganic,yes,,20:lots,read", "neon,1,10,somewhere", "numbers.*neon"),
        ("neon,Ne,noble,yes,,20:100,read", "neon,1,10,somewhere", "known group.*noble"),
        ("neon,Ne,inorganic,yes,,20:100 20:5,read", "neon,1,10,somewhere", "distinct peaks"),
        ("neon,Ne,inorganic,yes,,20:100,read", "neon,0,10,somewhere", "positive sensitivity"),
    ],
)
def test_a_damaged_library_is_named(tmp_path: Path, species: str, sensitivity: str, said: str) -> None:
    (tmp_path / "species.csv").write_text(f"{SPECIES_HEADER}\n{species}\n")
    (tmp_path / "sensitivities.csv").write_text(f"{SENSITIVITY_HEADER}\n{sensitivity}\n")
    with pytest.raises(InputError, match=said):
        load_library(tmp_path)


def test_a_library_of_another_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "species.csv").write_text("a,b\n")
    (tmp_path / "sensitivities.csv").write_text(f"{SENSITIVITY_HEADER}\n")
    with pytest.raises(InputError, match="columns species, formula"):
        load_library(tmp_path)


def test_peaks_are_those_of_the_facts(real_file: RealFile) -> None:
    facts: dict[str, dict[int, float]] = {}
    for row in csv.DictReader(real_file(PATTERNS).read_text().splitlines()):
        facts.setdefault(row["species"], {})[int(row["mz"])] = float(row["relative_intensity_percent"])
    for row in rows("species.csv"):
        pairs = (pair.split(":") for pair in row["peaks"].split())
        assert {int(mz): float(percent) for mz, percent in pairs} == facts[row["species"]], row["species"]
