"""``nightwell well``: import raw scans, analyse a well from a file or from a backup, plot it, page it, export it.

The scientific stack is imported inside the commands: a backup must not wait two seconds for it.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from nightwell.cli import fleet
from nightwell.cli.calibrate import calibrate
from nightwell.cli.common import AsJson, asked_method, command, print_json, print_rows, say, settings
from nightwell.cli.imports import import_patterns, import_well, normalise
from nightwell.errors import InputError
from nightwell.whole_file import written_whole

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


Choice = TypeVar("Choice", bound=StrEnum)

well = typer.Typer(no_args_is_help=True, help="Wells: import raw scans, analyse, plot, export, many in a night.")
well.add_typer(fleet.fleet, name="fleet")
well.command("import")(import_well)
well.command("import-patterns")(import_patterns)
well.command("normalise")(normalise)
well.command("calibrate")(calibrate)
well.command("forget")(fleet.forget)


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
    library: Annotated[Path | None, typer.Option(help="Species library of your own.")] = None,
    recycled_share: Annotated[float | None, typer.Option(help="Share of its gas that mud keeps in the pits.")] = None,
    trap_efficiency: Annotated[float | None, typer.Option(help="Share of its gas that the trap frees.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="JSON file that `well calibrate` wrote.")] = None,
    monte_carlo: Annotated[
        int | None,
        typer.Option(help="Draws for uncertainties by repetition, such as 200; else wells.method says.", min=0),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn raw scans into species and indicators, and keep the result as a version of its own."""
    from nightwell.reanalysis import method_of, place_of, scans_of_version
    from nightwell.sites.build import store_location
    from nightwell.wells.analysis import analyse_well
    from nightwell.wells.archive import ResultsArchive
    from nightwell.wells.calibrate.calibration import load_calibration
    from nightwell.wells.container import open_scans

    chosen = settings()
    if (scans is None) == (volume is None):
        raise InputError(
            "well analyse",
            expected="a folder of raw scans, or --volume",
            found="neither" if scans is None else "both",
            cause="one of the two says where the scans are",
            next_step="give the folder, or --volume and --version",
        )
    method = method_of(
        chosen,
        library=library,
        asked=asked_method(recycled_share, trap_efficiency, monte_carlo),
        calibration=None if calibration is None else load_calibration(calibration),
    )
    if volume is not None:
        with scans_of_version(store_location(chosen), volume, version, path=path) as found:
            result = analyse_well(found.scans, inputs=found.inputs, method=method)
    else:
        assert scans is not None, "checked above"
        result = analyse_well(open_scans(scans), method=method)
    name = str(result.attrs["well"])
    kept, is_new = ResultsArchive(place_of(chosen, chosen.results_location()), name).commit(result)
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
    stream: Annotated[
        str, typer.Option("--stream", help="As of well plot; across: indicators across streams (las, csv).")
    ] = "trap_gas",
    as_json: AsJson = False,
) -> None:
    """Write an analysis as LAS 2.0, CSV, Zarr or WITS level 0 records."""
    from nightwell.report.exported import ACROSS
    from nightwell.report.exports import write_csv, write_zarr
    from nightwell.report.las import write_las
    from nightwell.report.wits import write_wits

    result = _archive(name).open(analysis)
    if form is ExportFormat.ZARR:
        write_zarr(result, target)
    elif form is ExportFormat.WITS0:
        write_wits(result, target, _stream(stream))
    else:
        write = write_las if form is ExportFormat.LAS else write_csv
        write(result, target, ACROSS if stream == ACROSS else _stream(stream))
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


class ReportFormat(StrEnum):
    """How a report is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


@well.command("report")
@command
def report(
    name: Annotated[str | None, typer.Argument(help="Name of the well; or give --gas-log.")] = None,
    *,
    gas_log: Annotated[
        Path | None, typer.Option(help="Read this gas log (CSV or LAS) itself; nothing is kept.")
    ] = None,
    analysis: Analysis = "latest",
    top: Annotated[float | None, typer.Option(help="Upper depth, m.")] = None,
    bottom: Annotated[float | None, typer.Option(help="Lower depth, m.")] = None,
    form: Annotated[ReportFormat, typer.Option("--format", help="How to write it.")] = ReportFormat.TEXT,
    target: Annotated[Path | None, typer.Option("--output", help="File to write; by default it is printed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a well shows: every statement with the curves, numbers and thresholds that it rests on."""
    from nightwell.report.findings import report_document, report_markdown, report_text

    result = _read_result(name, gas_log, analysis)
    if as_json or (form is ReportFormat.JSON and target is None):
        print_json(report_document(result, top_m=top, bottom_m=bottom))
        return
    if form is ReportFormat.JSON:
        text = json.dumps(report_document(result, top_m=top, bottom_m=bottom), indent=1) + "\n"
    else:
        write = report_markdown if form is ReportFormat.MARKDOWN else report_text
        text = write(result, top_m=top, bottom_m=bottom)
    if target is None:
        say(text.rstrip("\n"))
        return
    with written_whole(target) as whole:
        whole.write_text(text, encoding="utf-8")
    _wrote(target, as_json=False)


def _read_result(name: str | None, gas_log: Path | None, analysis: str) -> DataTree:
    if (name is None) == (gas_log is None):
        raise InputError(
            "well report",
            expected="the name of a well, or --gas-log",
            found="neither" if name is None else "both",
            cause="one of the two says what to read",
            next_step="give the name of a well that was analysed, or --gas-log and a file",
        )
    if gas_log is not None:
        from nightwell.wells.gas_log import import_gas_log
        from nightwell.wells.method import Method
        from nightwell.wells.read_log import read_gas_log

        method = Method.with_own(settings().wells.profiles)
        return read_gas_log(import_gas_log(gas_log), method.profiles, method.classifications, method.rules)
    assert name is not None, "checked above"
    return _archive(name).open(analysis)


@well.command("diff")
@command
def diff(
    name: Well,
    before: Annotated[str, typer.Argument(help="Beginning of the id of the earlier analysis.")],
    after: Annotated[str, typer.Argument(help="'latest', or the beginning of an analysis id.")] = "latest",
    *,
    as_json: AsJson = False,
) -> None:
    """Say what changed between two analyses of a well: versions, curves beyond their errors, classes."""
    from nightwell.wells.fleet.difference import difference_of_analyses

    found = difference_of_analyses(_archive(name), before, after)
    if as_json:
        print_json(found)
        return
    fleet.say_difference(found)


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
    from nightwell.reanalysis import place_of
    from nightwell.wells.archive import ResultsArchive

    chosen = settings()
    return ResultsArchive(place_of(chosen, chosen.results_location()), name)


def _wrote(target: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"written": target})
        return
    say(f"wrote {target}")


def _print_intervals(result: DataTree) -> None:
    from nightwell.report.summary import summary_text

    say(summary_text(result))
