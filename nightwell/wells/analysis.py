"""A whole well: raw scans to cubes, species, indicators and readings of every stream, by blocks over depth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from blake3 import blake3
from dask.base import compute
from numpy.typing import NDArray

from nightwell.wells.across import StreamCurves, across_dataset, carry, names_across, take
from nightwell.wells.calibrate.internal_standard import air_curves, diluted, widened
from nightwell.wells.calibrate.learn import CalibrationSettings, calibrate
from nightwell.wells.calibrate.saturation import fallback_peaks
from nightwell.wells.contract import Origin, validate_cube
from nightwell.wells.cube import build_cube
from nightwell.wells.deconvolve import (
    Deconvolver,
    SpeciesFlag,
    end_to_end,
    make_deconvolver,
    tasks_by_blocks,
)
from nightwell.wells.findings import findings_dataset
from nightwell.wells.indicators import Curve, Curves, indicator_dataset, intensity_names
from nightwell.wells.instrument import Instrument
from nightwell.wells.interpret import interpretation_dataset
from nightwell.wells.lack_of_fit import examine_windows
from nightwell.wells.lack_of_fit_group import LACK_OF_FIT, lack_of_fit_dataset
from nightwell.wells.method import Method
from nightwell.wells.nnls import DETECTION_SIGMAS, Solution
from nightwell.wells.normalise import normalised_dataset
from nightwell.wells.profiles import Inputs, Profile
from nightwell.wells.read_well import read_well
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.species_file import load_library
from nightwell.wells.spectrum_windows import Windows, average_windows, join_windows
from nightwell.wells.streams import Stream

if TYPE_CHECKING:
    from dask.delayed import Delayed
    from distributed import Client

Floats = NDArray[np.float64]
# Species, indicators, and spectra averaged over windows, of one block.
_Analysed = tuple[xr.Dataset, xr.Dataset, Windows]

#: Raised when the groups of a result change: a night then makes the results of older releases anew. 2 keeps responses.
ANALYSIS_VERSION = 2

_DIGEST_ROWS = 4096


def analyse_well(
    scans: xr.DataTree,
    library: SpeciesLibrary | None = None,
    profiles: Iterable[Profile] | None = None,
    *,
    inputs: Mapping[str, str] | None = None,
    method: Method | None = None,
    client: Client | None = None,
    scheduler: str | None = None,
) -> xr.DataTree:
    """Analyse a well from its raw scans.

    Scans that name their standards (group ``/standards``) are calibrated by them, unless the method brings a
    calibration.

    Parameters
    ----------
    scans
        Raw scans as in the contract; arrays may be read when they are used.
    library, profiles
        What to look for; by default what ships.
    inputs
        Version ids of what the scans were read from, by name (a backup's version, a store's snapshot); by default a
        digest of the scans.
    method
        Everything at once, instead of ``library`` and ``profiles``.
    client
        A Dask cluster; by default threads of this process.
    scheduler
        Of Dask, without a client: ``synchronous`` inside a worker, where a whole well is one task.

    Returns
    -------
    xarray.DataTree
        Per stream the groups ``species`` (as :func:`~nightwell.wells.deconvolve.deconvolve`), ``indicators`` (as
        :func:`~nightwell.wells.indicators.indicator_dataset`), ``interpretation`` and ``lack_of_fit`` (as
        :func:`~nightwell.wells.lack_of_fit_group.lack_of_fit_dataset`); ``/across`` with ``indicators``
        and ``interpretation`` across streams (as :func:`~nightwell.wells.across.across_dataset`); ``/findings`` (as
        :func:`~nightwell.wells.findings.findings_dataset`); ``/drilling`` with the rate of penetration against depth
        where it is known. Attributes of the root: well, provenance, whether anything is simulated, and the versions
        of inputs, library, profiles and software.

    Raises
    ------
    InputError
        No scan has a depth; the m/z axis lacks the peaks of a species; the library cannot be solved.
    """
    chosen = method or Method.default(library, profiles)
    asked = chosen
    chosen = with_learned_calibration(scans, chosen)
    named = dict(inputs) if inputs is not None else {"scans": digest_of_scans(scans)}
    cube = build_cube(scans, chosen.cube)
    result = analyse_cube(cube, inputs=named, method=chosen, client=client, scheduler=scheduler)
    if asked.cube.calibration is None and chosen.cube.calibration is not None:
        # What is learned follows from scans and method, so a night foretells the versions without reading the scans.
        result.attrs["calibration_learned"] = result.attrs["calibration_version"]
        result.attrs["library_learned"] = result.attrs["library_version"]
        result.attrs.update(asked.as_attributes())
    if "drilling" in scans.children:
        depth = next(iter(result.children.values()))["species"]["depth"].to_numpy()
        log = _drilling_log(scans["drilling"].to_dataset(), depth)
        result["drilling"] = xr.DataTree(log)
        if Stream.TRAP_GAS in result.children and next(iter(result.children)) == Stream.TRAP_GAS:
            amounts = result[f"{Stream.TRAP_GAS}/species"].to_dataset()
            normalised = normalised_dataset(amounts, log, chosen.cube.normalisation)
            if normalised is not None:
                result[f"{Stream.TRAP_GAS}/normalised"] = xr.DataTree(normalised)
    return result


def with_learned_calibration(scans: xr.DataTree, method: Method) -> Method:
    """Return a method with what a well's own standards teach; as it is without standards, or with a calibration."""
    if method.cube.calibration is not None or "standards" not in scans.children:
        return method
    learned = calibrate(scans, method.library, settings=CalibrationSettings(method.cube))
    return replace(method, cube=replace(method.cube, calibration=learned))


