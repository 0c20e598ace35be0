"""Analyse the well on a volume again, straight from a version in the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from nightwell.reanalysis import SCANS_PATH, method_of, place_of, scans_of_version
from nightwell.settings import MethodSettings
from nightwell.sites.build import store_location
from nightwell.wells.calibrate.calibration import load_calibration
from tasks.artifacts import publish_picture
from tasks.blocks import load_site_settings
from tasks.wells import analyse, build_cubes, commit_analysis, draw_depth_log, draw_pixler, export_las, make_page


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
    depth_log: Path
    page: Path
    las: Path
    simulated: bool

    def lines(self) -> list[str]:
        """Return one line for each product."""
        new = "new" if self.is_new else "the same inputs gave it before"
        return [
            f"well {self.well} from version {self.version_id} of volume {self.volume}"
            + (", SIMULATED in part" if self.simulated else ""),
            f"cubes (depth x m/z)   {self.cube}",
            f"species, indicators   {self.results}, analysis {self.analysis_id} ({new})",
            f"depth log             {self.depth_log}",
            f"page (in a browser)   {self.page}",
            f"LAS 2.0               {self.las}",
        ]


@flow(name="reanalyse-well", flow_run_name="re-analyse {volume} {version}", persist_result=False)
def reanalyse_well(
    volume: str,
    version: str = "latest",
    path: str = SCANS_PATH,
    out: str | None = None,
    library: str | None = None,
    calibration: str | None = None,
    method: MethodSettings | None = None,
) -> Products:
    """Read a well's raw scans from a backup, and turn them into species, indicators, a depth log, a page and LAS.

    Args:
        volume: The volume that holds the well.
        version: "latest", a version's id, or the beginning of one.
        path: Folder of the raw scans on the volume's file system.
        out: Folder for cubes, depth log and LAS; by default below the place of the results, when that is a folder.
        library: Folder with a species library of your own; by default the setting wells.library.
        calibration: File that `nightwell well calibrate` wrote; by default the well's own standards.
        method: Numbers that stand above the settings wells.method, such as recycled_share; those left out stay.
    """
    settings = load_site_settings()
    results = settings.results_location()
    place = place_of(settings, results)
    used = method_of(
        settings,
        library=None if library is None else Path(library),
        asked=method,
        calibration=None if calibration is None else load_calibration(calibration),
    )
    with scans_of_version(store_location(settings), volume, version, path=path) as found:
        well = str(found.scans.attrs["well"])
        below = Path(results) if isinstance(place, str) else settings.state_directory / "wells"
        folder = Path(out) if out else below / "products" / well / found.version.version_id
        folder.mkdir(parents=True, exist_ok=True)
        cube = build_cubes(found.scans, folder / "cube.zarr", used)
        result = analyse(found.scans, found.inputs, used)
        analysis, is_new = commit_analysis(result, place)
        depth_log = draw_depth_log(result, folder / "depth_log.png")
        pixler = draw_pixler(result, folder / "pixler.png")
        page = make_page(result, cube, folder / f"{well}.html")
        las = export_las(result, folder / f"{well}.las")
        publish_picture(depth_log, "Depth log", well)
        publish_picture(pixler, "Pixler plot", well)
        return Products(
            well=well,
            volume=volume,
            version_id=found.version.version_id,
            analysis_id=analysis.analysis_id,
            is_new=is_new,
            results=results,
            cube=cube,
            depth_log=depth_log,
            page=page,
            las=las,
            simulated=bool(result.tree.attrs.get("simulated")),
        )
