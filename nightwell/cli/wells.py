"""``nightwell well``: import raw scans, analyse a well from a file or from a backup, plot it, page it, export it.

The scientific stack is imported inside the commands: a backup must not wait two seconds for it.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightwell.cli.common import AsJson, command, print_json, print_rows, say, settings
from nightwell.errors import InputError

if TYPE_CHECKING:
    from xarray import DataTree

    from nightwell.wells.archive import ResultsArchive
    from nightwell.wells.streams import Stream


class PlotKind(StrEnum):
    """Kinds of plot."""

    DEPTH_LOG = "depth-log"
    PIXLER = "pixler"
    TERNARY = "ternary"
    HEAT_MAP = "heat-map"
    SPECTRUM = "spectrum"
    QUALITY = "quality"


class ExportFormat(StrEnum):
    """Formats of export."""

    LAS = "las"
    CSV = "csv"
    ZARR = "zarr"
    WITS0 = "wits0"


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
        say(f"{report.source}: {report.rows} rows")
        lines = [column.line() for column in report.columns] + [column.line() for column in report.unknown]
        for line in lines:
            say(f"  {line}")
    say(f"{found.scans['scans'].sizes['scan']} scans written to {target}")
    say(f"provenance: {found.scans.attrs.get('provenance', '')}")


Well = Annotated[str, typer.Argument(help="Name of the well.")]
StreamName = Annotated[str, typer.Option("--stream", help="trap_gas, mud_fluid, cuttings_background, cuttings_crush.")]
Analysis = Annotated[str, typer.Option("--analysis", help="'latest', or the beginning of an analysis id.")]


@well.command("analyse")
@command
def analyse(
    scans: Annotated[Path | None, typer.Argument(help="Folder of raw scans; or give --volume.")] = None,
    *,
    volume: Annotated[str | None, typer.Option(help="Read the scans from a version of this volume.")] = None,
    version: Annotated[str, typer.Option(help="'latest', an id, or the beginning of one.")] = "latest",
    path: Annotated[str, typer.Option(help="Folder of the scans on the volume.")] = "/scans.zarr",
    as_json: AsJson = False,
) -> None:
    """Turn raw scans into species and indicators, and keep the result as a version of its own."""
    from nightwell.reanalysis import scans_of_version
    from nightwell.sites.build import store_location
    from nightwell.wells.analysis import Method, analyse_well
    from nightwell.wells.archive import ResultsArchive
    from nightwell.wells.container import open_scans
    from nightwell.wells.profiles import load_profiles

    chosen = settings()
    if (scans is None) == (volume is None):
        raise InputError(
            "well analyse",
            expected="a folder of raw scans, or --volume",
            found="neither" if scans is None else "both",
            cause="one of the two says where the scans are",
            next_step="give the folder, or --volume and --version",
        )
    method = Method.default(profiles=load_profiles(chosen.wells.profiles))
    if volume is not None:
        with scans_of_version(store_location(chosen), volume, version, path=path) as found:
            result = analyse_well(found.scans, inputs=found.inputs, method=method)
    else:
        assert scans is not None, "checked above"
        result = analyse_well(open_scans(scans), method=method)
    name = str(result.attrs["well"])
    kept, is_new = ResultsArchive(chosen.results_location(), name).commit(result)
    if as_json:
        print_json({"analysis": kept, "new": is_new})
        return
    say(f"well {name}: analysis {kept.analysis_id}" + ("" if is_new else " (the same inputs gave it before)"))
    _print_intervals(result)


@well.command("list")
@command
def list_analyses(name: Well, *, as_json: AsJson = False) -> None:
    """List the analyses of a well, oldest first."""
    found = _archive(name).analyses()
    if as_json:
        print_json(found)
        return
    rows = [
        (one.analysis_id, f"{one.committed_at:%F %T}", one.library_version, ", ".join(one.inputs.values()))
        for one in found
    ]
    print_rows(f"Analyses of {name}", ("analysis", "made (UTC)", "species library", "inputs"), rows, empty="none")


@well.command("plot")
@command
def plot(
    name: Well,
    target: Annotated[Path, typer.Argument(help="PNG or PDF file to write.")],
    *,
    kind: Annotated[PlotKind, typer.Option(help="Which plot.")] = PlotKind.DEPTH_LOG,
    analysis: Analysis = "latest",
    stream: StreamName = "trap_gas",
    top: Annotated[float | None, typer.Option(help="Upper depth, m.")] = None,
    bottom: Annotated[float | None, typer.Option(help="Lower depth, m.")] = None,
    depth: Annotated[float | None, typer.Option(help="Depth of a spectrum, m; by default that with most gas.")] = None,
    cube: Annotated[Path | None, typer.Option(help="The cubes, for errors in spectrum and heat map.")] = None,
    scans: Annotated[Path | None, typer.Option(help="The raw scans, for blanks and standards in quality.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a plot of an analysis: depth log, Pixler, ternary, heat map, spectrum or quality."""
    from nightwell.report.plots import PlotInputs, write_plot
    from nightwell.report.style import PlotOptions
    from nightwell.wells.container import open_cube, open_scans

    options = PlotOptions(stream=_stream(stream), top_m=top, bottom_m=bottom, depth_m=depth)
    inputs = PlotInputs(
        cube=None if cube is None else open_cube(cube), scans=None if scans is None else open_scans(scans)
    )
    write_plot(kind, _archive(name).open(analysis), target, options, inputs)
    _wrote(target, as_json=as_json)


