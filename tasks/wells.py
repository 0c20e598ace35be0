"""One Prefect task for each step of a well's re-analysis, and one for a night. Their results stay in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import xarray as xr
from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from nightwell.reanalysis import candidates_of, method_of, place_of
from nightwell.report.depth_log import DepthLogOptions, write_depth_log
from nightwell.report.las import write_las
from nightwell.report.page.document import write_page
from nightwell.report.pixler import write_pixler
from nightwell.report.style import PlotOptions
from nightwell.settings import MethodSettings, Settings
from nightwell.wells.analysis import analyse_well, with_learned_calibration
from nightwell.wells.archive import Analysis, Place, ResultsArchive
from nightwell.wells.container import open_cube, write_cube
from nightwell.wells.cube import build_cube
from nightwell.wells.fleet.night import Night, run_night
from nightwell.wells.fleet.well_task import Ending
from nightwell.wells.method import Method
from nightwell.wells.streams import Stream
from tasks.artifacts import Progress
from tasks.dask_runner import client_of_runner


@dataclass(frozen=True, slots=True)
class Analysed:
    """A result on its way from task to task; Prefect's types take a bare tree for something to await."""

    tree: xr.DataTree


@task(name="build cubes", cache_policy=NO_CACHE, persist_result=False)
def build_cubes(scans: xr.DataTree, target: Path, method: Method) -> Path:
    """Turn raw scans into one cube per stream, as the analysis sees them, and write them."""
    write_cube(build_cube(scans, with_learned_calibration(scans, method).cube), target, overwrite=True)
    return target


@task(name="deconvolve and compute indicators", cache_policy=NO_CACHE, persist_result=False)
def analyse(scans: xr.DataTree, inputs: Mapping[str, str], method: Method) -> Analysed:
    """Turn raw scans into species and indicators."""
    return Analysed(analyse_well(scans, inputs=inputs, method=method))


@task(name="commit the analysis", cache_policy=NO_CACHE, persist_result=False)
def commit_analysis(result: Analysed, place: Place) -> tuple[Analysis, bool]:
    """Keep the result as a version of its own, unless the same inputs gave it before."""
    return ResultsArchive(place, str(result.tree.attrs["well"])).commit(result.tree)


@task(
    name="draw the depth log",
    task_run_name="draw the depth log of {stream}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def draw_depth_log(result: Analysed, stream: Stream, target: Path) -> Path:
    """Write the depth log of a stream as a picture."""
    return write_depth_log(result.tree, target, DepthLogOptions(stream))


@task(
    name="draw the Pixler plot",
    task_run_name="draw the Pixler plot of {stream}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def draw_pixler(result: Analysed, stream: Stream, target: Path) -> Path:
    """Write the Pixler plot of a stream as a picture."""
    return write_pixler(result.tree, target, PlotOptions(stream))


@task(name="write the page", cache_policy=NO_CACHE, persist_result=False)
def make_page(result: Analysed, cube: Path, target: Path) -> Path:
    """Write the interactive page, with the cubes' errors."""
    return write_page(result.tree, target, cube=open_cube(cube))


@task(name="write LAS", task_run_name="write LAS of {stream}", cache_policy=NO_CACHE, persist_result=False)
def export_las(result: Analysed, stream: Stream, target: Path) -> Path:
    """Write the curves of a stream as LAS 2.0."""
    return write_las(result.tree, target, stream)


@dataclass(frozen=True, slots=True)
class NightRequest:
    """What a night is to look at, and on which workers."""

    scans: str
    volumes: tuple[str, ...]
    path: str
    cluster: str
    workers: int
    memory_bytes: int
    library: Path | None = None
    method: MethodSettings | None = None


@task(name="analyse wells on Dask", cache_policy=NO_CACHE, persist_result=False)
def analyse_wells(settings: Settings, request: NightRequest) -> Night:
    """Analyse every well that needs it.

    One task for all wells: the well's archive says what is done, so nothing would be gained by a task run for each, and
    a thousand of them would wait longer for Prefect's server than for Dask.
    """
    logger = get_run_logger()
    progress = Progress("Analysing wells")
    found = candidates_of(settings, request.scans, request.volumes, path=request.path)
    night = run_night(
        found.candidates,
        method_of(settings, library=request.library, asked=request.method),
        place_of(settings, settings.results_location()),
        lambda: client_of_runner(request.cluster, workers=request.workers, memory_bytes=request.memory_bytes),
        memory_bytes=request.memory_bytes,
        passed_over=found.passed_over,
        on_outcome=lambda _, ended, total: progress(ended, total),
    )
    for one in night.that_ended(Ending.FAILED):
        logger.error("well '%s' failed: %s", one.well or one.scans, "; ".join(one.error.values()))
    logger.info("night %s: %s", night.night_id, night.summary)
    return night


def publish_night(night: Night) -> None:
    """Publish a night: one row for each well, those that failed first."""
    rows = [
        {
            "well": one.well or one.scans,
            "ended": one.ending.value,
            "why": ", ".join(one.reasons),
            "newest analysis": one.analysis_id,
            "seconds": f"{one.seconds:.2f}",
            "simulated": "SIMULATED" if one.simulated else "",
            "error": f"{one.error['found']}. Next step: {one.error['next_step']}" if one.error else "",
        }
        for one in sorted(night.outcomes, key=lambda one: one.ending is not Ending.FAILED)
    ]
    create_table_artifact(rows, key="wells-night", description=f"Night {night.night_id}: {night.summary}")
