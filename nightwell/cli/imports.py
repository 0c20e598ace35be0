"""``nightwell well import``, ``import-patterns`` and ``normalise``: what people have, made ready for analysis."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from nightwell.cli.common import AsJson, command, print_json, say
from nightwell.errors import InputError

if TYPE_CHECKING:
    import numpy as np

Choice = TypeVar("Choice", bound=StrEnum)


@command
def import_well(
    target: Annotated[Path, typer.Argument(help="Folder for the raw scans (Zarr); it must not exist.")],
    *,
    spectra: Annotated[Path | None, typer.Option(help="Measured spectra: CSV of quadrupole software, or .sac.")] = None,
    gas_log: Annotated[Path | None, typer.Option(help="Gas log (CSV, LAS, WITS0); spectra are simulated.")] = None,
    drilling: Annotated[Path | None, typer.Option(help="Drilling parameters (CSV, LAS, WITS0).")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the well.")] = None,
    stream: Annotated[str, typer.Option(help="Stream of measured spectra.")] = "trap_gas",
    start: Annotated[datetime | None, typer.Option(help="Start (UTC) of spectra with relative times.")] = None,
    sections: Annotated[Path | None, typer.Option(help="Sections of the hole, CSV.")] = None,
    carbide: Annotated[Path | None, typer.Option(help="Carbide checks, CSV: dropped, seen.")] = None,
    transport_ratio: Annotated[float | None, typer.Option(help="Velocity of the cuttings over the mud's.")] = None,
    line_delay: Annotated[float, typer.Option(help="Seconds from the trap to the instrument.")] = 45.0,
    pump_output: Annotated[float | None, typer.Option(help="m3 per stroke, when no flow was recorded.")] = None,
    wits_units: Annotated[str | None, typer.Option(help="Units of a WITS0 stream: metric or fps.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make raw scans from files; without spectra or a gas log the well is simulated from published gases."""
    from nightwell.wells.container import write_scans
    from nightwell.wells.hole_files import HoleFiles
    from nightwell.wells.import_well import build_scans
    from nightwell.wells.rig import Rig
    from nightwell.wells.simulate import Simulation
    from nightwell.wells.spectra_import import ScanLabels
    from nightwell.wells.streams import Stream
    from nightwell.wells.wits0 import WitsUnits

    found = build_scans(
        gas_log=gas_log,
        drilling=drilling,
        spectra=spectra,
        well=name,
        labels=ScanLabels(one_of(Stream, stream, "--stream"), start=_utc(start)),
        settings=Simulation(rig=Rig(gas_line_delay_s=line_delay, pump_output_m3=pump_output)),
        hole=HoleFiles(sections, carbide, transport_ratio),
        wits_units=None if wits_units is None else one_of(WitsUnits, wits_units, "--wits-units"),
    )
    write_scans(found.scans, target)
    if as_json:
        print_json({"scans": target, "well": found.scans.attrs, "reports": found.reports})
        return
    for report in found.reports:
        head, *lines = report.lines()
        say(head)
        for line in lines:
            say(f"  {line}")
    say(f"{found.scans['scans'].sizes['scan']} scans written to {target}")
    say(f"provenance: {found.scans.attrs.get('provenance', '')}")


@command
def import_patterns(
    files: Annotated[list[Path], typer.Argument(help="Patterns: .msp or JCAMP-DX.")],
    *,
    target: Annotated[Path, typer.Option("--to", help="Folder for the species library; it must not exist.")],
    base: Annotated[Path | None, typer.Option(help="Library to begin from; the one that ships.")] = None,
    new: Annotated[
        list[str] | None, typer.Option(help="A species the library lacks: name=group:sensitivity:error in percent.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put your own fragment patterns into a species library, for ``well analyse --library``."""
    from nightwell.wells.pattern_file import read_patterns
    from nightwell.wells.pattern_import import import_patterns as put
    from nightwell.wells.pattern_import import new_species

    patterns = [pattern for file in files for pattern in read_patterns(file)]
    names = put(patterns, target, base=base, new=dict(new_species(text) for text in new or []))
    if as_json:
        print_json({"library": target, "species": names})
        return
    say(f"{', '.join(names)} written to the species library {target}")


@command
def normalise(
    gas_log: Annotated[Path, typer.Argument(help="Gas log (CSV, LAS, WITS0).")],
    target: Annotated[Path, typer.Argument(help="CSV file to write.")],
    *,
    drilling: Annotated[Path, typer.Option(help="Drilling parameters by depth.")],
    hole_diameter: Annotated[float | None, typer.Option(help="Metres, when the drilling parameters lack it.")] = None,
    trap_efficiency: Annotated[float, typer.Option(help="Share of its gas that the trap frees.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Normalise a measured gas log for rate of penetration, flow, hole size and trap efficiency."""
    from nightwell.wells.drilling import import_drilling
    from nightwell.wells.gas_log import import_gas_log
    from nightwell.wells.normalise import Normalisation
    from nightwell.wells.normalise_log import normalise_log, write_normalised

    settings_of = Normalisation(trap_efficiency=trap_efficiency)
    found = normalise_log(
        import_gas_log(gas_log), import_drilling(drilling), settings_of, hole_diameter_m=hole_diameter
    )
    write_normalised(found, target)
    if as_json:
        print_json({"written": target, "rows": len(found.table), "notes": found.notes})
        return
    for note in found.notes:
        say(note)
    say(f"{len(found.table)} rows written to {target}")


def _utc(start: datetime | None) -> np.datetime64 | None:
    import numpy as np

    return None if start is None else np.datetime64(start, "ns")


def one_of(kind: type[Choice], text: str, option: str) -> Choice:
    """Return the member of an enumeration that an option names."""
    try:
        return kind(text)
    except ValueError as error:
        raise InputError(
            f"option {option}",
            expected=f"one of {', '.join(kind)}",
            found=text,
            cause="a word is misspelt",
            next_step="give one of these",
        ) from error
