"""What a calibration is worth: a simulated well with every fault planted, analysed without and with it.

``.venv/bin/python benchmarks/calibration.py`` prints the table of docs/calibration.md. Everything in it is simulated.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from nightwell.wells.analysis import analyse_well
from nightwell.wells.calibrate.learn import CalibrationSettings, calibrate
from nightwell.wells.composition import Zone, published_composition
from nightwell.wells.cube import CubeSettings
from nightwell.wells.method import Method
from nightwell.wells.simulate import Plan, Simulation, simulate_scans
from nightwell.wells.spectra import Imperfections
from nightwell.wells.streams import Stream

DEAD_TIME_S = 2e-10
FAULTS = Imperfections(
    drift=0.05,
    tilt_drift=0.03,
    dead_time_s=DEAD_TIME_S,
    pattern_error=0.1,
    sensitivity_error=0.1,
    memory=(
        ("water", 1.0, 20.0),
        ("methane", 1.0, 8.0),
        ("benzene", 1.0, 20.0),
        ("toluene", 1.0, 20.0),
        ("acetic_acid", 1.0, 30.0),
    ),
)
SPECIES = (
    "methane", "ethane", "propane", "n_butane", "n_pentane", "carbon_dioxide", "benzene", "toluene", "acetic_acid",
)  # fmt: skip
STREAMS = (Stream.TRAP_GAS, Stream.MUD_FLUID, Stream.CUTTINGS_CRUSH)


def main() -> None:
    composition = published_composition(top_m=1800.0, bottom_m=1860.0, zones=(Zone(1815.0, 1845.0, "ekofisk"),))
    plan = Plan(sample_every=8, standard_every_s=3000.0, blank_every_s=1200.0)
    scans = simulate_scans(composition, settings=Simulation(plan=plan, imperfections=FAULTS))
    named = simulate_scans(composition, settings=Simulation(plan=plan, imperfections=FAULTS, names_standards=True))
    found = calibrate(named, settings=CalibrationSettings(dead_time_s=DEAD_TIME_S))
    plain = analyse_well(scans)
    calibrated = analyse_well(scans, method=Method.default(cube=CubeSettings(calibration=found)))
    print(scans.attrs["provenance"])
    print("median error in the zone, percent (in stated sigmas), without -> with calibration")
    print("| species | " + " | ".join(STREAMS) + " |")
    for name in SPECIES:
        cells = [
            f"{error(plain, scans, stream, name)} → {error(calibrated, scans, stream, name)}" for stream in STREAMS
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


def error(result: xr.DataTree, scans: xr.DataTree, stream: Stream, name: str) -> str:
    species, truth = result[stream]["species"].to_dataset(), scans["truth"].to_dataset()
    depth = species.depth.to_numpy()
    column = list(truth.attrs["species"]).index(name)
    true = np.interp(depth, truth.depth, truth.composition[stream.code, :, column])
    value, sigma = (species[what].sel(species=name).to_numpy() for what in ("value", "sigma"))
    inside = (depth > 1818.0) & (depth < 1842.0) & np.isfinite(value)  # clear of the zone's edges
    off = float(np.median(value[inside] / true[inside])) - 1.0
    return f"{100.0 * off:+.0f} % ({float(np.median((value - true)[inside] / sigma[inside])):+.1f})"


if __name__ == "__main__":
    main()
