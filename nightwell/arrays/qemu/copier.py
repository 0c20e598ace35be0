"""The job that brings S in step with P and keeps it there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from nightwell.arrays.qemu.daemon import Json, MonitorError, StorageDaemon
from nightwell.errors import NightwellError

_WHILE_COPYING_S = 0.02
_IN_STEP_S = 0.5


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What is copied: from which node to which, and whether everything or only the source's own layer."""

    source: str
    target: str
    full: bool


class Copier:
    """One mirror job with the thread that watches it. It reports by its attributes and calls nobody back.

    Parameters
    ----------
    daemon
        Who copies.
    job_id
        Name of the job.
    prepare
        Called in the thread before the copy.
    graph
        Held while the job is put between the volume and its exports, so that no export is added below it meanwhile.
    """

    def __init__(
        self,
        daemon: StorageDaemon,
        job_id: str,
        *,
        prepare: Callable[[], CopyPlan],
        graph: AbstractContextManager[object],
    ) -> None:
        self._daemon = daemon
        self._job_id = job_id
        self._prepare = prepare
        self._graph = graph
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=job_id, daemon=True)
        self.copied_bytes = 0
        self.to_copy_bytes = 0
        self.in_step = False
        self.fault: str | None = None

    @property
    def filter_node(self) -> str:
        """Node that stands over the source while the job runs: exports belong above it."""
        return f"{self._job_id}f"

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the copy: one in step leaves S equal to P at some moment, another leaves S in pieces."""
        self._stopping.set()
        self._daemon.wake()
        self._thread.join()

    def _work(self) -> None:
        try:
            plan = self._prepare()
            with self._graph:
                if self._stopping.is_set():
                    return
                self._daemon.command(
                    "blockdev-mirror",
                    job_id=self._job_id,
                    device=plan.source,
                    target=plan.target,
                    sync="full" if plan.full else "top",
                    copy_mode="write-blocking",  # a host's write is done when it is on both
                    filter_node_name=self.filter_node,
                    auto_dismiss=False,
                    on_target_error="report",
                )
            self._watch()
        except NightwellError as error:
            self._fail(f"the copy could not be made: {error.found}")

    def _watch(self) -> None:
        while True:
            job = self._daemon.job(self._job_id)
            if job is None or job["status"] in {"concluded", "aborting", "null"}:
                self._dismiss()
                self._fail(f"the copy ended: {(job or {}).get('error', 'without a reason')}")
                return
            self._look(job)
            if self._stopping.is_set():
                self._cancel()
                return
            self._daemon.wait_for_change(_IN_STEP_S if self.in_step else _WHILE_COPYING_S)

    def _look(self, job: Json) -> None:
        if not self.in_step:
            self.copied_bytes, self.to_copy_bytes = job["current-progress"], job["total-progress"]
            self.in_step = job["status"] == "ready"

    def _cancel(self) -> None:
        with suppress(MonitorError):
            self._daemon.command("block-job-cancel", device=self._job_id, force=not self.in_step)
        while (job := self._daemon.job(self._job_id)) is not None and job["status"] != "concluded":
            self._daemon.wait_for_change(_WHILE_COPYING_S)
        if job is not None and job.get("error") and self.in_step:
            self._fail(f"the copy ended: {job['error']}")
        self._dismiss()

    def _dismiss(self) -> None:
        with suppress(MonitorError):
            self._daemon.command("job-dismiss", id=self._job_id)

    def _fail(self, fault: str) -> None:
        if self.fault is None:
            self.fault = fault
