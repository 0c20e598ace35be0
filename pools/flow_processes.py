"""The worker's side of flow processes: start one, wait for its end, end it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import socket
import sys
import uuid
from asyncio.subprocess import Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from nightwell.errors import UnreachableError
from nightwell.servers.procfs import ProcessIdentity, identify, is_running, members, send

_LOOK_S = 0.1
_START_TIMEOUT_S = 120.0

#: What a flow process whose end nobody saw is said to have ended with.
UNKNOWN_STATUS = -1


@dataclass(slots=True)
class FlowProcess:
    """A process that carries out one flow run."""

    identity: ProcessIdentity
    _ended: asyncio.Future[int]

    async def wait(self) -> int:
        """Return the exit status; negative: the signal that ended it, or that nobody saw its end."""
        status = await asyncio.shield(self._ended)
        # Still there when the program that forked it died first.
        while is_running(self.identity):  # noqa: ASYNC110  a process that is no child of ours tells nobody
            await asyncio.sleep(_LOOK_S)
        return status


@dataclass(slots=True)
class FlowProcesses:
    """Starts flow processes: forked from a program that has loaded the flows, or from a command.

    Parameters
    ----------
    directory
        In which they run.
    """

    directory: Path
    _program: Process | None = None
    _writer: asyncio.StreamWriter | None = None
    _starting: dict[str, asyncio.Future[int]] = field(default_factory=dict)
    _running: dict[str, asyncio.Future[int]] = field(default_factory=dict)
    _listener: asyncio.Task[None] | None = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self) -> None:
        """Start the program that forks; it is loaded while the worker does other things."""
        async with self._opening:
            if self._program is not None and self._program.returncode is None:
                return
            ours, theirs = socket.socketpair()
            with theirs:
                self._program = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "pools.preloaded", str(theirs.fileno())),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
            self._ready.clear()
            reader, self._writer = await asyncio.open_unix_connection(sock=ours)
            self._listener = asyncio.create_task(self._listen(reader))

    async def close(self) -> None:
        """Let the program that forks end; flow processes are not touched."""
        if self._writer is not None:
            self._writer.close()
        if self._program is not None:
            with suppress(ProcessLookupError):
                self._program.kill()
            await self._program.wait()
        if self._listener is not None:
            await self._listener

    async def fork(self, flow_run_id: str, environment: Mapping[str, str]) -> FlowProcess:
        """Start a flow run in a process that has loaded the flows.

        Raises
        ------
        UnreachableError
            The program that forks did not answer.
        """
        await self.open()
        assert self._writer is not None, "open() has made it"
        order_id, loop = uuid.uuid4().hex, asyncio.get_running_loop()
        self._starting[order_id], self._running[order_id] = loop.create_future(), loop.create_future()
        ended = self._running[order_id]
        order = {
            "id": order_id,
            "flow_run_id": flow_run_id,
            "environment": dict(environment),
            "directory": str(self.directory),
        }
        self._writer.write(json.dumps(order).encode() + b"\n")
        try:
            pid = await asyncio.wait_for(self._starting[order_id], _START_TIMEOUT_S)
        except (TimeoutError, ConnectionError) as error:
            self._running.pop(order_id, None)
            raise UnreachableError(
                f"flow run '{flow_run_id}'",
                expected="a process of its own",
                found=f"{type(error).__name__} of the program that forks it",
                cause="it cannot load the flows on this host; the worker's output says why",
                next_step="run 'python -c \"import flows.remote\"' with the worker's Python and correct what it says",
            ) from error
        finally:
            self._starting.pop(order_id, None)
        identity = identify(pid)
        if identity is None:  # it has ended already, and has been reaped
            identity = ProcessIdentity(pid, 0, "")
        return FlowProcess(identity, ended)

    async def execute(self, command: str, environment: Mapping[str, str]) -> FlowProcess:
        """Start a flow run with a command of the pool's."""
        words = [sys.executable if word == "python" else word for word in shlex.split(command)]
        child = await asyncio.create_subprocess_exec(
            *words,
            env=dict(environment),
            cwd=self.directory,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        identity = identify(child.pid)
        assert identity is not None, "a child that nobody has waited for has an identity"
        return FlowProcess(identity, asyncio.ensure_future(child.wait()))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                self._heard(json.loads(line))
        for waiting in self._starting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("it ended"))
        # Flow processes outlive the program that forked them, but nobody sees their exit status any more.
        for ended in self._running.values():
            if not ended.done():
                ended.set_result(UNKNOWN_STATUS)
        self._running.clear()

    def _heard(self, said: dict[str, object]) -> None:
        order_id = str(said.get("id"))
        if "pid" in said:
            waiting = self._starting.get(order_id)
            if waiting is not None and not waiting.done():
                waiting.set_result(int(str(said["pid"])))
        elif "status" in said:
            ended = self._running.pop(order_id, None)
            if ended is not None and not ended.done():
                ended.set_result(int(str(said["status"])))
        else:
            self._ready.set()


async def end(identity: ProcessIdentity, *, grace_s: float) -> None:
    """Ask a flow process to end; after the grace, end it and all of its session by force."""
    if is_running(identity):
        send(identity, signal.SIGTERM)
        await _gone(identity, grace_s)
    for pid in members(identity) - {os.getpid()}:
        member = identify(pid)
        if member is not None:
            send(member, signal.SIGKILL)
    await _gone(identity, grace_s)


async def _gone(identity: ProcessIdentity, timeout_s: float) -> None:
    loop = asyncio.get_running_loop()
    until_s = loop.time() + timeout_s
    while is_running(identity) and loop.time() < until_s:  # noqa: ASYNC110  as above
        await asyncio.sleep(_LOOK_S)