def analyse_cube(
    cube: xr.DataTree,
    *,
    inputs: Mapping[str, str],
    method: Method | None = None,
    client: Client | None = None,
    scheduler: str | None = None,
) -> xr.DataTree:
    """Analyse a well from its cubes; parameters, result and errors as :func:`analyse_well`."""
    method = (method or Method.default()).calibrated()
    validate_cube(cube)
    origin = Origin.of(cube)
    streams = [stream for stream in Stream if stream in cube.children]
    bound = {stream: _bound(cube[stream].to_dataset(), origin.instrument, method) for stream in streams}
    tasks = {
        stream: tasks_by_blocks(
            _StreamAnalysis(stream, bound[stream], method, _in_air(cube[stream].to_dataset(), bound[stream])),
            cube[stream].to_dataset(),
        )
        for stream in streams
    }
    results = _run(tasks, client, scheduler)
    attributes = origin.as_attributes("analysis") | method.as_attributes()
    attributes |= {"contract_version": ANALYSIS_VERSION, "inputs": dict(inputs)}
    groups: dict[str, xr.Dataset] = {"/": xr.Dataset(attrs=attributes)}
    shared: dict[Stream, StreamCurves] = {}
    for stream, blocks in results.items():
        species, shared[stream] = take(end_to_end(block for block, _, _ in blocks))
        indicators = end_to_end(block for _, block, _ in blocks)
        groups |= _groups(stream, species, indicators, cube[stream].to_dataset(), bound[stream], method)
        windows = join_windows([part for _, _, part in blocks])
        groups[f"/{stream}/{LACK_OF_FIT}"] = _tested(windows, bound[stream])
    groups |= _across_groups(shared, method)
    if "qc" in cube.children:
        groups["/qc"] = cube["qc"].to_dataset()
    result = xr.DataTree.from_dict(groups)
    result["findings"] = xr.DataTree(findings_dataset(read_well(result, method.rules)))
    return result


def digest_of_scans(scans: xr.DataTree) -> str:
    """Return a digest of raw scans: of their currents, times, streams and kinds, and of who they are."""
    hasher = blake3(repr(sorted((str(k), str(v)) for k, v in scans.attrs.items())).encode())
    dataset = scans["scans"].to_dataset()
    for name in ("mz", "time", "stream", "kind"):
        hasher.update(np.ascontiguousarray(dataset[name].to_numpy()).tobytes())
    for start in range(0, dataset.sizes["scan"], _DIGEST_ROWS):
        block = dataset["intensity"].isel(scan=slice(start, start + _DIGEST_ROWS)).to_numpy()
        hasher.update(np.ascontiguousarray(block).tobytes())
    for group in ("drilling", "geometry", "carbide"):  # a result depends on where the gas came from
        if group in scans.children:
            for _, variable in sorted(scans[group].to_dataset().variables.items(), key=lambda item: str(item[0])):
                hasher.update(np.ascontiguousarray(variable.to_numpy()).tobytes())
    return hasher.hexdigest(length=16)


