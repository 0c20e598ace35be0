"""A site in numbers, for Prometheus: its runs, the newest run of each volume, recovery points, and what leaked."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from nightwell import __version__
from nightwell.errors import NightwellError
from nightwell.protocol import Journal, Phase, Run, RunKind, RunSummary, Site, timeline
from nightwell.protocol.verdicts import REMEDIES
from nightwell.settings import Settings
from nightwell.sites.build import open_array, open_grants, open_ledger, open_servers
from nightwell.sites.leaks import KINDS, Leak, leaks_at_destination, leaks_at_source
from nightwell.sites.recovery_points import RecoveryPoint, Timeliness, recovery_points

_log = logging.getLogger(__name__)

#: What a run's facts count in bytes.
_BYTES = {"bytes_read": "read", "bytes_stored": "stored", "bytes_written": "written", "bytes_zeroed": "zeroed"}


@dataclass(frozen=True, eq=False)
class SiteMetrics(Collector):
    """Looks at the sites whenever it is asked; what does not answer is told as ``nightwell_up`` 0, never raised.

    Parameters
    ----------
    settings
        Of the machine.
    sites
        Which of the two it plays.
    """

    settings: Settings
    sites: tuple[Site, ...]

    def describe(self) -> Iterable[Metric]:
        """Return nothing: to register must not mean to look."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Return everything as it is now."""
        yield InfoMetricFamily("nightwell", "The release that looked.", {"version": __version__})
        up = _gauge("up", "Whether a part of a site answered.", "site", "part")
        found: list[Metric] = []
        for site in self.sites:
            found += self._of(up, site, "journal", lambda site=site: self._journal(site))  # type: ignore[misc]
            found += self._of(up, site, "array", lambda site=site: self._leaks(site))  # type: ignore[misc]
        if self.settings.store.endpoint_url:
            found += self._of(up, self.sites[0], "store", self._recovery_points)
        yield from _merged(found)
        yield up

    def _of(self, up: GaugeMetricFamily, site: Site, part: str, look: Callable[[], Iterable[Metric]]) -> list[Metric]:
        try:
            found = list(look())
        except (NightwellError, OSError) as error:
            _log.warning("%s of the %s site: %s", part, site, error)
            up.add_metric([site, part], 0)
            return []
        up.add_metric([site, part], 1)
        return found

    def _journal(self, site: Site) -> Iterator[Metric]:
        with closing(open_ledger(self.settings, site)) as ledger:
            yield from _runs(site, ledger.journal)
            yield from _newest(site, ledger.journal)

    def _leaks(self, site: Site) -> Iterator[Metric]:
        leaked = Counter(leak.kind for leak in site_leaks(self.settings, site))
        metric = _gauge("leaked", "Things made for a run that stand without one under way.", "site", "kind")
        for kind in KINDS[site]:
            metric.add_metric([site, kind], leaked[kind])
        yield metric

    def _recovery_points(self) -> Iterator[Metric]:
        wanted: set[str] = set()
        for site in self.sites:
            with closing(open_ledger(self.settings, site)) as ledger:
                wanted |= {run.volume for run in ledger.journal.newest_runs() if run.kind is RunKind.BACKUP}
        yield from _points(recovery_points(self.settings, volumes=wanted))


def site_leaks(settings: Settings, site: Site) -> tuple[Leak, ...]:
    """Return what leaked at one site."""
    with closing(open_array(settings, site)) as array, closing(open_ledger(settings, site)) as ledger:
        if site is Site.SOURCE:
            return leaks_at_source(array, ledger.journal)
        return leaks_at_destination(array, open_servers(settings), open_grants(settings), ledger.journal)


