"""Strikes inside the processes of real flow runs: they load nightwell's own code, and its effects are wrapped there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kills.place import Place
from kills.strikes import Strikes

from nightwell.protocol import Lease, Run
from nightwell.sites.ledger import Effects, Ledger

VARIABLE = "NIGHTWELL_TEST_STRIKES"


def environment(folder: Path) -> dict[str, str]:
    """Return what makes a worker's flow processes strike as the place in a folder says."""
    here = Path(__file__).parent
    path = [str(here / "in_flows"), str(here.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {VARIABLE: str(folder), "PYTHONPATH": os.pathsep.join(path)}


def install(folder: Path) -> None:
    """Wrap the effects of every run that this process is going to drive."""
    place = Place(folder)
    drive = Ledger.drive

    def striking(ledger: Ledger, run_id: str, effects: Effects, lease: Lease, **named: Any) -> Run:
        case = place.case()
        if case is not None:
            site = ledger.journal.load(run_id).opened.site
            place.note_process(site, os.getpid())
            effects = Strikes(place, case, site).wrap(effects)
        return drive(ledger, run_id, effects, lease, **named)

    Ledger.drive = striking  # type: ignore[method-assign, assignment]
