"""A sample of the matrix: one case for every kind of run and every part that can be killed.

The whole matrix is one command, in docs/recovery.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from kills.cases import Case, every_case, sample, victims
from kills.world import World, running_world

from nightwell.protocol import TABLES, BackupMode, RestoreMode, RunKind, Site
from nightwell.store.location import StoreLocation

SEED = 1
VICTIMS = victims()
CASES = sample(SEED, 2 * len(VICTIMS), VICTIMS)

# The first case's time holds the start of a world.
pytestmark = pytest.mark.timeout(300)


class Worlds:
    """One world for all cases; a case that left something behind gets the next ones a fresh world."""

    def __init__(self, store: StoreLocation, folders: pytest.TempPathFactory) -> None:
        self._store = store
        self._folders = folders
        self._stack = ExitStack()
        self._world: World | None = None

    def current(self) -> World:
        if self._world is None:
            place = self._folders.mktemp("kills")
            self._world = self._stack.enter_context(running_world(place, self._store))
        return self._world

    def give_up(self) -> None:
        self._world = None
        self._stack.close()


@pytest.fixture(scope="module")
def worlds(moto_server: StoreLocation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    made = Worlds(moto_server, tmp_path_factory)
    yield made
    made.give_up()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_is_left_behind(case: Case, worlds: Worlds) -> None:
    result = worlds.current().try_case(case)
    if result.wrongs:
        worlds.give_up()
    assert result.wrongs == ()
    assert result.struck, "the run never came to the point at which something was to be killed"


def test_the_matrix_has_every_step_and_the_sample_every_victim() -> None:
    cases = every_case(SEED, VICTIMS)
    assert {case.victim for case in CASES} == VICTIMS
    assert {case.kind for case in CASES} == set(RunKind)
    for kind, mode in ((RunKind.BACKUP, BackupMode.SPLIT), (RunKind.RESTORE, RestoreMode.VOLUME)):
        for site in Site:
            steps = {row.step for row in TABLES[kind, site].rows(mode)}
            assert {c.step for c in cases if (c.kind, c.mode, c.site) == (kind, mode, site)} == steps
