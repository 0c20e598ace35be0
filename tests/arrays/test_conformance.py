"""The embedded array keeps to the suite, as real processes reached by their clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from arrays.running import RunningArray

from nightwell.arrays.port import Array
from nightwell.testing.arrays import ArrayConformance, Workbench


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningArray, RunningArray]]:
    directory = tmp_path_factory.mktemp("arrays")
    with RunningArray("first", directory / "first") as first, RunningArray("second", directory / "second") as second:
        yield first, second
        assert first.stop() == second.stop() == 0


class TestEmbeddedArray(ArrayConformance):
    @pytest.fixture
    def array(self, processes: tuple[RunningArray, RunningArray]) -> Array:
        return processes[0].client

    @pytest.fixture
    def workbench(self, processes: tuple[RunningArray, RunningArray]) -> Workbench:
        return Workbench(second=processes[1].client)
