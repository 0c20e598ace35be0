"""The qemu array keeps to the suite, as real daemons reached by their clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from arrays.running import RunningArray

from nightwell.arrays.port import Array
from nightwell.testing.arrays import ArrayConformance, Workbench


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningArray, RunningArray]]:
    directory, module = tmp_path_factory.mktemp("arrays"), "nightwell.arrays.qemu"
    with (
        RunningArray("first", directory / "first", module=module) as first,
        RunningArray("second", directory / "second", module=module) as second,
    ):
        yield first, second
        assert first.stop() == second.stop() == 0


class TestQemuArray(ArrayConformance):
    @pytest.fixture
    def array(self, daemons: tuple[RunningArray, RunningArray]) -> Array:
        return daemons[0].client

    @pytest.fixture
    def workbench(self, daemons: tuple[RunningArray, RunningArray]) -> Workbench:
        return Workbench(second=daemons[1].client)
