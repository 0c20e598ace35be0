"""What is killed, and when: every step of every protocol, before and after its effect, with each part that can die."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from nightwell.protocol import TABLES, BackupMode, Facts, Mode, RestoreMode, RunKind, Site, Step
from nightwell.server_settings import ServerDriver


class Victim(StrEnum):
    """What is killed with -9."""

    SOURCE = "source flow"
    DESTINATION = "destination flow"
    BOTH_FLOWS = "both flows"  # as when one host plays both sites and dies
    MOVER = "mover"
    SERVER = "virtual server"  # what holds the mover; with the engine `process` it is the mover itself
    SOURCE_ARRAY = "source array, back at once"
    SOURCE_ARRAY_GONE = "source array, back after the run"
    DESTINATION_ARRAY = "destination array, back at once"
    DESTINATION_ARRAY_GONE = "destination array, back after the run"
    SOURCE_WORKER = "source worker"
    SOURCE_HOST = "source worker and flow"
    DESTINATION_WORKER = "destination worker"
    DESTINATION_HOST = "destination worker and flow"
    PREFECT = "Prefect server"


ARRAYS = {
    Victim.SOURCE_ARRAY: Site.SOURCE,
    Victim.SOURCE_ARRAY_GONE: Site.SOURCE,
    Victim.DESTINATION_ARRAY: Site.DESTINATION,
    Victim.DESTINATION_ARRAY_GONE: Site.DESTINATION,
}
GONE = {Victim.SOURCE_ARRAY_GONE, Victim.DESTINATION_ARRAY_GONE}
#: Whose workers and flows die with a victim.
WORKERS = {
    Victim.SOURCE_WORKER: (Site.SOURCE,),
    Victim.SOURCE_HOST: (Site.SOURCE,),
    Victim.DESTINATION_WORKER: (Site.DESTINATION,),
    Victim.DESTINATION_HOST: (Site.DESTINATION,),
}
FLOWS = {
    Victim.SOURCE: (Site.SOURCE,),
    Victim.SOURCE_HOST: (Site.SOURCE,),
    Victim.DESTINATION: (Site.DESTINATION,),
    Victim.DESTINATION_HOST: (Site.DESTINATION,),
    Victim.BOTH_FLOWS: (Site.SOURCE, Site.DESTINATION),
}
#: What is there only behind a real Prefect server.
OF_PREFECT = {
    Victim.SOURCE_WORKER,
    Victim.SOURCE_HOST,
    Victim.DESTINATION_WORKER,
    Victim.DESTINATION_HOST,
    Victim.PREFECT,
}
#: Without these a run goes on and is finished by its own flows.
OUTLIVED = {Victim.SOURCE_WORKER, Victim.DESTINATION_WORKER, Victim.PREFECT}


class When(StrEnum):
    """On which side of a step's effect."""

    BEFORE = "before"
    AFTER = "after"


class Before(StrEnum):
    """What a person has made of the volume; also the volume's name."""

    LONE = "lone"
    PAIRED = "paired"
    STALE = "stale"


_FACTS = {
    Before.LONE: Facts(pair_existed=False, secondary_existed=False, pair_state="SMPL"),
    Before.PAIRED: Facts(pair_existed=True, secondary_existed=True, pair_state="PAIR"),
    Before.STALE: Facts(pair_existed=True, secondary_existed=True, pair_state="PSUS"),
}

#: Every protocol as it is run here, and at which sites its points are struck: the destination's half is the same in
#: every mode, but what the source has to put back when the destination dies is not.
_RUNS: tuple[tuple[RunKind, Mode, Before, tuple[Site, ...]], ...] = (
    (RunKind.BACKUP, BackupMode.SPLIT, Before.LONE, tuple(Site)),
    (RunKind.BACKUP, BackupMode.SPLIT, Before.PAIRED, tuple(Site)),
    (RunKind.BACKUP, BackupMode.SPLIT, Before.STALE, (Site.SOURCE,)),
    (RunKind.BACKUP, BackupMode.PAIR, Before.LONE, (Site.SOURCE,)),
    (RunKind.BACKUP, BackupMode.PAIR, Before.PAIRED, (Site.SOURCE,)),
    (RunKind.BACKUP, BackupMode.DIRECT, Before.LONE, (Site.SOURCE,)),
    (RunKind.RESTORE, RestoreMode.VOLUME, Before.LONE, tuple(Site)),
)

