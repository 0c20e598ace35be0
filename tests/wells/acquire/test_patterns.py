"""Patterns of a user's own: .msp and JCAMP-DX into a species library, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from wells.acquire.written_files import WriteFile

from nightwell.errors import ConflictError, InputError
from nightwell.wells.import_well import import_spectra
from nightwell.wells.pattern_file import Pattern, read_patterns
from nightwell.wells.pattern_import import NewSpecies, import_patterns, new_species, species_name
from nightwell.wells.species import SpeciesGroup
from nightwell.wells.species_file import load_library

MSP = ["Name: Benzene", "Formula: C6H6", "MW: 78", "Num Peaks: 4", "51 186; 52 192; 77 282", '78 999 "M+ 12"', "",
       "NAME: 1-Hexene", "Formula: C6H12", "Num peaks: 3", "41, 999", "56, 800", "84, 300"]  # fmt: skip
JDX = ["##TITLE=Toluene", "##JCAMP-DX=4.24", "##DATA TYPE=MASS SPECTRUM", "##MOLFORM=C7 H8", "##XUNITS=M/Z",
       "##YUNITS=RELATIVE ABUNDANCE", "##NPOINTS=4", "##PEAK TABLE=(XY..XY)", "39,1200 65,1100", "91,9999", "92,7700",
       "##END="]  # fmt: skip


def test_msp_and_jcamp_are_read_by_content(write_file: WriteFile) -> None:
    benzene, hexene = read_patterns(write_file(*MSP, name="mine.txt"))
    assert (benzene.name, benzene.formula) == ("Benzene", "C6H6")
    assert dict(benzene.peaks)[78] == 100.0
    assert dict(benzene.peaks)[51] == pytest.approx(100 * 186 / 999)
    assert dict(hexene.peaks) == pytest.approx({41: 100.0, 56: 100 * 800 / 999, 84: 100 * 300 / 999})
    (toluene,) = read_patterns(write_file(*JDX, name="mine.data"))
    assert (toluene.name, toluene.formula) == ("Toluene", "C7H8")
    assert dict(toluene.peaks)[92] == pytest.approx(100 * 7700 / 9999)


def test_a_compound_file_of_jcamp_gives_every_block(write_file: WriteFile) -> None:
    other = [line.replace("Toluene", "Cycloheptatriene") for line in JDX]
    link = ["##TITLE=both", "##JCAMP-DX=5.0", "##DATA TYPE=LINK", "##BLOCKS=2", *JDX, *other, "##END="]
    assert [one.name for one in read_patterns(write_file(*link))] == ["Toluene", "Cycloheptatriene"]


BAD = {
    "no format": (["Depth,C1", "1,2"], r"\.msp .* or JCAMP-DX"),
    "peaks lost": ([*MSP[:4], "51 186; 52 192"], "compound 'Benzene'.*expected 4 peaks .*; found 2"),
    "no number of peaks": (["Name: Benzene", "51 186"], "a number of peaks"),
    "half mass": (["Name: Benzene", "Num Peaks: 1", "25.5 999"], "at m/z 25.5"),
    "negative": (["Name: Benzene", "Num Peaks: 1", "25 -3"], "found -3 at m/z 25"),
    "all zero": (["Name: Benzene", "Num Peaks: 1", "25 0"], "at least one peak above zero"),
    "infrared": ([line.replace("MASS SPECTRUM", "INFRARED SPECTRUM") for line in JDX], "found infrared spectrum"),
    "damaged jcamp": ([*JDX[:6], "##NPOINTS=9", *JDX[7:]], r"expected 9 peaks \(##NPOINTS\); found 4"),
    "unreadable jcamp": (
        [*JDX[:6], "##FIRSTX=1", "##LASTX=a", "##NPOINTS=4", "##XYDATA=(X++(Y..Y))", "1 2", "##END="],
        "package jcamp",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_patterns_are_named(write_file: WriteFile, name: str) -> None:
    lines, said = BAD[name]
    with pytest.raises(InputError, match=said):
        read_patterns(write_file(*lines))


def test_patterns_become_a_library_that_the_analysis_loads(write_file: WriteFile, tmp_path: Path) -> None:
    patterns = [*read_patterns(write_file(*MSP)), *read_patterns(write_file(*JDX, name="t.jdx"))]
    new = dict([new_species("1_hexene=liquid_petroleum:4.0:20")])
    assert import_patterns(patterns, tmp_path / "library", new=new) == ("benzene", "1_hexene", "toluene")
    shipped, mine = load_library(), load_library(tmp_path / "library")
    assert set(mine.names) == {*shipped.names, "1_hexene"}
    benzene = next(one for one in mine.species if one.name == "benzene")
    old = next(one for one in shipped.species if one.name == "benzene")
    assert (benzene.sensitivity, benzene.group) == (old.sensitivity, old.group)
    assert dict(benzene.peaks)[78] == pytest.approx(999 / (186 + 192 + 282 + 999), rel=1e-3)
    assert benzene.source == "user pattern, log.csv"
    assert next(one for one in mine.species if one.name == "1_hexene").sensitivity_error == pytest.approx(0.2)
    assert mine.version != shipped.version


def test_what_cannot_go_into_a_library_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    target = tmp_path / "library"
    benzene = Pattern("benzene", "C6H6", ((78, 100.0),), "typed in")
    unknown = Pattern("1-Hexene", "C6H12", ((41, 100.0),), "typed in")
    with pytest.raises(InputError, match=r"'1_hexene' a formula.*--new 1_hexene="):
        import_patterns([benzene, unknown], target)
    nameless = Pattern("1-Hexene", "", ((41, 100.0),), "typed in")
    with pytest.raises(InputError, match="without a formula"):
        import_patterns([nameless], target, new={"1_hexene": NewSpecies(SpeciesGroup.LIQUID_PETROLEUM, 4.0)})
    with pytest.raises(InputError, match="one pattern per species"):
        import_patterns([benzene, benzene], target)
    assert list(tmp_path.iterdir()) == []
    import_patterns([benzene], target)
    with pytest.raises(ConflictError):
        import_patterns([benzene], target)


def test_names_and_new_species_are_read() -> None:
    assert species_name("n-Butane") == "n_butane"
    for text in ("x=liquid_petroleum", "x=fruit:1", "x=liquid_petroleum:0x1", "liquid_petroleum:1"):
        with pytest.raises(InputError, match=r"name=group:sensitivity:percent"):
            new_species(text)


def test_patterns_given_as_spectra_are_told_where_to_go(write_file: WriteFile) -> None:
    for lines in (MSP, JDX):
        with pytest.raises(InputError, match="import-patterns"):
            import_spectra(write_file(*lines))
