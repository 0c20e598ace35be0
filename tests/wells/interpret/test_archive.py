"""Results, versioned: idempotent, each one open for ever, readable without nightwell, on a directory and on S3."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from nightwell.errors import NotFoundError, UnreachableError
from nightwell.store import StoreLocation
from nightwell.wells.analysis import analyse_well
from nightwell.wells.archive import ObjectStoreLocation, ResultsArchive
from nightwell.wells.deconvolve import Deconvolution
from nightwell.wells.method import Method

STOCK = """
import sys
sys.modules["nightwell"] = None
import icechunk, xarray
repository = icechunk.Repository.open(icechunk.local_filesystem_storage(sys.argv[1]))
session = repository.readonly_session("main")
tree = xarray.open_datatree(session.store, engine="zarr", consolidated=False, chunks=None)
print(tree["trap_gas/species"]["value"].sel(species="methane").mean().item())
"""


def test_an_analysis_is_committed_once_and_found_again(result: xr.DataTree, tmp_path: Path) -> None:
    archive = ResultsArchive(tmp_path, "well 7/a")
    assert archive.analyses() == ()
    first, new = archive.commit(result)
    assert new
    again, new = archive.commit(result)
    assert not new
    assert again == first
    assert archive.analyses() == (first,)
    assert first.inputs == result.attrs["inputs"]
    assert first.simulated
    found = archive.open().load()
    for path in ("trap_gas/species", "cuttings_crush/indicators", "mud_fluid/interpretation"):
        kept, expected = found[path].to_dataset(), result[path].to_dataset()
        assert set(kept.variables) == set(expected.variables)
        for name in expected.data_vars:
            assert kept[name].dtype == expected[name].dtype
            np.testing.assert_array_equal(kept[name].to_numpy(), expected[name].to_numpy())
        for name in expected.coords:
            assert kept[name].to_numpy().tolist() == expected[name].to_numpy().tolist()


def test_another_method_is_another_analysis_and_both_stay(
    scans: xr.DataTree, result: xr.DataTree, tmp_path: Path
) -> None:
    archive = ResultsArchive(tmp_path, "w")
    first, _ = archive.commit(result)
    other = analyse_well(scans, method=Method.default(deconvolution=Deconvolution(pattern_error=0.05)))
    second, new = archive.commit(other)
    assert new
    assert [one.analysis_id for one in archive.analyses()] == [first.analysis_id, second.analysis_id]
    past = archive.open(first.analysis_id)["trap_gas/species"]["sigma"]
    assert float(past.sum()) == pytest.approx(float(result["trap_gas/species"]["sigma"].sum()))
    assert float(archive.open()["trap_gas/species"]["sigma"].sum()) > float(past.sum())
    _, new = archive.commit(result)  # an older analysis is found too
    assert not new


def test_stock_icechunk_and_xarray_open_it(result: xr.DataTree, tmp_path: Path) -> None:
    ResultsArchive(tmp_path, "w").commit(result)
    command = [sys.executable, "-c", STOCK, str(tmp_path / "analyses" / "w")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    expected = float(result["trap_gas/species"]["value"].sel(species="methane").mean())
    assert float(done.stdout.split()[-1]) == pytest.approx(expected, rel=1e-6)


def test_a_misspelt_analysis_is_not_found(result: xr.DataTree, tmp_path: Path) -> None:
    archive = ResultsArchive(tmp_path, "w")
    with pytest.raises(NotFoundError, match="not analysed yet"):
        archive.open()
    archive.commit(result)
    with pytest.raises(NotFoundError, match="list the analyses"):
        archive.open("NOPE")


def test_on_an_object_store(result: xr.DataTree, moto_server: StoreLocation) -> None:
    place: ObjectStoreLocation = replace(moto_server, prefix="results-archive")
    archive = ResultsArchive(place, "w")
    first, new = archive.commit(result)
    assert new
    assert ResultsArchive(place, "w").commit(result) == (first, False)
    assert ResultsArchive(place, "other").analyses() == ()


def test_an_object_store_that_is_away_is_unreachable(result: xr.DataTree, moto_server: StoreLocation) -> None:
    away = replace(moto_server, bucket="no-such-bucket")
    with pytest.raises(UnreachableError, match="results of well"):
        ResultsArchive(away, "w").commit(result)
