"""LAS files as lasio reads them back."""

from __future__ import annotations

from pathlib import Path

import lasio
import numpy as np
import pytest
import xarray as xr
from lasio.las import LASFile

from nightwell.errors import InputError
from nightwell.report.las import NULL, las_text, write_las
from nightwell.wells.indicators import IndicatorFlag
from nightwell.wells.streams import Stream


def read(path: Path) -> LASFile:
    las: LASFile = lasio.read(path)  # type: ignore[no-untyped-call]  # lasio has no types
    return las


def mnemonics(las: LASFile) -> list[str]:
    return [str(curve.mnemonic) for curve in las.curves]


def test_lasio_reads_back_what_was_written(result: xr.DataTree, tmp_path: Path) -> None:
    las = read(write_las(result, tmp_path / "well.las"))
    species, indicators = (result[f"trap_gas/{name}"].to_dataset() for name in ("species", "indicators"))
    assert np.allclose(las["DEPT"], species["depth"])
    for mnemonic, name in {"MTHA": "methane", "ETHA": "ethane", "NPNA": "n_pentane", "CO2A": "carbon_dioxide"}.items():
        for suffix, variable in (("", "value"), ("_UNC", "sigma"), ("_FLAG", "flag")):
            expected = species[variable].sel(species=name).to_numpy()
            assert np.allclose(las[mnemonic + suffix], expected, rtol=1e-5, equal_nan=True), mnemonic + suffix
    for mnemonic, name in {"GWR": "haworth_wetness", "LHR": "haworth_balance", "OCQ": "haworth_character"}.items():
        expected = indicators["value"].sel(indicator=name).to_numpy()
        assert np.allclose(las[mnemonic], expected, rtol=1e-5, equal_nan=True), mnemonic
    assert "ROPA" in mnemonics(las)


def test_missing_values_are_the_null_and_flags_say_why(result: xr.DataTree, tmp_path: Path) -> None:
    las = read(write_las(result, tmp_path / "well.las"))
    undetected = (las["OCQ_FLAG"].astype(int) & IndicatorFlag.NOT_DETECTED) != 0
    assert undetected.any()
    assert np.isnan(las["OCQ"][undetected]).all()
    assert las.well["NULL"].value == NULL
    assert f"{NULL:g}" in las_text(result)


def test_the_header_says_what_it_is(result: xr.DataTree, tmp_path: Path) -> None:
    las = read(write_las(result, tmp_path / "well.las", Stream.CUTTINGS_CRUSH))
    assert las.version["VERS"].value == 2.0
    assert las.well["WELL"].value == result.attrs["well"]
    assert las.well["STRT"].value == pytest.approx(float(las["DEPT"][0]))
    assert las.well["STOP"].value == pytest.approx(float(las["DEPT"][-1]))
    assert las.params["SIMU"].value == "YES"
    assert las.params["STRM"].value == "cuttings_crush"
    assert las.params["LIBV"].value == result.attrs["library_version"]
    assert "scans=" in las.params["INPT"].value
    assert "simulated" in str(las.other)
    assert "2 below_detection" in str(las.other)
    assert len(set(mnemonics(las))) == len(mnemonics(las))


def test_a_stream_that_was_not_measured_is_refused(result: xr.DataTree, tmp_path: Path) -> None:
    lone = xr.DataTree.from_dict({"/": xr.Dataset(attrs=result.attrs)})
    with pytest.raises(InputError, match="not measured"):
        write_las(lone, tmp_path / "well.las")
    assert not list(tmp_path.iterdir())
