"""The forward model: from amounts against depth to the raw scans of a whole well, all four streams.

The gas stream is measured while drilling, with blanks and standards in between; mud samples and cuttings are measured
in one campaign after it, each bracketed by blanks. Everything made here says that it is simulated, and the amounts it
was made from stand beside the scans in ``/truth``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.wells.annulus import annulus_of_drilling
from nightwell.wells.calibrate.standards import Standard, StandardGas, StandardsDocument, standards_group
from nightwell.wells.composition import Composition
from nightwell.wells.container import make_dataset, make_scans
from nightwell.wells.contract import DRILLING, TRUTH, Origin
from nightwell.wells.drilling import DrillingLog
from nightwell.wells.instrument import Instrument
from nightwell.wells.rig import DrillingSeries, Rig, drill
from nightwell.wells.species import SpeciesLibrary
from nightwell.wells.species_file import load_library
from nightwell.wells.spectra import Imperfections, SpectrumMaker, remember, simulated_instrument, spectrum_maker
from nightwell.wells.stream_model import amounts_of_stream, blank_of_stream
from nightwell.wells.streams import ScanKind, Stream

Floats = NDArray[np.float64]

#: How the gas that crushing frees passes: shares of the run's mean in its scans, one after the other.
BURST = (0.4, 2.2, 1.0, 0.4)

#: What a standard adds to the blank [ppm]: a calibration gas in air.
STANDARD = {
    "methane": 10_000.0,
    "ethane": 1_000.0,
    "propane": 500.0,
    "isobutane": 250.0,
    "n_butane": 250.0,
    "isopentane": 100.0,
    "n_pentane": 100.0,
    "carbon_dioxide": 5_000.0,
    "helium": 100.0,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and when.

    Parameters
    ----------
    scan_interval_s
        From scan to scan.
    blank_every_s, standard_every_s
        In the gas stream: two scans of blank, of standard, this often.
    sample_every
        Mud and cuttings are taken at every so-many-th depth.
    sample_scans
        Scans of one mud sample, and of one uncrushed cuttings sample; crushing takes ``len(BURST)``.
    mz
        m/z axis.
    """

    scan_interval_s: float = 30.0
    blank_every_s: float = 3600.0
    standard_every_s: float = 12 * 3600.0
    sample_every: int = 10
    sample_scans: int = 2
    mz: tuple[int, ...] = tuple(range(1, 121))


@dataclass(frozen=True, slots=True)
class _Run:
    """Scans of one stream before they are spectra."""

    stream: Stream
    time_s: Floats
    kind: NDArray[np.int8]
    depth: Floats  # NaN for blanks, standards and lagged gas
    ppm: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Simulation:
    """Settings of the forward model; the same settings give the same scans."""

    seed: int = 1
    plan: Plan = field(default_factory=Plan)
    rig: Rig = field(default_factory=Rig)
    instrument: Instrument = field(default_factory=simulated_instrument)
    imperfections: Imperfections = field(default_factory=Imperfections)
    library: SpeciesLibrary = field(default_factory=load_library)
    names_standards: bool = False  # whether the scans carry a document of their standards


def simulate_scans(
    composition: Composition, drilling: DrillingLog | None = None, settings: Simulation | None = None
) -> xr.DataTree:
    """Make the raw scans of a well.

    Parameters
    ----------
    composition
        Amounts in the trap gas against depth.
    drilling
        Drilling parameters by depth; ``None`` for the rig's constants.
    settings
        Seed, plan, rig, instrument, imperfections, library.

    Returns
    -------
    xarray.DataTree
        Raw scans as in the contract, with ``/drilling`` and ``/truth``, labelled as simulated.

    Raises
    ------
    InputError
        The m/z axis of the plan lacks peaks of a species of the library.
    """
    settings = settings or Simulation()
    mz = np.array(settings.plan.mz, dtype=np.float64)
    maker = spectrum_maker(settings.library, mz, settings.instrument, settings.imperfections, settings.seed)
    series = drill(composition.depth_m, drilling, settings.rig)
    truth = {stream: amounts_of_stream(composition, stream, settings.library, settings.seed) for stream in Stream}
    gas = _gas_run(composition, series, truth[Stream.TRAP_GAS], settings)
    runs = [gas, *_sample_runs(composition, truth, gas.time_s[-1] + 3600.0, settings)]
    scans = _spectra(runs, maker, series.time[0], settings)
    origin = Origin(
        well=composition.well,
        instrument=settings.instrument,
        simulated=True,
        provenance=f"{composition.provenance} {series.provenance} All spectra, blanks and standards are simulated "
        f"(forward model, seed {settings.seed}, species library {settings.library.version})."
        f"{settings.imperfections.label}",
    )
    tree = make_scans(
        origin,
        scans,
        drilling=series.values(),
        gas_line_delay_s=settings.rig.gas_line_delay_s,
        truth=_truth(composition, truth, settings.library),
    )
    if settings.names_standards:
        tree["standards"] = xr.DataTree(standards_group(simulated_standards(settings.library)))
    return tree


