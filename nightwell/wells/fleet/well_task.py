"""What a Dask worker does with one well: read its scans once, analyse them, commit the result, say how it went."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

import xarray as xr

from nightwell.errors import InputError, NightwellError
from nightwell.wells.analysis import analyse_well
from nightwell.wells.archive import Analysis, Place, ResultsArchive
from nightwell.wells.fleet.catalogue import FoundScans
from nightwell.wells.fleet.find_stale import Need, WellNeed
from nightwell.wells.fleet.reading import read_once
from nightwell.wells.method import Method

MIB = 1 << 20

#: What a worker holds before it has seen a well: Python, the scientific stack, and kernels that it compiled itself,
#: which takes some 120 MiB and happens once on a machine.
WORKER_BYTES = 440 * MIB

#: Bytes per number of the largest cubes while they are summed, analysed and written (measured; docs/fleet.md).
_CUBE_BYTES_PER_NUMBER = 60

#: Blocks of scans and of depths while they are worked on.
_BLOCK_BYTES = 150 * MIB

# A well at a time in a worker process, also when somebody's cluster gives its workers several threads: the declared
# memory is that of one well.
_ONE_WELL = threading.Lock()


class Ending(StrEnum):
    """How a well ended in a night."""

    COMPUTED = "computed"
    RESTORED = "restored"  # an older analysis of the same versions was made the newest again
    CURRENT = "current"  # nothing was to be done
    FAILED = "failed"
    WITHDRAWN = "withdrawn"  # a person said that nights are not to look at it


@dataclass(frozen=True, slots=True)
class WellOutcome:
    """What became of one well in a night.

    Parameters
    ----------
    well, scans
        Its name (empty when its scans could not be identified), and where the scans are.
    ending, reasons
        How it ended, and why anything had to be done.
    analysis_id
        Its newest analysis afterwards; empty when there is none.
    inputs, versions
        What that analysis was made from.
    simulated
        Whether it holds simulated data.
    seconds, peak_bytes
        Of the worker: for this well, and the most memory that its process ever held.
    error
        What failed, as the five fields of an error; empty when nothing did.
    """

    well: str
    scans: str
    ending: Ending
    reasons: tuple[str, ...]
    analysis_id: str
    inputs: dict[str, str]
    versions: dict[str, str]
    simulated: bool
    seconds: float
    peak_bytes: int
    error: dict[str, str]


@dataclass(frozen=True, slots=True)
class WellJob:
    """One well's work, as it travels to a worker."""

    need: WellNeed
    results: Place
    memory_bytes: int


def analyse_one(job: WellJob, method: Method) -> WellOutcome:
    """Do one well's work; never raises: a failure is an outcome."""
    begun_s = time.monotonic()
    with _ONE_WELL:
        try:
            analysis = _restore(job) if job.need.need is Need.RESTORE else _compute(job, method)
        except Exception as error:  # noqa: BLE001 - whatever a well's data break must not end the night
            return outcome_of_failure(job.need, error, seconds=time.monotonic() - begun_s)
    ending = Ending.RESTORED if job.need.need is Need.RESTORE else Ending.COMPUTED
    return outcome_of(job.need, analysis, ending, seconds=time.monotonic() - begun_s)


def _restore(job: WellJob) -> Analysis:
    assert job.need.known is not None, "RESTORE names the analysis"
    return ResultsArchive(job.results, job.need.scans.well).make_newest(job.need.known)


