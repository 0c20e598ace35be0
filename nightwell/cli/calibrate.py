"""``nightwell well calibrate``: learn a calibration from a well's own blanks and standards, and show it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightwell.cli.common import AsJson, command, print_json, print_rows, say

if TYPE_CHECKING:
    from nightwell.wells.calibrate.calibration import Calibration


@command
def calibrate(
    scans: Annotated[Path, typer.Argument(help="Folder of raw scans.")],
    *,
    standards: Annotated[
        Path | None, typer.Option(help="TOML document of the standards; by default what the scans carry.")
    ] = None,
    dead_time_s: Annotated[
        float | None, typer.Option(help="Known dead time; fitted from isotope pairs without.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write, for `well analyse --calibration`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Learn dead time, carry-over, drift, sensitivities and patterns from blanks and standards."""
    from nightwell.wells.calibrate.calibration import save_calibration
    from nightwell.wells.calibrate.learn import CalibrationSettings
    from nightwell.wells.calibrate.learn import calibrate as learn
    from nightwell.wells.calibrate.standards import load_standards
    from nightwell.wells.container import open_scans

    document = None if standards is None else load_standards(standards)
    found = learn(open_scans(scans), standards=document, settings=CalibrationSettings(dead_time_s=dead_time_s))
    if out is not None:
        save_calibration(found, out)
    if as_json:
        print_json({"version": found.version, "written": out, "calibration": found})
        return
    _show(found)
    if out is not None:
        say(f"wrote {out}")


def _show(found: Calibration) -> None:
    simulated = " (its scans are simulated)" if found.simulated else ""
    say(f"calibration {found.version} of well {found.well}{simulated}")
    dead_time = found.dead_time
    say(f"dead time: {dead_time.loss_per_a:.4g} +- {dead_time.sigma_per_a:.2g} per A, {dead_time.source}")
    say(f"m/z scale: {found.mass_scale.source}")
    rows = [
        (name, " + ".join(f"{a:.2g}" for a in amplitude), " + ".join(f"{tau:.3g}" for tau in taus), f"{sigma:.0%}")
        for name, amplitude, taus, sigma in zip(
            found.carry_over.species,
            found.carry_over.amplitude,
            found.carry_over.tau_s,
            found.carry_over.sigma,
            strict=True,
        )
    ]
    print_rows("Carry-over", ("species", "a", "tau s", "one-sigma of the share"), rows, empty="carry-over: none seen")
    drift = found.steadied_drift if found.steadied_drift.time_s else found.raw_drift
    if drift.time_s:
        say(
            f"drift over {len(drift.time_s)} standards: gain {min(drift.gain):+.4f} to {max(drift.gain):+.4f}, "
            f"tilt {min(drift.tilt):+.4f} to {max(drift.tilt):+.4f}"
        )
    responses = [
        (
            one.species,
            str(one.mz),
            f"{one.library_response:.4g}",
            f"{one.response:.4g}",
            f"{one.sigma / one.response:.1%}",
        )
        for one in found.fragments
        if one.learned
    ]
    columns = ("species", "m/z", "library", "learned", "one-sigma")
    print_rows("Responses, nitrogen's sensitivity = 1", columns, responses, empty="no response was learned")
    for note in found.notes:
        say(f"note: {note}")
