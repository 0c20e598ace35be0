"""Line 2 with a real Prefect server and a real worker: a cut is outlasted, or ends in an error and a pair as it was."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from deployed import eventually
from lines.copying import LINE_1_MIB_S, copy_through, in_step, make_pair, mend
from lines.figures import Tell
from lines.network import Line
from lines.sites import Sites
from machine import MIB

from nightwell.protocol import Phase
from pools.templates import LOST_AFTER_S

# The first test's time holds the start of both sites and of a Prefect server.
pytestmark = pytest.mark.timeout(600)

VOLUME = "behind-prefect"
CUT_S, OUTAGE_S, PATIENT_S = 4.0, 3.0, 600.0
#: Longer than a heartbeat may be missed, and after it longer than a run that was marked for it is listened for.
LONG_CUT_S, HEARD_S = LOST_AFTER_S + 20.0, 70.0
#: The copy lasts until then, and its line answers within the time that a mover waits for it.
LONG_BYTES, LONG_MIB_S = 96 * MIB, 0.5


@pytest.fixture(scope="module", autouse=True)
def volume(sites_with_prefect: Sites) -> Iterator[str]:
    make_pair(sites_with_prefect, VOLUME)
    yield VOLUME
    assert sites_with_prefect.machine.leftovers() == []


def test_a_backup_outlasts_line_2_cut_in_its_middle(sites_with_prefect: Sites, tell: Tell) -> None:
    sites = sites_with_prefect

    def cut() -> None:
        sites.network.cut(Line.TWO)
        time.sleep(CUT_S)
        sites.network.mend(Line.TWO)

    copied = copy_through(sites, VOLUME, cut)
    assert copied.run.phase is Phase.DONE, sites.said
    assert "backup safe as version" in sites.said
    assert sites.digest_version(VOLUME, copied.run) == copied.digest
    assert in_step(sites, VOLUME)
    assert sites.machine.leftovers() == []
    tell(f"line 2 cut for {CUT_S:.0f} s", copied.seconds, "byte-equal", copied.stall_s)


def test_a_cut_for_which_a_remote_run_is_shown_as_crashed_costs_no_work(sites_with_prefect: Sites, tell: Tell) -> None:
    sites, volume = sites_with_prefect, "for-long"
    make_pair(sites, volume, LONG_BYTES)

    def cut() -> None:
        _cut_a_slow_copy(sites, LONG_MIB_S)
        time.sleep(LONG_CUT_S)
        sites.network.mend(Line.TWO)
        time.sleep(HEARD_S)
        sites.network.shape(Line.ONE, LINE_1_MIB_S)

    copied = copy_through(sites, volume, cut)
    assert copied.run.phase is Phase.DONE, sites.said
    assert sites.digest_version(volume, copied.run) == copied.digest
    (shown,) = sites.source.do("states_of_request", run_id=copied.run.run_id)
    assert shown[-2:] == ["Crashed", "Completed"], "one run, and none in its place"
    assert in_step(sites, volume)
    assert sites.machine.leftovers() == []
    tell(f"line 2 cut for {LONG_CUT_S:.0f} s", copied.seconds, "byte-equal, by the run it began with")


def test_line_2_cut_for_good_is_a_clear_error_then_fenced_and_a_pair_as_it_was(
    sites_with_prefect: Sites, tell: Tell
) -> None:
    sites = sites_with_prefect
    ours = sites.source.environment
    ours["NIGHTWELL_FLOWS__OUTAGE_S"] = str(OUTAGE_S)
    try:
        copied = copy_through(sites, VOLUME, lambda: _cut_a_slow_copy(sites, LINE_1_MIB_S / 128), stays=True)
        run = copied.run
        assert run.waiting, "nothing is taken back while nobody can say what the destination does"
        assert not in_step(sites, VOLUME)
        assert "waits for the destination" in sites.said
        assert "has no worker" in sites.said, "it says whom it cannot reach"
        assert "Next step" in sites.said
        tell(f"line 2 cut for good (waits {OUTAGE_S:.0f} s)", copied.seconds, "clear error; pair stays split, held")
        began_s = time.monotonic()
        sites.network.mend(Line.TWO)
        ours["NIGHTWELL_FLOWS__OUTAGE_S"] = str(PATIENT_S)
        eventually("recovery", lambda: _recovered(sites, run.run_id), timeout_s=150.0, pause_s=1.0)
    finally:
        ours["NIGHTWELL_FLOWS__OUTAGE_S"] = str(PATIENT_S)
        mend(sites.network)
    ended = sites.machine.source.ledger.journal.load(run.run_id)
    assert ended.phase is Phase.REVERTED
    assert not ended.committed
    assert in_step(sites, VOLUME)
    assert sites.machine.leftovers() == []
    tell("line 2 mended, then recover-runs", time.monotonic() - began_s, "remote work fenced; pair as it was")


def _cut_a_slow_copy(sites: Sites, line_1_mib_s: float) -> None:
    """Cut line 2, and hold line 1 so that the copy's end is far away when line 2 is mended."""
    sites.network.cut(Line.TWO)
    sites.network.shape(Line.ONE, line_1_mib_s)


def _recovered(sites: Sites, run_id: str) -> bool | None:
    sites.source.do("recover")
    return not sites.machine.source.ledger.journal.load(run_id).is_open or None