def _runs(site: Site, journal: Journal) -> Iterator[Metric]:
    runs = _gauge("runs", "Runs in the journal, by what became of them.", "site", "kind", "phase")
    counted = journal.count_runs()
    for kind in RunKind:
        for phase in Phase:
            runs.add_metric([site, kind, phase], counted.get((kind, phase), 0))
    yield runs
    owed = _gauge("owed", "Steps that stuck runs owe: a person is needed.", "site", "step")
    steps = Counter(left.by for run in journal.stuck_runs() for left in journal.load(run.run_id).leftovers)
    for step in sorted(REMEDIES):
        owed.add_metric([site, step], steps[step])
    yield owed
    now = datetime.now(UTC)
    lost = [run for run in journal.open_runs() if run.lease_expires_at is None or run.lease_expires_at < now]
    words = "Open runs that nobody drives, until a recovery takes them up."
    undriven = _gauge("runs_without_driver", words, "site")
    undriven.add_metric([site], len(lost))
    yield undriven


def _newest(site: Site, journal: Journal) -> Iterator[Metric]:
    labels = ("site", "kind", "volume")
    ended = _gauge("last_run_ended_timestamp_seconds", "When the newest ended run of a volume ended.", *labels)
    took = _gauge("last_run_seconds", "How long it took.", *labels)
    committed = _gauge("last_run_committed", "Whether it did its work.", *labels)
    steps = _gauge("last_run_step_seconds", "Seconds of each of its steps, over all attempts.", *labels, "step", "undo")
    volume_bytes = _gauge("last_run_bytes", "Bytes that it moved.", *labels, "what")
    for summary in journal.newest_runs():
        named = [site, summary.kind, summary.volume]
        run = journal.load(summary.run_id)
        ended.add_metric(named, summary.updated_at.timestamp())
        took.add_metric(named, (summary.updated_at - summary.opened_at).total_seconds())
        committed.add_metric(named, run.committed)
        for (step, undo), seconds in sorted(_step_seconds(journal, summary).items()):
            steps.add_metric([*named, step, str(undo).lower()], seconds)
        for what, count in _moved(run):
            volume_bytes.add_metric([*named, what], count)
    yield from (ended, took, committed, steps, volume_bytes)


def _step_seconds(journal: Journal, summary: RunSummary) -> dict[tuple[str, bool], float]:
    found: dict[tuple[str, bool], float] = {}
    for step in timeline(journal.events(summary.run_id)):
        key = (str(step.step), step.undo)
        found[key] = found.get(key, 0.0) + (step.seconds or 0.0)
    return found


def _moved(run: Run) -> Iterator[tuple[str, int]]:
    for fact, what in _BYTES.items():
        value = run.facts.get(fact)
        if isinstance(value, int):
            yield what, value


def _points(points: tuple[RecoveryPoint, ...]) -> Iterator[Metric]:
    age = _gauge("recovery_point_age_seconds", "Age of a volume's newest good version; +Inf: there is none.", "volume")
    target = _gauge("recovery_point_target_seconds", "The age that it may have.", "volume")
    missed = _gauge("recovery_point_missed", "Whether it is older, missing, or cannot be told.", "volume")
    damaged = _gauge("recovery_point_damaged", "Newer versions that failed their verification.", "volume")
    for point in points:
        unknown = math.nan if point.timeliness is Timeliness.UNKNOWN else math.inf
        age.add_metric([point.volume], unknown if point.age_s is None else point.age_s)
        target.add_metric([point.volume], point.target_s)
        missed.add_metric([point.volume], point.timeliness is not Timeliness.IN_TIME)
        damaged.add_metric([point.volume], point.damaged)
    yield from (age, target, missed, damaged)


def _gauge(name: str, words: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"nightwell_{name}", words, labels=labels)


def _merged(found: Iterable[Metric]) -> Iterable[Metric]:
    """Join the samples of both sites: a name is told once."""
    by_name: dict[str, Metric] = {}
    for metric in found:
        if metric.name in by_name:
            by_name[metric.name].samples += metric.samples
        else:
            by_name[metric.name] = metric
    return by_name.values()