@well.command("page")
@command
def page(
    name: Well,
    target: Annotated[Path, typer.Argument(help="HTML file to write.")],
    *,
    analysis: Analysis = "latest",
    stream: StreamName = "trap_gas",
    cube: Annotated[Path | None, typer.Option(help="The cubes, for residuals in sigma of the measurement.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write one interactive page that works offline: tracks, Pixler, ternary, heat map and spectra."""
    from nightwell.report.page.document import write_page
    from nightwell.wells.container import open_cube

    cubes = None if cube is None else open_cube(cube)
    write_page(_archive(name).open(analysis), target, _stream(stream), cubes)
    _wrote(target, as_json=as_json)


@well.command("export")
@command
def export(
    name: Well,
    target: Annotated[Path, typer.Argument(help="File to write (a folder for zarr).")],
    *,
    form: Annotated[ExportFormat, typer.Option("--format", help="What to write.")],
    analysis: Analysis = "latest",
    stream: StreamName = "trap_gas",
    as_json: AsJson = False,
) -> None:
    """Write an analysis as LAS 2.0, CSV, Zarr or WITS level 0 records."""
    from nightwell.report.exports import write_csv, write_wits, write_zarr
    from nightwell.report.las import write_las

    result, chosen = _archive(name).open(analysis), _stream(stream)
    if form is ExportFormat.ZARR:
        write_zarr(result, target)
    else:
        writers = {ExportFormat.LAS: write_las, ExportFormat.CSV: write_csv, ExportFormat.WITS0: write_wits}
        writers[form](result, target, chosen)
    _wrote(target, as_json=as_json)


@well.command("export-las")
@command
def export_las(
    name: Well,
    target: Annotated[Path, typer.Argument(help="LAS file to write.")],
    *,
    analysis: Analysis = "latest",
    as_json: AsJson = False,
) -> None:
    """Write the curves of an analysis as LAS 2.0, with one-sigma and flag curves."""
    from nightwell.report.las import write_las

    write_las(_archive(name).open(analysis), target)
    _wrote(target, as_json=as_json)


def _stream(name: str) -> Stream:
    from nightwell.wells.streams import Stream

    if name not in tuple(Stream):
        raise InputError(
            "--stream",
            expected=f"one of {', '.join(Stream)}",
            found=repr(name),
            cause="the name is misspelt",
            next_step="choose one of them",
        )
    return Stream(name)


def _archive(name: str) -> ResultsArchive:
    from nightwell.wells.archive import ResultsArchive

    return ResultsArchive(settings().results_location(), name)


def _wrote(target: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"written": target})
        return
    say(f"wrote {target}")


def _print_intervals(result: DataTree) -> None:
    from nightwell.report.summary import summary_text

    say(summary_text(result))