def simulated_standards(library: SpeciesLibrary) -> StandardsDocument:
    """Return the document of the standard that the simulation measures, certified to one percent."""
    gases = tuple(
        StandardGas(species=name, ppm=ppm, sigma_ppm=0.01 * ppm)
        for name, ppm in STANDARD.items()
        if name in library.names
    )
    return StandardsDocument(standard=(Standard(name="simulated calibration gas in air", gas=gases),))


def _gas_run(composition: Composition, series: DrillingSeries, amounts: Floats, settings: Simulation) -> _Run:
    """Make the lagged stream: each parcel of mud is followed from the bit to the instrument."""
    plan = settings.plan
    arrival_s = _arrivals(series, settings.rig)
    first, last = np.nanmin(arrival_s), np.nanmax(arrival_s)
    time_s = np.arange(first, last, plan.scan_interval_s)
    if time_s.size == 0:
        time_s = np.array([first])
    kind = _interleave(time_s, plan)
    known = ~np.isnan(arrival_s)
    # Parcels keep their order: where mud stands still several leave the bit at once, and the last one counts.
    depth = np.interp(time_s, np.maximum.accumulate(arrival_s[known]), series.bit_depth[known])
    ppm = _blended(amounts, composition.depth_m, depth)
    blank = blank_of_stream(Stream.TRAP_GAS, settings.library)
    ppm[kind == ScanKind.BLANK.code] = 0.0
    ppm[kind == ScanKind.STANDARD.code] = [STANDARD.get(name, 0.0) for name in settings.library.names]
    ppm += _diluted(blank, ppm)
    return _Run(Stream.TRAP_GAS, time_s, kind, np.full(time_s.size, np.nan), ppm)


def _arrivals(series: DrillingSeries, rig: Rig) -> Floats:
    """When the mud that leaves the bit in each row is seen by the instrument [s]; NaN when it never arrives."""
    seconds = (series.time - series.time[0]).astype(np.int64) / 1e9
    pumped = np.concatenate(([0.0], np.cumsum(0.5 * (series.flow[1:] + series.flow[:-1]) * np.diff(seconds))))
    annulus = annulus_of_drilling(make_dataset(DRILLING, series.values()))
    moving = np.concatenate(([True], np.diff(pumped) > 0.0))
    due = pumped + annulus.volume_above(series.bit_depth)
    reached: Floats = np.interp(due, pumped[moving], seconds[moving], right=np.nan)
    return reached + rig.gas_line_delay_s


def _interleave(time_s: Floats, plan: Plan) -> NDArray[np.int8]:
    """Put two scans of blank at the start and after each interval, and two of standard after theirs."""
    kind = np.zeros(time_s.size, dtype=np.int8)
    since = time_s - time_s[0]
    for every_s, what in ((plan.blank_every_s, ScanKind.BLANK), (plan.standard_every_s, ScanKind.STANDARD)):
        offset_s = 0.0 if what is ScanKind.BLANK else 2.0 * plan.scan_interval_s
        kind[np.mod(since - offset_s, every_s) < 2.0 * plan.scan_interval_s - 1e-6] = what.code
    kind[-2:] = ScanKind.BLANK.code  # the last gas is bracketed too
    return kind


def _sample_runs(
    composition: Composition, truth: dict[Stream, Floats], start_s: float, settings: Simulation
) -> list[_Run]:
    """Make the campaign: per depth a mud blank and sample, a chamber blank, cuttings, and their crushing."""
    plan, library = settings.plan, settings.library
    rows = np.arange(0, composition.depth_m.size, plan.sample_every)
    depth = composition.depth_m[rows]
    slots = 2 * (1 + plan.sample_scans) + len(BURST)
    begin_s = np.asarray(start_s + np.arange(rows.size) * slots * plan.scan_interval_s, dtype=np.float64)
    runs: list[_Run] = []
    slot = 0
    for stream in (Stream.MUD_FLUID, Stream.CUTTINGS_BACKGROUND):
        shares = (0.0, *([1.0] * plan.sample_scans))
        runs.append(_samples(stream, begin_s, slot, shares, truth[stream][rows], depth, settings, closing=True))
        slot += len(shares)
    # Crushing adds to what the same sample gave before: its background is that run, not an empty chamber.
    run = _samples(Stream.CUTTINGS_CRUSH, begin_s, slot, BURST, truth[Stream.CUTTINGS_CRUSH][rows], depth, settings)
    before = truth[Stream.CUTTINGS_BACKGROUND][rows] + blank_of_stream(Stream.CUTTINGS_BACKGROUND, library)
    run.ppm[:] += np.repeat(before, len(BURST), axis=0)
    runs.append(run)
    return runs


