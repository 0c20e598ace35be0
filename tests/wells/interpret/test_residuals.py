"""What a fit leaves over: a spectrum beside its fit, and the species that a library lacks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.report.findings import report_text
from nightwell.report.summary import summary_text
from nightwell.wells.analysis import analyse_well
from nightwell.wells.deconvolve import Deconvolution, make_deconvolver
from nightwell.wells.findings import FindingKind, findings_of
from nightwell.wells.instrument import Instrument
from nightwell.wells.lack_of_fit import lack_of_fit
from nightwell.wells.method import Method
from nightwell.wells.residuals import fit_at
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.species_file import load_library
from nightwell.wells.streams import Stream

MakeCube = Callable[..., xr.Dataset]


def test_a_spectrum_and_its_fit_agree_and_the_parts_sum_to_it(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    ppm = np.zeros((6, len(library.names)))
    ppm[:, library.index("methane")] = 5_000.0
    ppm[:, library.index("benzene")] = 20.0
    cube = make_cube(library, ppm)
    found = fit_at(cube, make_deconvolver(cube, instrument, library), 1001.1)
    assert found.depth_m == 1001.0
    assert np.allclose(found.parts.sum(axis=0), found.fitted, rtol=1e-12, atol=1e-20)
    assert np.allclose(found.residual, found.measured - found.fitted)
    assert np.abs(found.standardised).max() < 5.0
    assert found.chi2 == pytest.approx(float(np.nansum(found.standardised**2)))
    assert found.species[int(found.parts.sum(axis=1).argmax())] == "methane"


def test_a_depth_outside_the_stream_is_refused(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    cube = make_cube(library, np.ones((6, len(library.names))))
    with pytest.raises(InputError, match="1000 to 1002"):
        fit_at(cube, make_deconvolver(cube, instrument, library), 3300.0)


def air_and(library: SpeciesLibrary, others: dict[str, float], depths: int = 50) -> NDArray[np.float64]:
    ppm = np.zeros((depths, len(library.names)))
    base = {"nitrogen": 780_000.0, "oxygen": 209_000.0, "argon": 9_300.0, "methane": 10_000.0, "ethane": 1_000.0}
    for name, value in (base | others).items():
        ppm[:, library.index(name)] = value
    return ppm


@pytest.mark.parametrize("pattern_error", [0.0, 0.02])
def test_a_whole_library_fits_and_misses_nothing(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube, pattern_error: float
) -> None:
    """Patterns that are wrong as much as is stated are no missing species, however many depths agree on them."""
    cube = make_cube(library, air_and(library, {"benzene": 20.0}), pattern_error=pattern_error, seed=3)
    stated = Deconvolution(pattern_error=max(pattern_error, 0.002))
    found = lack_of_fit(
        cube, make_deconvolver(cube, instrument, library, stated), load_library(core=False), window_depths=25
    )
    assert found.fits
    assert found.missing == ()
    assert str(found) == "the library explains the spectra"


@pytest.mark.parametrize("lacking", ["carbon_disulfide", "acetic_acid", "thiophene"])
def test_a_missing_species_is_named_where_it_is(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube, lacking: str
) -> None:
    ppm = air_and(library, {})
    ppm[25:, library.index(lacking)] = 20.0
    cube = make_cube(library, ppm)
    short = library.without([lacking])
    found = lack_of_fit(cube, make_deconvolver(cube, instrument, short), load_library(core=False), window_depths=25)
    assert not found.fits
    assert found.probability[0] > 1e-4  # the upper window has none of it
    assert found.missing[0].name == lacking
    assert found.missing[0].top_m == 1012.5
    assert found.missing[0].amount == pytest.approx(20.0, rel=0.2)
    assert found.missing[0].share > 0.8
    assert lacking in str(found)
    assert {peak.mz for peak in found.peaks} & {mz for mz, _ in library.species[library.index(lacking)].peaks}


def test_a_peak_that_no_candidate_explains_is_named_by_its_mz(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    cube = make_cube(library, air_and(library, {}))
    cube["intensity"][:, 112] += 5e-11  # m/z 113
    found = lack_of_fit(cube, make_deconvolver(cube, instrument, library), library)
    assert [peak.mz for peak in found.peaks] == [113]
    assert found.missing == ()
    assert "m/z 113" in str(found)
    assert "2 of 2 averaged spectra" in str(found)


def test_windows_without_depths_are_refused(
    library: SpeciesLibrary, instrument: Instrument, make_cube: MakeCube
) -> None:
    cube = make_cube(library, air_and(library, {}, 3))
    with pytest.raises(InputError, match="at least one depth"):
        lack_of_fit(cube, make_deconvolver(cube, instrument, library), library, window_depths=0)


def test_an_analysis_tests_its_library_and_finds_it_whole(result: xr.DataTree) -> None:
    """Thirty-two depths share the noise of their blank: it does not average out, and is no missing species."""
    for stream in Stream:
        group = result[stream]["lack_of_fit"].to_dataset()
        assert group.attrs["fits"]
        assert (group["probability"] > 1e-4).all()
        assert result[stream]["species"].sizes["depth"] > 0
    assert "lack" not in " ".join(one.statement for one in findings_of(result["findings"].to_dataset()))
    assert "the library explains the spectra (condition number 85)" in summary_text(result)


def test_an_analysis_names_the_species_that_its_library_lacks_and_where(
    scans: xr.DataTree, library: SpeciesLibrary
) -> None:
    short = library.without(["benzene", "hydrogen_sulfide"])
    found = analyse_well(scans, method=Method.default(short, [], []))
    said = [one for one in findings_of(found["findings"].to_dataset()) if "may lack" in one.statement]
    assert all(one.kind is FindingKind.QUALITY for one in said)
    assert {one.stream for one in said if one.evidence[0].curve == "benzene"} == {str(stream) for stream in Stream}
    (sour,) = [one for one in said if one.stream == "trap_gas" and one.evidence[0].curve == "hydrogen_sulfide"]
    assert 1800.0 < sour.top_m < 1820.0  # the zone is sour, the rest of the well is not
    assert sour.bottom_m < 1855.0
    assert "hydrogen sulfide" in report_text(found)
    assert "the library lacks benzene" in summary_text(found)
