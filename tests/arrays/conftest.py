"""Arrays that a module's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from arrays.running import RunningArray


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArray]:
    """Give a running array that the module's tests share, each with names of its own."""
    with RunningArray("small", tmp_path_factory.mktemp("small")) as process:
        yield process
        assert process.stop() == 0
