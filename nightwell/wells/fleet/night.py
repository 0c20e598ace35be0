"""A night: plan it, do its work on Dask well by well, keep a record of it.

Nothing is remembered from one run to the next but the wells' archives: a night that was killed is begun again, finds
what it committed, and does the rest. The record is written at the end.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

from distributed import Client, Future, KilledWorker, as_completed
from pydantic import TypeAdapter, ValidationError

from nightwell.errors import FormatError, NightwellError, NotFoundError, UnreachableError
from nightwell.wells.archive import Place
from nightwell.wells.fingerprint import versions_in
from nightwell.wells.fleet.catalogue import Candidate
from nightwell.wells.fleet.cluster import memory_of, threads_of
from nightwell.wells.fleet.find_stale import Need, NightPlan, find_stale
from nightwell.wells.fleet.place import Objects
from nightwell.wells.fleet.well_task import (
    MIB,
    Ending,
    WellJob,
    WellOutcome,
    analyse_one,
    outcome_of,
    outcome_of_failure,
)
from nightwell.wells.method import Method

#: Format of a night's record; a higher one is refused.
NIGHT_FORMAT = 1

_FOLDER = "nights"
_WAIT_FOR_WORKERS_S = 180.0  # on a busy machine a process takes a minute to load the libraries

Connect = Callable[[], AbstractContextManager[Client]]
OnOutcome = Callable[[WellOutcome, int, int], None]


@dataclass(frozen=True, slots=True)
class Night:
    """The record of one night.

    Parameters
    ----------
    night_id
        Sorts by time.
    began_at, ended_at
        UTC.
    versions
        Of the method.
    outcomes
        One for each well, in the order of their names, and for scans that could not be identified.
    passed_over
        Folders among the scans that hold none.
    """

    night_id: str
    began_at: datetime
    ended_at: datetime
    versions: dict[str, str]
    outcomes: tuple[WellOutcome, ...]
    passed_over: tuple[str, ...]
    nightwell_night_format: int = NIGHT_FORMAT

    def that_ended(self, ending: Ending) -> tuple[WellOutcome, ...]:
        """Return the wells that ended in one way."""
        return tuple(one for one in self.outcomes if one.ending is ending)

    @property
    def summary(self) -> str:
        """How many of how many failed, and what became of the others, in one sentence."""
        count = {ending: len(self.that_ended(ending)) for ending in Ending}
        failed = [one.well or one.scans for one in self.that_ended(Ending.FAILED)]
        named = f": {', '.join(failed[:5])}{', ...' if len(failed) > 5 else ''}" if failed else ""  # noqa: PLR2004 - a sentence, not a list
        withdrawn = count[Ending.WITHDRAWN]
        simulated = sum(one.simulated for one in self.outcomes)
        return (
            f"{len(failed)} of {len(self.outcomes) - withdrawn} wells failed{named}; "
            f"{count[Ending.COMPUTED]} computed, {count[Ending.RESTORED]} restored, {count[Ending.CURRENT]} current"
            + (f"; {withdrawn} withdrawn" if withdrawn else "")
            + (f"; {simulated} hold SIMULATED data" if simulated else "")
        )


def run_night(
    candidates: Iterable[Candidate],
    method: Method,
    results: Place,
    connect: Connect,
    *,
    memory_bytes: int,
    passed_over: tuple[str, ...] = (),
    on_outcome: OnOutcome | None = None,
) -> Night:
    """Analyse every well that needs it, and write the night's record.

    Parameters
    ----------
    candidates
        Where scans may be.
    method
        Today's method.
    results
        Where archives and records are kept.
    connect
        Gives a Dask client; not called when nothing has to be done.
    memory_bytes
        What a worker may hold.
    passed_over
        For the record.
    on_outcome
        Called with each outcome of a worker, the number of wells that have ended, and the number of all.

    Raises
    ------
    UnreachableError
        The cluster or the place of the results is away. What was committed stays; a well that fails is no error here.
    """
    began_at = datetime.now(UTC)
    plan = find_stale(candidates, method, results)
    outcomes = list(_without_work(plan))
    total = len(plan.needs) + len(plan.failures) + len(plan.withdrawn)
    jobs = [
        WellJob(need, results, memory_bytes) for need in (*plan.that_need(Need.RESTORE), *plan.that_need(Need.COMPUTE))
    ]
    if jobs:
        with connect() as client:
            for outcome in run_jobs(client, jobs, method):
                outcomes.append(outcome)
                if on_outcome is not None:
                    on_outcome(outcome, len(outcomes), total)
    ordered = sorted(outcomes, key=lambda one: (one.well, one.scans))
    night = Night(
        night_id=f"{began_at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
        began_at=began_at,
        ended_at=datetime.now(UTC),
        versions=versions_in(method.as_attributes()),
        outcomes=tuple(ordered),
        passed_over=passed_over,
    )
    write_night(night, results)
    return night


def run_jobs(client: Client, jobs: Iterable[WellJob], method: Method) -> Iterator[WellOutcome]:
    """Do jobs on a cluster, as many at a time as it has threads; yield each outcome as it comes.

    A well whose worker died is tried once more at the end, with no other well running: so one that kills its workers
    is told from those that only stood beside it. When the scheduler goes away, every well that had not ended fails,
    and says so; the next night finds what was committed and does the rest.

    Raises
    ------
    UnreachableError
        The cluster has no workers.
    """
    _wait_for_workers(client)
    limit_bytes = memory_of(client)
    waiting = {
        job.need.scans.well: replace(job, memory_bytes=min(job.memory_bytes, limit_bytes or job.memory_bytes))
        for job in jobs
    }
    try:
        for outcome in _outcomes(client, tuple(waiting.values()), method):
            del waiting[outcome.well]
            yield outcome
    except UnreachableError as error:
        for job in waiting.values():
            yield outcome_of_failure(job.need, error)


def _outcomes(client: Client, jobs: Iterable[WellJob], method: Method) -> Iterator[WellOutcome]:
    # A task that gives the method, not data on a worker: what dies with a worker is made again.
    shared = client.submit(_given, method, pure=False)
    killed: list[WellJob] = []
    for job, future in _run(client, jobs, shared, together=threads_of(client)):
        if isinstance(_error(future), KilledWorker):
            killed.append(job)
        else:
            yield _outcome(future, job)
    for job, future in _run(client, killed, shared, together=1):
        yield _outcome(future, job)


def _run(
    client: Client, jobs: Iterable[WellJob], method: Future[Method], *, together: int
) -> Iterator[tuple[WellJob, Future[WellOutcome]]]:
    waiting = iter(jobs)
    running: dict[Future[WellOutcome], WellJob] = {}
    finished = as_completed(loop=client.loop)  # type: ignore[no-untyped-call]  # distributed has no types
    while True:
        for job in islice(waiting, together - len(running)):
            future = client.submit(analyse_one, job, method, pure=False, key=f"well-{secrets.token_hex(8)}")
            running[future] = job
            finished.add(future)  # type: ignore[no-untyped-call]  # distributed has no types
        if not running:
            return
        future = next(finished)
        yield running.pop(future), future


def _given(method: Method) -> Method:
    return method


def _wait_for_workers(client: Client) -> None:
    try:
        client.wait_for_workers(1, timeout=_WAIT_FOR_WORKERS_S)
    except TimeoutError as error:
        raise UnreachableError(
            "the Dask cluster",
            expected="at least one worker",
            found=f"none after {_WAIT_FOR_WORKERS_S:.0f} s",
            cause="its workers are not running, or cannot reach the scheduler",
            next_step="start workers, each with nightwell installed and with one thread",
        ) from error


def _outcome(future: Future[WellOutcome], job: WellJob) -> WellOutcome:
    if future.status == "finished":
        outcome = future.result()
        assert isinstance(outcome, WellOutcome), "that is what the task returns"
        return outcome
    if future.status != "error":
        raise UnreachableError(
            "the Dask cluster",
            expected="an answer for every well",
            found=f"a task that is '{future.status}'",
            cause="the scheduler ended, or somebody cancelled its tasks",
            next_step="run the night again: wells that are committed are not computed again",
        )
    error = _error(future)
    assert error is not None, "an errored task has an exception"
    return outcome_of_failure(job.need, _killed(job) if isinstance(error, KilledWorker) else error)


def _error(future: Future[WellOutcome]) -> BaseException | None:
    if future.status != "error":
        return None
    error: BaseException | None = future.exception()  # type: ignore[no-untyped-call]  # distributed has no types
    return error


def _killed(job: WellJob) -> NightwellError:
    return NightwellError(
        f"well '{job.need.scans.well}'",
        expected=f"to be analysed in a worker of {job.memory_bytes // MIB} MiB",
        found="workers that died under it twice, the second time with no other well running",
        cause="it needs more memory than declared, the machine ran out of memory, or somebody killed the workers",
        next_step="look at the system's log; raise wells.worker_memory_mib, or analyse this well alone",
    )


def _without_work(plan: NightPlan) -> Iterator[WellOutcome]:
    for need in plan.that_need(Need.NOTHING):
        assert need.known is not None, "NOTHING names the analysis"
        yield outcome_of(need, need.known, Ending.CURRENT)
    for failure in plan.failures:
        yield _without_analysis(failure.name, failure.well, Ending.FAILED, error=failure.error.as_dict())
    for passed in plan.withdrawn:
        since = f"since {passed.note.withdrawn_at:%F}: {passed.note.reason}"
        yield _without_analysis(passed.name, passed.well or passed.note.name, Ending.WITHDRAWN, reasons=(since,))


def _without_analysis(
    scans: str, well: str, ending: Ending, *, reasons: tuple[str, ...] = (), error: dict[str, str] | None = None
) -> WellOutcome:
    return WellOutcome(
        well=well,
        scans=scans,
        ending=ending,
        reasons=reasons,
        analysis_id="",
        inputs={},
        versions={},
        simulated=False,
        seconds=0.0,
        peak_bytes=0,
        error=error or {},
    )


# ---------------------------------------------------------------- records


def write_night(night: Night, results: Place) -> None:
    """Keep a night's record beside the archives."""
    Objects(results).write(f"{_FOLDER}/{night.night_id}.json", TypeAdapter(Night).dump_json(night, indent=1))


