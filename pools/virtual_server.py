"""The worker type ``virtual-server``: each request that runs in its pool gets a virtual server of its own.

What the pool's form says (engine, virtual CPUs, memory) is what the request's flow process produces: the values reach
it as settings, above those of the site's file. The virtual server itself never sees Prefect, the journal or the
array's control; the flow process stands between, which is why the worker does not run the flow inside it.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import Any
from uuid import UUID

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound, ObjectNotFound
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult
from pydantic import Field, PrivateAttr

from nightwell.server_settings import ServerDriver, ServersSettings
from nightwell.servers.procfs import ProcessIdentity, is_running
from nightwell.settings import load_settings
from nightwell.sites.destination import server_id
from pools.flow_processes import FlowProcess, FlowProcesses, end
from pools.obligations import Obligation, Obligations, delete_leftover, requested_run

_DEFAULTS = ServersSettings()
_SETTING = "NIGHTWELL_DESTINATION__SERVERS__"
_LOOK_FOR_CANCEL_S = 3.0
_GRACE_S = 10.0


class VirtualServerVariables(BaseVariables):
    """What a person chooses for a pool, a deployment or a single run."""

    engine: ServerDriver = Field(
        default=_DEFAULTS.driver, title="Engine", description="What a virtual server is made of."
    )
    vcpus: int = Field(
        default=_DEFAULTS.cpus, ge=1, le=64, title="vCPUs", description="Virtual CPUs of one virtual server."
    )
    memory_mib: int = Field(
        default=_DEFAULTS.memory_mib,
        ge=256,
        title="Memory (MiB)",
        description="Memory of one virtual server. 512 MiB suffice for volumes up to 8 TiB.",
    )


class VirtualServerConfiguration(BaseJobConfiguration):
    """The same, filled in for one flow run."""

    engine: ServerDriver = Field(default=_DEFAULTS.driver, json_schema_extra={"template": "{{ engine }}"})
    vcpus: int = Field(default=_DEFAULTS.cpus, json_schema_extra={"template": "{{ vcpus }}"})
    memory_mib: int = Field(default=_DEFAULTS.memory_mib, json_schema_extra={"template": "{{ memory_mib }}"})

    _own_command: str | None = PrivateAttr(default=None)

    @property
    def own_command(self) -> str | None:
        """The command that the pool gives in place of ours, if it does."""
        return self._own_command

    def prepare_for_flow_run(self, flow_run: FlowRun, *arguments: Any, **named: Any) -> None:
        """Fill in what depends on the flow run."""
        self._own_command = self.command  # the base class fills one in where there is none
        super().prepare_for_flow_run(flow_run, *arguments, **named)
        self.env = {
            **os.environ,
            **self.env,
            f"{_SETTING}DRIVER": self.engine.value,
            f"{_SETTING}CPUS": str(self.vcpus),
            f"{_SETTING}MEMORY_MIB": str(self.memory_mib),
        }

    def environment(self) -> dict[str, str]:
        """Return the environment of the flow process."""
        return {name: value for name, value in self.env.items() if value is not None}

    def in_words(self) -> str:
        """Return what is produced, for a log."""
        return f"engine {self.engine}, {self.vcpus} vCPUs, {self.memory_mib} MiB"


class VirtualServerResult(BaseWorkerResult):
    """How a flow process ended."""


class VirtualServerWorker(BaseWorker[VirtualServerConfiguration, VirtualServerVariables, VirtualServerResult]):
    """Runs the destination site's flows, and answers for their virtual servers."""

    type = "virtual-server"
    job_configuration = VirtualServerConfiguration
    job_configuration_variables = VirtualServerVariables
    _display_name = "Virtual server"
    _description = "Produce a fresh virtual server for each request of the other site, and delete it afterwards."
    _documentation_url = "https://docs.prefect.io/v3/concepts/workers"

    _processes: FlowProcesses | None = None

    async def setup(self) -> None:
        """Load the flows ahead, then delete what a dead worker of this host left."""
        settings = load_settings()
        self._obligations = Obligations.of(settings)
        self._processes = FlowProcesses(settings.state_directory.absolute())
        await self._processes.open()
        await super().setup()

    async def teardown(self, *exc_info: Any) -> None:
        """End every flow process of ours, and the program that forks them."""
        try:
            await super().teardown(*exc_info)
        finally:
            if self._processes is not None:
                with anyio.CancelScope(shield=True):
                    await self._processes.close()

    async def sync_with_backend(self) -> None:
        """Send a heartbeat, and tidy up after workers that are gone."""
        await super().sync_with_backend()
        await self._tidy_up()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: VirtualServerConfiguration,
        task_status: TaskStatus[Any] | None = None,
    ) -> VirtualServerResult:
        """Carry one flow run out in a process of its own; nothing of it is left when this returns or is cancelled."""
        log = self.get_flow_run_logger(flow_run)
        obligation = self._obligations.begin(str(flow_run.id), requested_run(flow_run.parameters))
        if obligation.run_id:
            log.info(
                "Virtual server '%s' is produced for this request: %s.",
                server_id(obligation.run_id),
                configuration.in_words(),
            )
        process: FlowProcess | None = None
        try:
            process = await self._start(flow_run, configuration)
            self._obligations.started(obligation, process.identity)
            if task_status is not None:
                task_status.started(_infrastructure_pid(process.identity))
            status = await self._watch(flow_run, process)
            return VirtualServerResult(status_code=status, identifier=_infrastructure_pid(process.identity))
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._end(process)
                # Its flow cannot tell any more when it had to be killed: without this it would run for ever.
                await self._propose_crashed_state(flow_run, "Its worker was stopped.")
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._end(process)
                await self._meet(obligation, log)

    async def _start(self, flow_run: FlowRun, configuration: VirtualServerConfiguration) -> FlowProcess:
        assert self._processes is not None, "setup() has made them"
        if configuration.own_command:
            return await self._processes.execute(configuration.own_command, configuration.environment())
        return await self._processes.fork(str(flow_run.id), configuration.environment())

    async def _watch(self, flow_run: FlowRun, process: FlowProcess) -> int:
        """Return the process's exit status; end it when a person cancels its run."""
        status = 0
        async with anyio.create_task_group() as group:
            group.start_soon(self._end_when_cancelled, flow_run, process)
            status = await process.wait()
            group.cancel_scope.cancel()
        return status

    async def _end_when_cancelled(self, flow_run: FlowRun, process: FlowProcess) -> None:
        while True:
            await anyio.sleep(_LOOK_FOR_CANCEL_S)
            try:
                found = await self.client.read_flow_run(flow_run.id)
            except Exception:  # the work goes on while the Prefect server is away
                self._logger.debug("The state of flow run %s is not known now.", flow_run.id, exc_info=True)
                continue
            if found.state is not None and found.state.is_cancelling():
                with anyio.CancelScope(shield=True):
                    await end(process.identity, grace_s=_GRACE_S)
                    await self._mark_flow_run_as_cancelled(found, {"message": "Cancelled; its process was ended."})
                return

    async def _end(self, process: FlowProcess | None) -> None:
        if process is not None:
            await end(process.identity, grace_s=_GRACE_S)

    async def _meet(self, obligation: Obligation, log: logging.Logger | logging.LoggerAdapter[Any]) -> None:
        """Delete the virtual server that its flow process did not, then forget the obligation."""
        if obligation.run_id:
            found = await anyio.to_thread.run_sync(delete_leftover, load_settings(), obligation.run_id)
            by = "its worker: its process ended before" if found else "its own flow"
            log.info("Virtual server '%s' is deleted, by %s.", server_id(obligation.run_id), by)
        self._obligations.met(obligation)

    async def _tidy_up(self) -> None:
        for obligation in self._obligations.orphaned():
            await self._meet(obligation, self._logger)
            try:
                found = await self.client.read_flow_run(UUID(obligation.flow_run_id))
            except ObjectNotFound:
                continue
            if found.state is not None and not found.state.is_final():
                await self._propose_crashed_state(found, "Its worker and its process died.")

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: VirtualServerConfiguration,  # noqa: ARG002  the signature is Prefect's
        grace_seconds: int = 30,
    ) -> None:
        """End a flow process of this host, whoever started it; its virtual server goes with it."""
        host, identity = _parse(infrastructure_pid)
        if host != socket.gethostname():
            raise InfrastructureNotAvailable(f"process {identity.pid} runs on host '{host}', this is another")
        if not is_running(identity):
            raise InfrastructureNotFound(f"process {identity.pid} runs no more")
        await end(identity, grace_s=grace_seconds)
        await self._tidy_up()


def _infrastructure_pid(identity: ProcessIdentity) -> str:
    return f"{socket.gethostname()}:{identity.pid}:{identity.start_time_ticks}:{identity.boot_id}"


def _parse(infrastructure_pid: str) -> tuple[str, ProcessIdentity]:
    try:
        host, pid, ticks, boot = infrastructure_pid.rsplit(":", 3)
        return host, ProcessIdentity(int(pid), int(ticks), boot)
    except ValueError as error:
        raise InfrastructureNotFound(f"'{infrastructure_pid}' names no process of this worker type") from error
