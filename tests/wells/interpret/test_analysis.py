"""A whole well: what a result holds, what it names, and what it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from distributed import Client

import nightwell
from nightwell.errors import InputError
from nightwell.wells.analysis import analyse_well
from nightwell.wells.deconvolve import ANALYSIS_MEMORY_BYTES, SpeciesFlag
from nightwell.wells.method import Method
from nightwell.wells.profiles import load_profiles
from nightwell.wells.species_file import load_library
from nightwell.wells.streams import Stream

HUNGRY = """
import sys
import numpy as np
from nightwell.wells.analysis import analyse_cube
from nightwell.wells.container import make_cube, make_dataset, open_cube, write_cube
from nightwell.wells.contract import CUBE, Origin
from nightwell.wells.spectra import simulated_instrument

def cube(depths):
    rng = np.random.default_rng(1)
    shape = (depths, 200)
    values = dict(intensity=rng.exponential(1e-11, shape), variance=np.full(shape, 1e-26), depth=np.arange(depths) / 2,
        mz=np.arange(1.0, 201.0), scan_count=np.full(depths, 4), depth_error=np.zeros(depths), flag=np.zeros(depths))
    return make_cube(Origin("hungry", simulated_instrument(), True, "noise"), {"trap_gas": make_dataset(CUBE, values)})

def memory(name):
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024

write_cube(cube(int(sys.argv[2])), sys.argv[1])
analyse_cube(cube(2), inputs={})
open("/proc/self/clear_refs", "w").write("5")  # forget the peak so far
before = memory("VmRSS")
result = analyse_cube(open_cube(sys.argv[1]), inputs={})
print(memory("VmHWM") - before, sum(node.to_dataset(inherit=False).nbytes for node in result.subtree))
"""


def test_a_result_has_species_indicators_and_readings_of_every_stream(result: xr.DataTree) -> None:
    for stream in Stream:
        group = result[stream]
        depths = group["species"].sizes["depth"]
        assert depths > 0
        assert group["indicators"].sizes["depth"] == group["interpretation"].sizes["depth"] == depths
        assert {"value", "sigma", "detection_limit", "flag", "residual", "chi2"} <= set(group["species"].data_vars)
    assert "inclusion_28_40" in result["cuttings_crush/indicators"]["indicator"].to_numpy()
    assert "inclusion_28_40" not in result["trap_gas/indicators"]["indicator"].to_numpy()
    assert np.isfinite(result["drilling"]["rop"]).mean() > 0.9


def test_a_result_names_everything_it_was_made_from(result: xr.DataTree) -> None:
    attributes = result.attrs
    assert attributes["simulated"] == 1
    assert "simulated" in attributes["provenance"]
    assert attributes["library_version"] == load_library().version
    assert attributes["profiles"] == [profile.identity for profile in load_profiles()]
    assert attributes["software_version"] == nightwell.__version__
    assert len(attributes["inputs"]["scans"]) == 32
    assert result["trap_gas"].attrs["condition_number"] < 200


def test_the_simulated_zone_is_recovered(scans: xr.DataTree, result: xr.DataTree) -> None:
    """Away from the zone's edges, where depth registration smears, C1 to C3 are what the forward model put in."""
    truth = scans["truth"].to_dataset()
    species = result["trap_gas/species"].to_dataset().sel(depth=slice(1820.0, 1840.0))
    for name, percent in (("methane", 6.0), ("ethane", 8.0), ("propane", 10.0)):
        at = truth.attrs["species"].index(name)
        put_in = np.interp(species["depth"], truth["depth"], truth["composition"][0, :, at])
        relative = species["value"].sel(species=name).to_numpy() / put_in - 1.0
        assert 100 * np.abs(np.median(relative)) < percent, name
        flag = species["flag"].sel(species=name).to_numpy()
        assert np.mean((flag & SpeciesFlag.BELOW_DETECTION) == 0) > 0.9, name


def test_a_dask_cluster_gives_the_same_result(scans: xr.DataTree, result: xr.DataTree) -> None:
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as client:  # type: ignore[no-untyped-call]  # distributed has no types
        again = analyse_well(scans, client=client)
    for stream in Stream:
        xr.testing.assert_identical(again[stream]["species"].to_dataset(), result[stream]["species"].to_dataset())


def test_inputs_and_method_can_be_given(scans: xr.DataTree) -> None:
    profiles = [profile for profile in load_profiles() if profile.name == "pixler_c1_c2"]
    library = load_library().select(["methane", "ethane", "carbon_dioxide", "nitrogen", "oxygen", "argon", "water"])
    found = analyse_well(scans, library, profiles, inputs={"backup": "v1", "volume": "well-7"})
    assert found.attrs["inputs"] == {"backup": "v1", "volume": "well-7"}
    assert found["trap_gas/indicators"]["indicator"].to_numpy().tolist() == ["pixler_c1_c2"]
    assert found["trap_gas/species"].sizes["species"] == 7


def test_a_library_the_scans_cannot_show_is_refused(scans: xr.DataTree) -> None:
    short = scans.copy()
    short["scans"] = xr.DataTree(scans["scans"].to_dataset().sel(mz=slice(1, 50)))
    with pytest.raises(InputError, match="needs m/z"):
        analyse_well(short, method=Method.default())


def test_memory_is_what_is_declared(tmp_path: Path) -> None:
    """A deep well with 200 m/z: input on disk, and the peak above the result is below the declared number."""
    command = [sys.executable, "-c", HUNGRY, str(tmp_path / "cube.zarr"), "2560"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    grown, result_bytes = (int(word) for word in done.stdout.split())
    print(f"peak {grown / 2**20:.0f} MiB, result {result_bytes / 2**20:.0f} MiB")  # noqa: T201 - figures for `pytest -s`
    assert result_bytes < grown < ANALYSIS_MEMORY_BYTES + result_bytes
