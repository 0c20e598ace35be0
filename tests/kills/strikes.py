"""Strike at a point: every effect is wrapped, and what the case names is killed right before it or right after it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from kills.cases import ARRAYS, FLOWS, GONE, WORKERS, Case, Victim, When
from kills.place import PREFECT_PART, Place, array_part, kill, kill_alone, wait_until, worker_part

from nightwell.protocol import Effect, EffectContext, Facts, Site, Step
from nightwell.sites.build import open_ledger
from nightwell.sites.ledger import Effects

_PUTS_BACK = frozenset({Step.RESYNC, Step.DELETE_PAIR, Step.DELETE_SECONDARY})


@dataclass(frozen=True, slots=True)
class Strikes:
    """What happens at the effects of one process.

    Parameters
    ----------
    recovering
        Whether the process drives runs on that others left.
    """

    place: Place
    case: Case
    site: Site
    recovering: bool = False

    def wrap(self, effects: Effects) -> Effects:
        """Wrap every effect."""
        return {step: self._wrapped(step, effect) for step, effect in effects.items()}

    def _wrapped(self, step: Step, effect: Effect) -> Effect:
        def call(context: EffectContext) -> Facts:
            if self.site is Site.SOURCE and step in _PUTS_BACK:
                self._note_unfenced(context.run_id, step)
            number = self.place.count("recovered-effects") if self.recovering else 0
            self._reach(context, step, When.BEFORE, number)
            facts = effect(context)
            self._reach(context, step, When.AFTER, number)
            return facts

        return call

    def _reach(self, context: EffectContext, step: Step, when: When, number: int) -> None:
        case = self.case
        if self.recovering:
            # An odd number is struck before its effect, an even one after it.
            at = When.BEFORE if number % 2 else When.AFTER
            if number and number == case.second and when is at and self.place.once("struck-again"):
                kill_alone(os.getpid())
            return
        if context.undo or (self.site, step, when) != (case.site, case.step, case.when):
            return
        if self.place.once("struck"):
            self._strike(context.run_id)

    def _strike(self, run_id: str) -> None:
        victim = self.case.victim
        if victim in ARRAYS:
            part = array_part(ARRAYS[victim])
            pid = self.place.process(part)
            kill(pid)
            if victim not in GONE:
                wait_until(f"the return of {part}", lambda: self.place.process(part) != pid)
        elif victim is Victim.MOVER:
            mover = self.place.mover(run_id)
            if mover is not None:  # it may have done its work and ended
                kill_alone(mover)
        elif victim is Victim.SERVER:
            server = self.place.server(run_id)
            if server is not None:
                kill(server)
        elif victim is Victim.PREFECT:
            kill(self.place.process(PREFECT_PART))
        else:
            for site in WORKERS.get(victim, ()):
                kill_alone(self.place.process(worker_part(site)))
            for site in FLOWS.get(victim, ()):
                kill_alone(self.place.process(site))

    def _note_unfenced(self, run_id: str, step: Step) -> None:
        """The remote work has ended before the pair is put back."""
        ledger = open_ledger(self.place.settings, "destination")
        try:
            remote = ledger.journal.find(run_id)
        finally:
            ledger.close()
        if remote is not None and remote.is_open:
            self.place.note_wrong(f"{step} while the destination's run is {remote.phase}")
        alive = self.place.server_processes(f"vs-{run_id}")
        if alive:
            self.place.note_wrong(f"{step} while the virtual server runs (processes {alive})")