_MOVER_LIVES = {
    (Step.PRODUCE, When.AFTER),
    (Step.COPY, When.BEFORE),
    (Step.COPY, When.AFTER),
    (Step.COMMIT, When.BEFORE),
    (Step.VERIFY, When.BEFORE),
    (Step.DELETE_SERVER, When.BEFORE),
}

#: How many effects a recovery does before it is killed itself, in some of the cases.
_DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Case:
    """One run in which one part is killed at one point.

    Parameters
    ----------
    second
        The first recovery is killed as well, at its effect of this number; 0 for none.
    recoverers
        How many recoveries begin at once.
    """

    kind: RunKind
    mode: Mode
    before: Before
    site: Site
    step: Step
    when: When
    victim: Victim
    second: int = 0
    recoverers: int = 1

    @property
    def volume(self) -> str:
        """The volume that is backed up or restored."""
        return self.before.value

    @property
    def is_for_prefect(self) -> bool:
        """Whether it is tried behind a Prefect server, where a case takes its time: each effect in one kind of run."""
        if self.before is Before.LONE:
            return self.mode in {BackupMode.SPLIT, RestoreMode.VOLUME}
        return self.mode is BackupMode.SPLIT and self.step in {Step.RESYNC_STALE, Step.RESYNC}

    def __str__(self) -> str:
        more = f", recovery killed at effect {self.second}" if self.second else ""
        more += f", {self.recoverers} recoveries at once" if self.recoverers > 1 else ""
        return f"{self.kind} {self.mode} {self.before}: {self.victim} {self.when} {self.site} {self.step}{more}"


def victims(engine: ServerDriver = ServerDriver.PROCESS) -> set[Victim]:
    """Return what can be killed without Prefect, where virtual servers are of this engine."""
    return set(Victim) - OF_PREFECT - ({Victim.SERVER} if engine is ServerDriver.PROCESS else set())


def every_case(seed: int, mortal: set[Victim]) -> list[Case]:
    """Return the whole matrix of what can die; the seed decides its order, and what happens to the recoveries."""
    chooser = random.Random(seed)
    cases = [
        case if case.victim in OF_PREFECT else _with_recovery(case, chooser)
        for case in _points()
        if case.victim in mortal and (case.is_for_prefect or case.victim not in OF_PREFECT)
    ]
    chooser.shuffle(cases)
    return cases


def sample(seed: int, count: int, mortal: set[Victim]) -> list[Case]:
    """Return so many cases, spread over kinds, sites and victims as evenly as can be."""
    groups: dict[tuple[RunKind, Victim], list[Case]] = {}
    for case in every_case(seed, mortal):
        groups.setdefault((case.kind, case.victim), []).append(case)
    chosen: list[Case] = []
    turn = 0
    while len(chosen) < count:
        chosen += [group[turn] for group in groups.values() if turn < len(group)]
        turn += 1
    return chosen[:count]


def _with_recovery(case: Case, chooser: random.Random) -> Case:
    how = chooser.random()
    if how < 0.3:
        return replace(case, second=chooser.randint(1, _DEEPEST))
    return replace(case, recoverers=2) if how < 0.5 else case


def _points() -> Iterator[Case]:
    for kind, mode, before, sites in _RUNS:
        for site in sites:
            for row in TABLES[kind, site].rows(mode):
                if row.when is not None and not row.when.holds(_FACTS[before]):
                    continue
                for when in When:
                    for victim in _victims(site, row.step, when):
                        yield Case(kind, mode, before, site, row.step, when, victim)


def _victims(site: Site, step: Step, when: When) -> Iterator[Victim]:
    yield Victim.SOURCE
    yield Victim.SOURCE_ARRAY
    yield Victim.SOURCE_ARRAY_GONE
    yield Victim.SOURCE_WORKER
    yield Victim.SOURCE_HOST
    yield Victim.PREFECT
    if site is Site.DESTINATION or step is Step.REQUEST:  # at the source's other steps it has nothing to do
        yield Victim.DESTINATION_WORKER
    if site is Site.DESTINATION:
        yield Victim.DESTINATION
        yield Victim.BOTH_FLOWS
        yield Victim.DESTINATION_HOST
        yield Victim.DESTINATION_ARRAY
        yield Victim.DESTINATION_ARRAY_GONE
        if (step, when) in _MOVER_LIVES:
            yield Victim.MOVER
            yield Victim.SERVER
