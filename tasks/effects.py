"""One Prefect task for each effect of a run: its name in the UI, its retries, and nothing that Prefect could cache."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from nightwell.errors import NightwellError
from nightwell.protocol import Effect, EffectContext, Facts, Step
from nightwell.sites.ledger import Effects

#: What the UI calls each step, as a person would say it.
NAMES: Mapping[Step, str] = MappingProxyType(
    {
        Step.CHECK_PAIR: "check pair",
        Step.CREATE_SECONDARY: "create secondary",
        Step.CREATE_PAIR: "create pair",
        Step.RESYNC_STALE: "resync stale pair",
        Step.WAIT_PAIR: "wait for PAIR",
        Step.QUIESCE: "quiesce host",
        Step.SPLIT: "split pair",
        Step.THAW: "thaw host",
        Step.EXPORT: "export on line 1",
        Step.REQUEST: "request over line 2",
        Step.FENCE: "fence remote work",
        Step.WITHDRAW_EXPORT: "withdraw export",
        Step.RESYNC: "resync pair",
        Step.DELETE_PAIR: "delete pair",
        Step.DELETE_SECONDARY: "delete secondary",
        Step.IMPORT: "import over line 1",
        Step.PRODUCE: "produce virtual server",
        Step.COPY: "copy",
        Step.COMMIT: "commit version",
        Step.VERIFY: "verify target",
        Step.DELETE_SERVER: "delete virtual server",
        Step.RELEASE_IMPORT: "release import",
        Step.CHECK_TARGET: "check target",
        Step.EXPORT_TARGET: "export target on line 1",
    }
)

#: Steps that hold a conversation or ask the other site: repeating them blindly is the protocol's business, not ours.
_ONCE = frozenset({Step.REQUEST, Step.COPY, Step.COMMIT, Step.VERIFY})
_RETRIES = 2
_RETRY_DELAY_S = 1


def as_tasks(effects: Effects) -> Effects:
    """Wrap every effect in a task of its own."""
    return {step: _as_task(step, effect) for step, effect in effects.items()}


def _as_task(step: Step, effect: Effect) -> Effect:
    def call(context: EffectContext) -> Facts:
        return effect(context)

    task = Task(
        fn=call,
        name=NAMES[step],
        task_run_name=NAMES[step],  # once in a run: no number behind it
        # An effect is a fact of the world, not a value: a cached "split" would split nothing.
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=0 if step in _ONCE else _RETRIES,
        retry_delay_seconds=_RETRY_DELAY_S,
        retry_condition_fn=_may_pass,
    )

    def run(context: EffectContext) -> Facts:
        return task.with_options(task_run_name=f"undo: {NAMES[step]}")(context) if context.undo else task(context)

    return run


def _may_pass(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Retry only what its driver called transient; everything else is an answer."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, NightwellError) and error.transient
