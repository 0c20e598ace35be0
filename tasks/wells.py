"""One Prefect task for each step of a well's re-analysis. Their results stay in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import xarray as xr
from prefect import task
from prefect.cache_policies import NO_CACHE

from nightwell.report.depth_log import write_depth_log
from nightwell.report.las import write_las
from nightwell.report.page.document import write_page
from nightwell.report.pixler import write_pixler
from nightwell.wells.analysis import Method, analyse_well
from nightwell.wells.archive import Analysis, Place, ResultsArchive
from nightwell.wells.container import open_cube, write_cube
from nightwell.wells.cube import build_cube


@dataclass(frozen=True, slots=True)
class Analysed:
    """A result on its way from task to task; Prefect's types take a bare tree for something to await."""

    tree: xr.DataTree


@task(name="build cubes", cache_policy=NO_CACHE, persist_result=False)
def build_cubes(scans: xr.DataTree, target: Path) -> Path:
    """Turn raw scans into one cube per stream, and write them."""
    write_cube(build_cube(scans), target, overwrite=True)
    return target


@task(name="deconvolve and compute indicators", cache_policy=NO_CACHE, persist_result=False)
def analyse(scans: xr.DataTree, inputs: Mapping[str, str], method: Method) -> Analysed:
    """Turn raw scans into species and indicators."""
    return Analysed(analyse_well(scans, inputs=inputs, method=method))


@task(name="commit the analysis", cache_policy=NO_CACHE, persist_result=False)
def commit_analysis(result: Analysed, place: Place) -> tuple[Analysis, bool]:
    """Keep the result as a version of its own, unless the same inputs gave it before."""
    return ResultsArchive(place, str(result.tree.attrs["well"])).commit(result.tree)


@task(name="draw the depth log", cache_policy=NO_CACHE, persist_result=False)
def draw_depth_log(result: Analysed, target: Path) -> Path:
    """Write the depth log as a picture."""
    return write_depth_log(result.tree, target)


@task(name="draw the Pixler plot", cache_policy=NO_CACHE, persist_result=False)
def draw_pixler(result: Analysed, target: Path) -> Path:
    """Write the Pixler plot as a picture."""
    return write_pixler(result.tree, target)


@task(name="write the page", cache_policy=NO_CACHE, persist_result=False)
def make_page(result: Analysed, cube: Path, target: Path) -> Path:
    """Write the interactive page, with the cubes' errors."""
    return write_page(result.tree, target, cube=open_cube(cube))


@task(name="write LAS", cache_policy=NO_CACHE, persist_result=False)
def export_las(result: Analysed, target: Path) -> Path:
    """Write the curves as LAS 2.0."""
    return write_las(result.tree, target)
