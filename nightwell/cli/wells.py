"""``nightwell well``: import raw scans, analyse a well from a file or from a backup, plot it, export it.

The scientific stack is imported inside the commands: a backup must not wait two seconds for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nightwell.cli.common import AsJson, command, console, print_json

well = typer.Typer(no_args_is_help=True, help="Wells: import raw scans, analyse, plot, export.")


@well.command("import")
@command
def import_well(
    target: Annotated[Path, typer.Argument(help="Folder for the raw scans (Zarr); it must not exist.")],
    *,
    spectra: Annotated[Path | None, typer.Option(help="Measured spectra, CSV of quadrupole software.")] = None,
    gas_log: Annotated[Path | None, typer.Option(help="Gas log (CSV or LAS); spectra are simulated from it.")] = None,
    drilling: Annotated[Path | None, typer.Option(help="Drilling parameters, by depth or in time.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the well.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make raw scans from files; without spectra or a gas log the well is simulated from published gases."""
    from nightwell.wells.container import write_scans
    from nightwell.wells.import_well import build_scans

    found = build_scans(gas_log=gas_log, drilling=drilling, spectra=spectra, well=name)
    write_scans(found.scans, target)
    if as_json:
        print_json({"scans": target, "well": found.scans.attrs, "reports": found.reports})
        return
    for report in found.reports:
        console().print(f"{report.source}: {report.rows} rows")
        lines = [column.line() for column in report.columns] + [column.line() for column in report.unknown]
        for line in lines:
            console().print(f"  {line}")
    console().print(f"{found.scans['scans'].sizes['scan']} scans written to {target}")
    console().print(f"provenance: {found.scans.attrs.get('provenance', '')}")
