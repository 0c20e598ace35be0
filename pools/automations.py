"""The automation that tells Prefect of flow runs whose process died without a word."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from pools.templates import LOST_AFTER_S
from tasks.signs import HEARTBEAT, LOST

NAME = "nightwell: mark lost flow runs as crashed"
_ENDS = ("Completed", "CleanupOwed", "Failed", "Cancelled", "Crashed")


def lost_runs(*, lost_after_s: float = LOST_AFTER_S) -> AutomationCore:
    """Return the automation: a heartbeat, and then neither another nor an end."""
    return AutomationCore(
        name=NAME,
        description="A flow run killed with -9 sends no heartbeat any more; without this it would run for ever.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match=ResourceSpecification.model_validate({"prefect.resource.id": "prefect.flow-run.*"}),
            after={HEARTBEAT},
            expect={HEARTBEAT, *(f"prefect.flow-run.{end}" for end in _ENDS)},
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(seconds=lost_after_s),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                force=False,
                message=LOST,
            )
        ],
    )


def ensure_automation(api: SyncPrefectClient, wanted: AutomationCore) -> str:
    """Make the automation, or bring the one of its name up to date; return what was done."""
    standing = api.read_automations_by_name(wanted.name)
    if not standing:
        api.create_automation(wanted)
        return "made"
    kept, *doubles = standing
    for double in doubles:
        api.delete_automation(double.id)
    if _same(kept, wanted):
        return "stands"
    api.update_automation(kept.id, wanted)
    return "brought up to date"


def _same(one: AutomationCore, other: AutomationCore) -> bool:
    def core(automation: AutomationCore) -> dict[str, object]:
        document = automation.model_dump(mode="json", include=set(AutomationCore.model_fields))
        document["trigger"].pop("id", None)
        for name in ("after", "expect", "for_each"):
            document["trigger"][name] = sorted(document["trigger"][name])
        return document

    return core(one) == core(other)