def night_ids(results: Place) -> tuple[str, ...]:
    """Return the ids of all nights, oldest first; empty when there was none."""
    try:
        names = Objects(results).listing(_FOLDER).objects
    except NotFoundError:
        return ()
    return tuple(name.removesuffix(".json") for name in names if name.endswith(".json"))


def read_night(results: Place, selector: str = "latest") -> Night:
    """Return the record of a night.

    Parameters
    ----------
    results
        Where records are kept.
    selector
        ``latest``, ``before`` for the one before it, or the beginning of just one id.

    Raises
    ------
    NotFoundError
        No such night.
    FormatError
        A newer release wrote the record.
    """
    known = night_ids(results)
    places = {"latest": 1, "before": 2}
    matching = [one for one in known if selector and one.startswith(selector)]
    if selector in places:
        matching = list(known[-places[selector] :][:1]) if len(known) >= places[selector] else []
    if len(matching) != 1:
        raise NotFoundError(
            f"night '{selector}'",
            expected="a night: 'latest', 'before', or the beginning of one id",
            found=f"{len(matching)} that match; the newest are: {', '.join(known[-5:]) or 'none'}",
            cause="the id is misspelt or too short, or no night ended here yet",
            next_step="list the nights with 'nightwell well fleet nights' and name one",
        )
    data = Objects(results).read(f"{_FOLDER}/{matching[0]}.json")
    try:
        night = TypeAdapter(Night).validate_json(data)
    except ValidationError as error:
        raise _unreadable(matching[0], str(error.errors()[0]["msg"])) from error
    if night.nightwell_night_format > NIGHT_FORMAT:
        raise _unreadable(matching[0], f"format {night.nightwell_night_format}")
    return night


def _unreadable(night_id: str, found: str) -> FormatError:
    return FormatError(
        f"record of night '{night_id}'",
        expected=f"a record of format up to {NIGHT_FORMAT}",
        found=found,
        cause="a newer release of nightwell wrote it, or the file was edited",
        next_step="read it with that release",
    )