@dataclass(frozen=True, slots=True)
class _StreamAnalysis:
    """What is done with one block of one stream; travels to dask's workers."""

    stream: Stream
    deconvolver: Deconvolver
    method: Method
    in_air: bool  # the internal standard put the sample on the argon of the blanks

    def __call__(self, block: xr.Dataset) -> _Analysed:
        found = self.deconvolver.solve(block, with_covariance=True)
        calibration = self.method.cube.calibration
        if calibration is not None:
            found = widened(found, calibration.scale_errors(self.deconvolver.library))
        air = found
        if self.in_air:
            found = diluted(found)
        species = self.deconvolver.dataset(block, found)
        if self.in_air:
            species = species.assign(air_curves(air, self.deconvolver.library.names))
        profiles = [profile for profile in self.method.profiles if self.stream in profile.streams]
        inputs = {
            Inputs.SPECIES: _species_curves(self.deconvolver, species["flag"].to_numpy(), found),
            Inputs.INTENSITY: _intensity_curves(block, self.deconvolver.mz, profiles),
        }
        of_one = [profile for profile in profiles if profile.align is None]
        shared = carry(species, names_across(profiles, self.stream), *inputs.values())
        return shared, indicator_dataset(of_one, inputs, block["depth"].to_numpy()), average_windows(block)


def _tested(windows: Windows, bound: Deconvolver) -> xr.Dataset:
    """Test whether the library explains a stream; every species that ships is a candidate for what it lacks."""
    candidates = load_library(core=False)
    return lack_of_fit_dataset(examine_windows(windows, bound, candidates), bound.units, candidates.version)


def _bound(stream: xr.Dataset, instrument: Instrument, method: Method) -> Deconvolver:
    """Bind the method to a stream, with the errors of the calibration's responses where it has them."""
    calibration = method.cube.calibration
    if calibration is None:
        return make_deconvolver(stream, instrument, method.library, method.deconvolution)
    bound = make_deconvolver(stream, calibration.complete(instrument), method.library, method.deconvolution)
    errors = calibration.pattern_errors(method.library, bound.mz, method.deconvolution.pattern_error)
    return replace(bound, pattern_errors=errors)


def _in_air(stream: xr.Dataset, bound: Deconvolver) -> bool:
    """Tell whether amounts are on the argon of the blanks, blank removed, in ppm: then the share of air follows."""
    attributes = stream.attrs
    steadied = attributes.get("internal_standard", "none") != "none" and attributes.get("blank", "none") != "none"
    return steadied and bound.units == "ppm"


def _species_curves(deconvolver: Deconvolver, flag: NDArray[np.uint8], found: Solution) -> Curves:
    names = deconvolver.library.names
    curves = {
        name: Curve(
            found.value[:, column],
            found.sigma[:, column],
            (flag[:, column] & (SpeciesFlag.BELOW_DETECTION | SpeciesFlag.MISSING_INPUT).value) == 0,
            (flag[:, column] & SpeciesFlag.SATURATED.value) != 0,
        )
        for column, name in enumerate(names)
    }
    return Curves(curves, found.covariance, names)


def _intensity_curves(block: xr.Dataset, mz: Floats, profiles: Iterable[Profile]) -> Curves:
    column_of = {round(value): column for column, value in enumerate(mz.tolist())}
    intensity = block["intensity"].to_numpy().astype(np.float64)
    sigma = np.sqrt(block["variance"].to_numpy().astype(np.float64))
    curves = {}
    for name, wanted in intensity_names(profiles).items():
        if wanted in column_of:
            value, error = intensity[:, column_of[wanted]], sigma[:, column_of[wanted]]
            curves[name] = Curve(value, error, value > DETECTION_SIGMAS * error)
    return Curves(curves)


def _run(
    tasks: Mapping[Stream, list[Delayed]], client: Client | None, scheduler: str | None
) -> dict[Stream, list[_Analysed]]:
    every = [task for stream_tasks in tasks.values() for task in stream_tasks]
    if client is not None:
        done = client.compute(every, sync=True)  # type: ignore[no-untyped-call]  # dask has no types
        return _by_stream(tasks, done)
    return _by_stream(tasks, compute(*every, scheduler=scheduler))  # type: ignore[no-untyped-call]  # dask has no types


