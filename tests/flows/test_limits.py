"""One run a volume and so many an array, as the server's limits hold them and its pages show them."""

from __future__ import annotations

from uuid import uuid4

import pytest
from deployed import Deployed, eventually

from flows.local_server import LocalPrefectServer
from nightwell.errors import BusyError
from tasks.limits import array_limit, holding, volume_limit


def taken(server: LocalPrefectServer, *names: str) -> list[int]:
    """Return how many slots of limits are taken, as the page of limits shows."""
    shown = {row["name"]: row["active_slots"] for row in Deployed(server).ask("v2/concurrency_limits")}
    return [shown[name] for name in names]


def test_a_volume_has_one_run_and_an_array_as_many_as_it_may_serve(prefect_server: LocalPrefectServer) -> None:
    array, well, other, third = (uuid4().hex for _ in range(4))
    names = (array_limit(array), volume_limit(well), volume_limit(other))
    with holding(array, well, array_runs=2):
        with (
            pytest.raises(BusyError, match=f"volume '{well}' of array '{array}'"),
            holding(array, well, array_runs=2, wait_s=1.0),
        ):
            pass
        with holding(array, other, array_runs=2):
            assert taken(prefect_server, *names) == [2, 1, 1]
            with pytest.raises(BusyError, match=third), holding(array, third, array_runs=2, wait_s=1.0):
                pass
        with holding("of another site", third, array_runs=2):
            pass
    eventually("free slots", lambda: taken(prefect_server, *names) == [0, 0, 0] or None)
    with pytest.raises(ZeroDivisionError), holding(array, well, array_runs=2):
        raise ZeroDivisionError  # a run that fails gives its slots back too
    with holding(array, well, array_runs=2, wait_s=30.0):
        assert taken(prefect_server, *names) == [1, 1, 0]