def _compute(job: WellJob, method: Method) -> Analysis:
    found = job.need.scans
    with TemporaryDirectory(prefix="nightwell-well-") as folder:
        with found.opened() as scans:
            check_memory(found, scans, method, job.memory_bytes)
            held = read_once(scans, held_bytes=job.memory_bytes // 8, folder=Path(folder))
        result = analyse_well(held, inputs=found.inputs, method=method, scheduler="synchronous")
        archive = ResultsArchive(job.results, found.well)
        analysis, _ = archive.commit(result)
        # Somebody else may have made another analysis the newest meanwhile, with other versions.
        return archive.make_newest(analysis)


def check_memory(found: FoundScans, scans: xr.DataTree, method: Method, memory_bytes: int) -> None:
    """Refuse a well that would not fit into a worker, before any of its arrays is read (InputError)."""
    needed = needed_bytes(scans, method, memory_bytes)
    if needed > memory_bytes:
        sizes = scans["scans"].sizes
        raise InputError(
            f"well '{found.well}'",
            expected=f"a well that can be analysed in {memory_bytes // MIB} MiB, the declared memory of a worker",
            found=f"{sizes['scan']} scans of {sizes['mz']} m/z, which need about {-(-needed // MIB)} MiB",
            cause="the well is larger than those that the setting was made for",
            next_step="raise wells.worker_memory_mib, with fewer workers if the machine has no more memory",
        )


def needed_bytes(scans: xr.DataTree, method: Method, memory_bytes: int) -> int:
    """Return about how much memory a worker holds at most for a well; of its arrays only depths are read."""
    dataset = scans["scans"].to_dataset()
    held = min(dataset["intensity"].nbytes, memory_bytes // 8)
    numbers = _depths(scans, method) * dataset.sizes["mz"]
    return WORKER_BYTES + _BLOCK_BYTES + held + numbers * _CUBE_BYTES_PER_NUMBER


def _depths(scans: xr.DataTree, method: Method) -> int:
    """Return about how many depths all cubes have: steps of the drilled interval, and discrete samples."""
    depths = 0
    dataset = scans["scans"].to_dataset()
    if "drilling" in scans.children:
        bit = scans["drilling"]["bit_depth"].to_numpy()
        if bit.size:
            depths += int((bit.max() - bit.min()) / method.cube.step_m) + 1
    if "sample_depth" in dataset:
        depths += 3 * len(set(dataset["sample_depth"].dropna("scan").to_numpy().tolist()))
    return depths


def outcome_of(need: WellNeed, analysis: Analysis, ending: Ending, *, seconds: float = 0.0) -> WellOutcome:
    """Return the outcome of a well whose newest analysis is that of today's versions."""
    return WellOutcome(
        well=need.scans.well,
        scans=need.scans.name,
        ending=ending,
        reasons=need.reasons,
        analysis_id=analysis.analysis_id,
        inputs=dict(analysis.inputs),
        versions=dict(analysis.versions),
        simulated=analysis.simulated,
        seconds=seconds,
        peak_bytes=peak_bytes(),
        error={},
    )


def outcome_of_failure(need: WellNeed, error: BaseException, *, seconds: float = 0.0) -> WellOutcome:
    """Return the outcome of a well whose newest analysis, if any, is an older one."""
    newest = need.newest
    return WellOutcome(
        well=need.scans.well,
        scans=need.scans.name,
        ending=Ending.FAILED,
        reasons=need.reasons,
        analysis_id="" if newest is None else newest.analysis_id,
        inputs={} if newest is None else dict(newest.inputs),
        versions={} if newest is None else dict(newest.versions),
        simulated=newest is not None and newest.simulated,
        seconds=seconds,
        peak_bytes=peak_bytes(),
        error=_in_five_fields(f"well '{need.scans.well}'", error).as_dict(),
    )


def _in_five_fields(subject: str, error: BaseException) -> NightwellError:
    if isinstance(error, NightwellError):
        return error
    return NightwellError(
        subject,
        expected="an analysis",
        found=f"{type(error).__name__}: {str(error).strip()[:500]}",
        cause="scans of a kind that nightwell does not know, or a defect of nightwell",
        next_step="analyse the well alone with 'nightwell well analyse', and report what it says",
    )


def peak_bytes() -> int:
    """Return the most memory that this process ever held; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), 0)