def _samples(
    stream: Stream,
    begin_s: Floats,
    slot: int,
    shares: tuple[float, ...],
    amounts: Floats,
    depth: Floats,
    settings: Simulation,
    *,
    closing: bool = False,
) -> _Run:
    """Make the scans of discrete samples: share 0 is a blank, other shares are of the sample's amounts."""
    interval_s = settings.plan.scan_interval_s
    share = np.tile(shares, depth.size)
    time_s = np.repeat(begin_s, len(shares)) + np.tile(slot + np.arange(len(shares)), depth.size) * interval_s
    blank = share == 0.0
    kind = np.where(blank, ScanKind.BLANK.code, ScanKind.SAMPLE.code).astype(np.int8)
    at = np.where(blank, np.nan, np.repeat(depth, len(shares)))
    ppm = (np.repeat(amounts, len(shares), axis=0) * share[:, None]).astype(np.float32)
    if closing:  # a last blank after the last sample
        slots = 2 * (1 + settings.plan.sample_scans) + len(BURST)
        time_s = np.append(time_s, begin_s[-1] + (slots + slot) * interval_s)
        kind = np.append(kind, np.int8(ScanKind.BLANK.code))
        at = np.append(at, np.nan)
        ppm = np.concatenate((ppm, np.zeros((1, ppm.shape[1]), dtype=np.float32)))
    ppm += _diluted(blank_of_stream(stream, settings.library), ppm)
    return _Run(stream, time_s, kind, at, ppm)


def _spectra(
    runs: list[_Run], maker: SpectrumMaker, start: np.datetime64, settings: Simulation
) -> dict[str, NDArray[np.generic]]:
    """Put all scans in the order of time, through one instrument with one drift."""
    time_s = np.concatenate([run.time_s for run in runs])
    order = np.argsort(time_s, kind="stable")
    ppm = np.concatenate([run.ppm for run in runs])[order]
    if settings.imperfections.memory:
        memory = np.zeros((len(settings.library.species), 2))
        for name, amplitude, tau_s in settings.imperfections.memory:
            memory[settings.library.index(name)] = amplitude, tau_s
        ppm = remember(ppm, time_s[order], memory)
    intensity, pressure = maker.scans(ppm, time_s[order], np.random.default_rng(settings.seed))
    codes = np.concatenate([np.full(run.time_s.size, run.stream.code, dtype=np.int8) for run in runs])[order]
    return {
        "intensity": intensity,
        "mz": maker.mz,
        "time": start + (time_s[order] * 1e9).astype(np.int64).astype("timedelta64[ns]"),
        "stream": codes,
        "kind": np.concatenate([run.kind for run in runs])[order],
        "valve": codes + np.int8(1),
        "pressure": pressure,
        "sample_depth": np.concatenate([run.depth for run in runs])[order],
    }


def _truth(composition: Composition, truth: dict[Stream, Floats], library: SpeciesLibrary) -> xr.Dataset:
    values = {"depth": composition.depth_m, "composition": np.stack([truth[stream] for stream in Stream])}
    return make_dataset(TRUTH, values, {"streams": [str(stream) for stream in Stream], "species": list(library.names)})


def _blended(amounts: Floats, depth_m: Floats, at_m: Floats) -> NDArray[np.float32]:
    """Return amounts at any depth, linear between rows: float32 (scan, species)."""
    place = np.interp(at_m, depth_m, np.arange(depth_m.size))
    below = np.minimum(place.astype(np.intp) + 1, depth_m.size - 1)
    above = np.maximum(below - 1, 0)
    weight = (place - above).astype(np.float32)[:, None]
    table = amounts.astype(np.float32)
    blended: NDArray[np.float32] = table[above] * (1.0 - weight) + table[below] * weight
    return blended


def _diluted(blank: Floats, ppm: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the blank, less what the sample takes of its volume."""
    share = 1.0 - np.clip(ppm.sum(axis=1, dtype=np.float64), 0.0, 1e6) / 1e6
    left: NDArray[np.float32] = (share[:, None] * blank).astype(np.float32)
    return left
