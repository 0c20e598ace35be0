"""Analyse the well on a volume again, straight from a version in the store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from nightwell.reanalysis import SCANS_PATH, method_of, place_of, scans_of_version
from nightwell.settings import MethodSettings, Settings
from nightwell.sites.build import store_location
from nightwell.wells.calibrate.calibration import load_calibration
from nightwell.wells.method import Method
from nightwell.wells.streams import Stream
from tasks.artifacts import publish_picture
from tasks.blocks import load_site_settings
from tasks.names import at_its_site
from tasks.wells import (
    Analysed,
    analyse,
    build_cubes,
    commit_analysis,
    draw_depth_log,
    draw_pixler,
    export_las,
    make_page,
)


class KnownLibrary(StrEnum):
    """Species libraries that need no folder to be named."""

    SITE = "site"
    SHIPPED = "shipped"


@dataclass(frozen=True, slots=True)
class Products:
    """What a re-analysis made, and from what."""

    well: str
    volume: str
    version_id: str
    analysis_id: str
    is_new: bool
    results: str
    cube: Path
    depth_logs: tuple[Path, ...]
    page: Path
    las: tuple[Path, ...]
    simulated: bool

    def lines(self) -> list[str]:
        """Return one line for each product."""
        new = "new" if self.is_new else "the same inputs gave it before"
        return [
            f"well {self.well} from version {self.version_id} of volume {self.volume}"
            + (", SIMULATED in part" if self.simulated else ""),
            f"cubes (depth x m/z)   {self.cube}",
            f"species, indicators   {self.results}, analysis {self.analysis_id} ({new})",
            *(f"depth log             {file}" for file in self.depth_logs),
            f"page (in a browser)   {self.page}",
            *(f"LAS 2.0               {file}" for file in self.las),
        ]


@flow(name="reanalyse-well", flow_run_name=at_its_site("re-analyse {volume} {version}"), persist_result=False)
def reanalyse_well(
    volume: str,
    version: str = "latest",
    streams: tuple[Stream, ...] = (Stream.TRAP_GAS,),
    library: KnownLibrary | str = KnownLibrary.SITE,
    path: str = SCANS_PATH,
    out: str | None = None,
    calibration: str | None = None,
    method: MethodSettings | None = None,
) -> State[Products]:
    """Read a well's raw scans from a backup, and turn them into species, indicators, a depth log, a page and LAS.

    Args:
        volume: The volume that holds the well.
        version: "latest", a version's id, or the beginning of one.
        streams: Whose depth log, Pixler plot and LAS file are made. All streams are analysed.
        library: The species library: the site's (setting wells.library), the shipped one, or a folder at the site.
        path: Folder of the raw scans on the volume's file system.
        out: Folder for cubes, depth log and LAS; by default below the place of the results, when that is a folder.
        calibration: File that `nightwell well calibrate` wrote; by default the well's own standards.
        method: Numbers that stand above the settings wells.method, such as recycled_share; those left out stay.
    """
    settings = load_site_settings()
    results = settings.results_location()
    place = place_of(settings, results)
    used = _method(settings, library, calibration, method)
    with scans_of_version(store_location(settings), volume, version, path=path) as found:
        well = str(found.scans.attrs["well"])
        below = Path(results) if isinstance(place, str) else settings.state_directory / "wells"
        folder = Path(out) if out else below / "products" / well / found.version.version_id
        folder.mkdir(parents=True, exist_ok=True)
        cube = build_cubes(found.scans, folder / "cube.zarr", used)
        result = analyse(found.scans, found.inputs, used)
        analysis, is_new = commit_analysis(result, place)
        page = make_page(result, cube, folder / f"{well}.html")
        pictures = [_draw(result, stream, folder, well) for stream in streams]
        products = Products(
            well=well,
            volume=volume,
            version_id=found.version.version_id,
            analysis_id=analysis.analysis_id,
            is_new=is_new,
            results=results,
            cube=cube,
            depth_logs=tuple(depth_log for depth_log, _ in pictures),
            page=page,
            las=tuple(las for _, las in pictures),
            simulated=bool(result.tree.attrs.get("simulated")),
        )
        new = "new" if is_new else "the same inputs gave it before"
        said = f"well {well}: analysis {products.analysis_id} ({new}) from version {products.version_id} of {volume}"
        return Completed(message=said, data=products)


def _draw(result: Analysed, stream: Stream, folder: Path, well: str) -> tuple[Path, Path]:
    """Make and publish the pictures of one stream; return its depth log and its LAS file."""
    words = stream.replace("_", " ")
    depth_log = draw_depth_log(result, stream, folder / f"depth_log_{stream}.png")
    publish_picture(depth_log, f"Depth log ({words})", well)
    publish_picture(draw_pixler(result, stream, folder / f"pixler_{stream}.png"), f"Pixler plot ({words})", well)
    return depth_log, export_las(result, stream, folder / f"{well}_{stream}.las")


def _method(settings: Settings, library: str, calibration: str | None, asked: MethodSettings | None) -> Method:
    if library == KnownLibrary.SHIPPED:
        wells = settings.wells.model_copy(update={"library": None})
        settings = settings.model_copy(update={"wells": wells})
    named = library not in tuple(KnownLibrary)
    return method_of(
        settings,
        library=Path(library) if named else None,
        asked=asked,
        calibration=None if calibration is None else load_calibration(calibration),
    )
