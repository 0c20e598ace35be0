"""CSV, Zarr and WITS exports, read back with stock readers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from nightwell.errors import ConflictError, InputError
from nightwell.report.curves import UNSEEN_SPECIES
from nightwell.report.exports import WITS_RECORD, write_csv, write_wits, write_zarr
from nightwell.wells.streams import Stream
from nightwell.wells.wits0 import item_number, read_wits0


def test_csv_and_its_sidecar_say_the_same(result: xr.DataTree, tmp_path: Path) -> None:
    path = write_csv(result, tmp_path / "well.csv")
    lines = path.read_text().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert any("SIMULATED" in line for line in comments)
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    species = result["trap_gas/species"].to_dataset()
    for suffix, variable in (("", "value"), ("_UNC", "sigma"), ("_LIM", "detection_limit"), ("_FLAG", "flag")):
        found = [float(row[f"methane{suffix}"] or "nan") for row in rows]
        expected = species[variable].sel(species="methane").to_numpy()
        assert np.allclose(found, expected, rtol=1e-6, equal_nan=True), suffix
    wetness = [float(row["haworth_wetness"] or "nan") for row in rows]
    expected = result["trap_gas/indicators"]["value"].sel(indicator="haworth_wetness").to_numpy()
    assert np.allclose(wetness, expected, rtol=1e-6, equal_nan=True)
    side = json.loads((tmp_path / "well.csv.json").read_text())
    assert [column["name"] for column in side["columns"]] == list(rows[0])
    units = {column["name"]: column["units"] for column in side["columns"]}
    assert (units["depth"], units["methane"], units["methane_FLAG"]) == ("m", "ppm", "")
    assert side["simulated"] is True


def test_zarr_opens_without_nightwell(result: xr.DataTree, tmp_path: Path) -> None:
    path = write_zarr(result, tmp_path / "well.zarr")
    array = zarr.open_group(path, mode="r")["trap_gas/species/value"]
    assert isinstance(array, zarr.Array)
    assert np.array_equal(np.asarray(array[:]), result["trap_gas/species"]["value"].to_numpy(), equal_nan=True)
    opened = xr.open_datatree(path, engine="zarr", consolidated=False)
    assert opened.attrs["library_version"] == result.attrs["library_version"]
    with pytest.raises(ConflictError, match="no file or folder"):
        write_zarr(result, path)
    assert [file.name for file in tmp_path.iterdir()] == ["well.zarr"]


def test_wits_holds_amounts_and_nulls_where_nothing_was_detected(result: xr.DataTree, tmp_path: Path) -> None:
    path = write_wits(result, tmp_path / "well.wits")
    stream = read_wits0(path.read_text())
    records = stream.of(WITS_RECORD)
    species = result["trap_gas/species"].to_dataset()
    assert not stream.problems
    assert len(records) == species.sizes["depth"]
    assert str(records[0].values[item_number(WITS_RECORD, "WID")]).startswith("SIMULATED")
    for mnemonic, name in (("MTHA", "methane"), ("NPNA", "n_pentane")):
        one = species.sel(species=name)
        hidden = (one["flag"].to_numpy() & UNSEEN_SPECIES) != 0
        found = np.array([record.number(item_number(WITS_RECORD, mnemonic)) for record in records])
        assert np.isnan(found[hidden]).all()
        kept = ~hidden & (one["value"].to_numpy() >= 1.0)
        assert np.abs(found[kept] - one["value"].to_numpy()[kept]).max(initial=0.0) <= 0.5
    depth = [record.number(item_number(WITS_RECORD, "DRTM")) for record in records]
    assert np.allclose(depth, species["depth"], atol=0.01)


def test_a_stream_that_was_not_measured_is_not_exported(result: xr.DataTree, tmp_path: Path) -> None:
    lone = result.drop_nodes("mud_fluid")
    for write in (write_csv, write_wits):
        with pytest.raises(InputError, match="not measured"):
            write(lone, tmp_path / "well.x", Stream.MUD_FLUID)
    assert not list(tmp_path.iterdir())
