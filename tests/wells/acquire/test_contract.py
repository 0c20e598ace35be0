"""Raw scans and cubes: what is written comes back, and what breaks the contract is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import fsspec  # type: ignore[import-untyped]  # fsspec ships no types
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from nightwell.errors import ConflictError, FormatError, InputError, NotFoundError
from nightwell.wells.container import (
    make_cube,
    make_dataset,
    make_scans,
    open_cube,
    open_scans,
    write_cube,
    write_scans,
)
from nightwell.wells.contract import CUBE, Origin, validate_cube, validate_scans
from nightwell.wells.instrument import Instrument
from nightwell.wells.streams import Stream


@pytest.fixture
def cube() -> xr.DataTree:
    values = {
        "intensity": np.ones((4, 3)),
        "variance": np.ones((4, 3)),
        "depth": np.arange(4.0),
        "mz": [28, 32, 40],
        "scan_count": np.ones(4),
        "depth_error": np.zeros(4),
        "flag": np.zeros(4),
    }
    origin = Origin("well", Instrument("bench"), simulated=False, provenance="typed in")
    return make_cube(origin, {Stream.MUD_FLUID: make_dataset(CUBE, values)})


def test_scans_come_back_from_a_directory_as_they_were(scans: xr.DataTree, tmp_path: Path) -> None:
    write_scans(scans, tmp_path / "well.zarr")
    back = open_scans(tmp_path / "well.zarr").load()
    assert back.identical(scans)
    assert back["scans"].time.dtype == "datetime64[ns]"
    assert [path.name for path in tmp_path.iterdir()] == ["well.zarr"]


@pytest.mark.parametrize("kind", ["zarr store", "mapping", "fsspec mapping"])
def test_scans_come_back_from_any_store(scans: xr.DataTree, tmp_path: Path, kind: str) -> None:
    local = fsspec.filesystem("file", auto_mkdir=True)
    stores = {"zarr store": MemoryStore(), "mapping": {}, "fsspec mapping": local.get_mapper(str(tmp_path / "w"))}
    write_scans(scans, stores[kind])
    assert open_scans(stores[kind]).load().identical(scans)
    with pytest.raises(ConflictError):
        write_scans(scans, stores[kind])


def test_a_cube_comes_back_and_is_zarr_v3_for_anyone(cube: xr.DataTree, tmp_path: Path) -> None:
    write_cube(cube, tmp_path / "cube.zarr")
    assert open_cube(tmp_path / "cube.zarr").load().identical(cube)
    assert json.loads((tmp_path / "cube.zarr" / "zarr.json").read_text())["zarr_format"] == 3
    array = zarr.open_group(tmp_path / "cube.zarr", mode="r")["mud_fluid/intensity"]
    assert isinstance(array, zarr.Array)
    assert array.shards is not None


def test_dask_reads_the_same(simulated: xr.DataTree, tmp_path: Path) -> None:
    write_scans(simulated, tmp_path / "well.zarr")
    lazy = open_scans(tmp_path / "well.zarr", chunks={})
    assert lazy["scans"].intensity.chunks is not None
    assert len(lazy["scans"].intensity.chunks[0]) > 1
    np.testing.assert_array_equal(lazy["scans"].intensity, simulated["scans"].intensity)


def test_an_existing_directory_is_replaced_only_when_asked(scans: xr.DataTree, tmp_path: Path) -> None:
    write_scans(scans, tmp_path / "well.zarr")
    with pytest.raises(ConflictError, match="found data"):
        write_scans(scans, tmp_path / "well.zarr")
    scans.attrs["well"] = "another"
    write_scans(scans, tmp_path / "well.zarr", overwrite=True)
    assert Origin.of(open_scans(tmp_path / "well.zarr")).well == "another"


def test_what_breaks_the_contract_is_not_written(scans: xr.DataTree, tmp_path: Path) -> None:
    del scans["scans"]
    with pytest.raises(InputError, match="group '/scans'"):
        write_scans(scans, tmp_path / "well.zarr")
    assert list(tmp_path.iterdir()) == []


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no-such"):
        open_scans(tmp_path / "no-such")


def test_origin_survives(scans: xr.DataTree) -> None:
    instrument = Instrument("bench", dwell_s=0.1)
    assert Origin.of(scans) == Origin("by hand", instrument, simulated=False, provenance="typed in")


def _set(name: str, value: object) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda group: group.assign_coords({name: (group[name].dims, value, group[name].attrs)})


SHUFFLED = np.datetime64("2024-01-01", "ns") + np.array([0, 2, 1, 3, 4, 5]) * np.timedelta64(1, "s")

BROKEN_SCANS: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "missing variable": (lambda group: group.drop_vars("pressure"), "'pressure'.*none"),
    "swapped axes": (
        lambda group: group.assign(intensity=group.intensity.T),
        r"'intensity'.*\(scan, mz\).*\(mz, scan\)",
    ),
    "dtype": (lambda group: group.assign(intensity=group.intensity.astype("f8")), "float32; found float64"),
    "units": (
        lambda group: group.assign(intensity=group.intensity.assign_attrs(units="nA")),
        "units = 'A'; found 'nA'",
    ),
    "codes": (lambda g: g.assign_coords(kind=g.kind.assign_attrs(flag_meanings="a b c")), "flag_meanings.*'a b c'"),
    "unknown code": (_set("stream", np.full(6, 7, "i1")), "'stream'.*codes 0 to 3; found 7"),
    "clock jumps back": (_set("time", SHUFFLED), "'time'.*row 2"),
    "half mass": (_set("mz", np.arange(1, 51) + 0.5), "whole, positive numbers; found m/z 1.5"),
    "m/z twice": (_set("mz", np.maximum(np.arange(1.0, 51.0), 2.0)), "increasing values; found 2.0 in row 1"),
}


@pytest.mark.parametrize("name", BROKEN_SCANS)
def test_broken_scans_are_named(scans: xr.DataTree, name: str) -> None:
    change, said = BROKEN_SCANS[name]
    scans["scans"] = xr.DataTree(change(scans["scans"].to_dataset()))
    with pytest.raises(InputError, match=said):
        validate_scans(scans)


def test_other_groups_are_checked_too(scans: xr.DataTree, simulated: xr.DataTree) -> None:
    truth = simulated.copy()
    truth.attrs = {**truth.attrs, "simulated": 0}
    with pytest.raises(InputError, match="simulated"):
        validate_scans(truth)
    scans["drilling"].attrs.clear()
    with pytest.raises(InputError, match="gas_line_delay_s"):
        validate_scans(scans)


def test_a_newer_contract_is_refused(scans: xr.DataTree, cube: xr.DataTree) -> None:
    for tree, validate in ((scans, validate_scans), (cube, validate_cube)):
        tree.attrs["contract_version"] = 2
        with pytest.raises(FormatError, match="up to 1; found 2"):
            validate(tree)


def test_scans_are_not_taken_for_a_cube(scans: xr.DataTree, cube: xr.DataTree) -> None:
    with pytest.raises(InputError, match="nightwell cube"):
        validate_cube(scans)
    with pytest.raises(InputError, match="nightwell scans"):
        validate_scans(cube)


def test_a_broken_cube_is_named(cube: xr.DataTree) -> None:
    group = cube["mud_fluid"].to_dataset()
    cube["mud_fluid"] = xr.DataTree(group.isel(depth=[0, 2, 1, 3]))
    with pytest.raises(InputError, match=r"'depth' of group '/mud_fluid'.*row 2"):
        validate_cube(cube)
    del cube["mud_fluid"]
    with pytest.raises(InputError, match="a group for at least one of trap_gas"):
        validate_cube(cube)


def test_a_name_outside_the_contract_is_a_mistake_in_code() -> None:
    origin = Origin("well", Instrument("bench"), simulated=False, provenance="typed in")
    with pytest.raises(ValueError, match="colour"):
        make_scans(origin, {"colour": np.zeros(3)})
