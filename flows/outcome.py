"""What a finished run means to Prefect: completed, completed with cleanup owed, or failed."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed

from nightwell.errors import NightwellError
from nightwell.protocol import Phase, Run, remedies, runbook, verdict
from nightwell.sites.source_site import SourceSite
from tasks.artifacts import publish_run
from tasks.outage import outlast


def conclude(site: SourceSite, run: Run) -> State[Any]:
    """Publish a run on its page and return its state; raise when it did not do its work.

    Raises
    ------
    NightwellError
        Why the run was taken back, or that it could not be.
    """
    events = site.ledger.journal.events(run.run_id)
    outlast(lambda: publish_run(run, events))
    if run.committed:
        name = "Completed" if run.phase is Phase.DONE else "CleanupOwed"
        owed = "; ".join(filter(None, [*remedies(run), str(run.facts.get("cleanup_owed", ""))]))
        words = f"{verdict(run)} ({runbook(run)})" if owed else verdict(run)
        return Completed(name=name if not owed else "CleanupOwed", message=words, data=dict(run.facts))
    if run.phase is Phase.REVERTED and run.failure is not None:
        raise run.failure.as_error()
    raise NightwellError(
        f"run '{run.run_id}' of volume '{run.volume}'",
        expected="a run that ends with its work done, or taken back",
        found=f"phase {run.phase}: {verdict(run)}",
        cause=str(run.failure.found) if run.failure else "the run was cancelled",
        next_step=f"{'; '.join(remedies(run)) or 'let the flow recover-runs go on with it'} ({runbook(run)})",
    )