def _by_stream(tasks: Mapping[Stream, list[Delayed]], done: Iterable[_Analysed]) -> dict[Stream, list[_Analysed]]:
    results = iter(done)
    return {stream: [next(results) for _ in stream_tasks] for stream, stream_tasks in tasks.items()}


def _groups(
    stream: Stream,
    species: xr.Dataset,
    indicators: xr.Dataset,
    cube: xr.Dataset,
    bound: Deconvolver,
    method: Method,
) -> dict[str, xr.Dataset]:
    for name in ("scan_count", "depth_error", "recycled_share"):
        if name in cube.variables:
            species[name] = ("depth", cube[name].to_numpy(), dict(cube[name].attrs))
    species["cube_flag"] = ("depth", cube["flag"].to_numpy(), dict(cube["flag"].attrs))
    species = species.assign(_responses(bound))
    attributes = {str(name): value for name, value in cube.attrs.items()}
    saturated = np.isnan(cube["intensity"].to_numpy()) & (cube["scan_count"].to_numpy() > 0)[:, None]
    left = fallback_peaks(method.library, bound.mz, saturated.any(axis=0))
    attributes["fallback_peaks"] = [
        f"{name}: m/z {', '.join(str(peak) for peak in peaks) or 'none'}" for name, peaks in left.items()
    ]
    attributes["condition_number"] = method.library.condition_number(bound.mz)
    return {
        f"/{stream}": xr.Dataset(attrs=attributes),
        f"/{stream}/species": species.drop_attrs(deep=False),
        f"/{stream}/indicators": indicators,
        f"/{stream}/interpretation": interpretation_dataset(method.classifications, indicators, stream),
    }


def _responses(bound: Deconvolver) -> dict[str, tuple[tuple[str, str], NDArray[np.float32], dict[str, str]]]:
    """Return what the fit saw: a spectrum can be drawn again when the library and the calibration are long gone."""
    dims = ("mz", "species")
    units = "A/ppm" if bound.units == "ppm" else "1"
    found = {
        "response": (
            dims,
            bound.design.astype(np.float32),
            {"units": units, "long_name": "ion current that one unit of the species brings"},
        )
    }
    if bound.pattern_errors is not None:
        found["response_error"] = (
            dims,
            bound.pattern_errors.astype(np.float32),
            {"units": "1", "long_name": "relative one-sigma of the response"},
        )
    return found


def _across_groups(shared: Mapping[Stream, StreamCurves], method: Method) -> dict[str, xr.Dataset]:
    indicators = across_dataset(method.profiles, shared)
    return {
        "/across": xr.Dataset(attrs={"streams": [str(stream) for stream in shared]}),
        "/across/indicators": indicators,
        "/across/interpretation": interpretation_dataset(method.classifications, indicators, None),
    }


def _drilling_log(drilling: xr.Dataset, depth: Floats) -> xr.Dataset:
    """Rate of penetration, flow and hole on the result's depths: means while the bit was between half-way points."""
    rop, bit = drilling["rop"].to_numpy(), drilling["bit_depth"].to_numpy()
    edges = np.concatenate([[-np.inf], (depth[1:] + depth[:-1]) / 2, [np.inf]])
    making_hole = rop > 0
    near = making_hole & (bit >= depth[0] - 1.0) & (bit <= depth[-1] + 1.0)
    at = np.searchsorted(edges, bit[near], side="right") - 1
    count = np.bincount(at, minlength=depth.size)
    found = {}
    for name, units, meaning in (
        ("rop", "m/h", "rate of penetration"),
        ("flow", "m3/s", "mud flow into the hole"),
        ("hole_diameter", "m", "diameter of the hole at the bit"),
    ):
        total = np.bincount(at, weights=drilling[name].to_numpy()[near], minlength=depth.size)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (total / count).astype(np.float32)
        found[name] = ("depth", mean, {"units": units, "long_name": meaning})
    return xr.Dataset(found, coords={"depth": ("depth", depth, {"units": "m"})})
