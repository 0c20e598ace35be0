"""CSV, Zarr and WITS exports, read back with stock readers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import lasio
import numpy as np
import pytest
import xarray as xr
import zarr

from nightwell.errors import ConflictError, InputError
from nightwell.report.curves import UNSEEN_SPECIES
from nightwell.report.exported import ACROSS
from nightwell.report.exports import write_csv, write_zarr
from nightwell.report.las import write_las
from nightwell.report.wits import CUTTINGS_RECORD, GAS_RECORD, MUD_RECORD, SHOW_RECORD, write_wits
from nightwell.wells.findings import Evidence, Finding, FindingKind, findings_dataset
from nightwell.wells.gas_log import import_gas_log
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


def test_indicators_across_streams_are_written_too(result: xr.DataTree, tmp_path: Path) -> None:
    across = result["across/indicators"].to_dataset()
    las = lasio.read(str(write_las(result, tmp_path / "across.las", ACROSS)))  # type: ignore[no-untyped-call]  # lasio has no types
    text = write_csv(result, tmp_path / "across.csv", ACROSS).read_text()
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    assert np.array_equal(las.index, np.round(across["depth"].to_numpy(), 4))
    assert len(rows) == across.sizes["depth"]
    assert "methane" not in rows[0]
    written = 0
    for at, name in enumerate(across["indicator"].to_numpy().tolist()):
        for suffix, variable in (("", "value"), ("_UNC", "sigma"), ("_FLAG", "flag")):
            expected = across[variable].to_numpy()[:, at].astype(float)
            curve = f"{across['curve'].to_numpy()[at]}{suffix}"
            assert np.allclose(las[curve], expected, rtol=1e-5, equal_nan=True), curve
            found = [float(row[f"{name}{suffix}"] or "nan") for row in rows]
            assert np.allclose(found, expected, rtol=1e-5, equal_nan=True), name
        written += int(np.isfinite(across["value"].to_numpy()[:, at]).sum())
    assert written > 0
    alone = xr.DataTree.from_dict({"/trap_gas": None, "/trap_gas/species": result["trap_gas/species"].to_dataset()})
    alone.attrs = dict(result.attrs)
    with pytest.raises(InputError, match="indicators across streams"):
        write_las(alone, tmp_path / "none.las", ACROSS)
    assert not (tmp_path / "none.las").exists()


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
    records = stream.of(GAS_RECORD)
    species = result["trap_gas/species"].to_dataset()
    assert not stream.problems
    assert len(records) == species.sizes["depth"]
    assert str(records[0].values[item_number(GAS_RECORD, "WID")]).startswith("SIMULATED")
    for mnemonic, name in (("MTHA", "methane"), ("NPNA", "n_pentane")):
        one = species.sel(species=name)
        hidden = (one["flag"].to_numpy() & UNSEEN_SPECIES) != 0
        found = np.array([record.number(item_number(GAS_RECORD, mnemonic)) for record in records])
        assert np.isnan(found[hidden]).all()
        kept = ~hidden & (one["value"].to_numpy() >= 1.0)
        assert np.abs(found[kept] - one["value"].to_numpy()[kept]).max(initial=0.0) <= 0.5
    depth = [record.number(item_number(GAS_RECORD, "DRTM")) for record in records]
    assert np.allclose(depth, species["depth"], atol=0.01)


def test_wits_holds_the_mud_the_cuttings_and_the_shows(result: xr.DataTree, tmp_path: Path) -> None:
    evidence = Evidence("total_gas", "Total gas", "ppm", 20_000.0, 100.0, ">=", 50.0, "median", 60, 60)
    show = Finding(FindingKind.SHOW, "trap_gas", 1816.0, 1844.0, "Gas stands out", "zone@1", "planted", (evidence,))
    planted = result.copy()
    planted["findings"] = xr.DataTree(findings_dataset([show]))
    path = write_wits(planted, tmp_path / "well.wits")
    stream = read_wits0(path.read_text())
    gas = result["trap_gas/indicators"].to_dataset().sel(indicator="total_gas")
    mud = stream.of(MUD_RECORD)
    percent = np.array([record.number(item_number(MUD_RECORD, "GASA")) for record in mud])
    assert np.allclose(percent, gas["value"].to_numpy() / 1e4, rtol=1e-5, equal_nan=True)
    (told,) = stream.of(SHOW_RECORD)
    assert [told.number(item_number(SHOW_RECORD, name)) for name in ("DSTM", "DSBM")] == [1816.0, 1844.0]
    assert "Gas stands out" in str(told.values[item_number(SHOW_RECORD, "WCOM")])
    samples = result["mud_fluid/species"].to_dataset().sel(species="methane")
    inside = samples["value"].to_numpy()[(samples.depth.to_numpy() >= 1816) & (samples.depth.to_numpy() <= 1844)]
    assert told.number(item_number(SHOW_RECORD, "MTHM")) == pytest.approx(float(np.median(inside)), abs=0.5)
    again = import_gas_log(path)
    assert again.table.sizes["depth"] == result["trap_gas/species"].sizes["depth"]
    crushed = read_wits0(write_wits(result, tmp_path / "c.wits", Stream.CUTTINGS_CRUSH).read_text())
    found = [record.number(item_number(CUTTINGS_RECORD, "GCUT")) for record in crushed.of(CUTTINGS_RECORD)]
    expected = result["cuttings_crush/indicators"].to_dataset().sel(indicator="total_gas")["value"].to_numpy() / 1e4
    assert np.allclose(found, expected, rtol=1e-5, equal_nan=True)
    assert not crushed.of(MUD_RECORD)
    assert not crushed.of(SHOW_RECORD)


def test_a_stream_that_was_not_measured_is_not_exported(result: xr.DataTree, tmp_path: Path) -> None:
    lone = result.drop_nodes("mud_fluid")
    for write in (write_csv, write_wits):
        with pytest.raises(InputError, match="not measured"):
            write(lone, tmp_path / "well.x", Stream.MUD_FLUID)
    assert not list(tmp_path.iterdir())
