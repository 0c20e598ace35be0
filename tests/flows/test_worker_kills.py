"""A sample of what can die behind a Prefect server, before and after effects: workers, workers with flows, the server.

The whole matrix is one command, in docs/recovery.md.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from deployed import Deployed
from kills.cases import OF_PREFECT, Case, Victim, every_case
from kills.prefect_world import PrefectWorld, running_prefect_world

from nightwell.store.location import StoreLocation

SEED = 4
CASES = [
    next(case for case in every_case(SEED, OF_PREFECT) if case.victim is victim)
    for victim in Victim
    if victim in OF_PREFECT
]

# The first case's time holds the start of a server, its deployments and two workers.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def world(
    deployed: Deployed, moto_server: StoreLocation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrefectWorld]:
    with running_prefect_world(tmp_path_factory.mktemp("kills"), deployed, moto_server) as world:
        yield world


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_is_left_behind(case: Case, world: PrefectWorld) -> None:
    result = world.try_case(case)
    assert result.wrongs == ()
    assert result.struck, "the run never came to the point at which something was to be killed"


def test_no_flow_run_is_shown_as_running_in_the_end(world: PrefectWorld) -> None:
    assert world.last_wrongs() == []
