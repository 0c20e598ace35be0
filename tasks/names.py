"""How a flow run is called: what it does to which volume or well, and at which site."""

from __future__ import annotations

from collections.abc import Callable

from prefect.context import FlowRunContext


def at_its_site(words: str) -> Callable[[], str]:
    """Return what names a flow run: ``words`` with its parameters filled in, and the pool that it runs in.

    A site is known by its pool. A flow that is called in another's process runs where that one runs, and says nothing.
    """

    def name_run() -> str:
        context = FlowRunContext.get()
        assert context is not None, "Prefect asks for the name within the run"
        name = words.format(**(context.parameters or {}))
        pool = None if context.flow_run is None else context.flow_run.work_pool_name
        return name if pool is None else f"{name} at {pool}"

    return name_run
