"""One ``qemu-storage-daemon``, and the conversation with its monitor."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from qemu.qmp import ExecuteError, QMPClient, QMPError

from nightwell.errors import NightwellError, UnreachableError
from nightwell.programs import program

_Result = TypeVar("_Result")
_START_S = 20.0
_ANSWER_S = 120.0
_POLL_S = 0.02

#: What a QMP command takes: JSON.
Json = Any


class MonitorError(NightwellError):
    """The daemon refused a command; ``found`` is its own word."""


class StorageDaemon:
    """A running daemon; it dies with this process.

    Parameters
    ----------
    folder
        Takes the monitor's socket and the log.

    Raises
    ------
    NotFoundError
        The program is not installed.
    UnreachableError
        It did not start; the error holds its last words.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._monitor = folder / "qmp.sock"
        self._monitor.unlink(missing_ok=True)
        self._jobs_changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qmp", daemon=True)
        self._client = QMPClient("nightwell")
        self._listening: Future[None] | None = None
        self._process = self._start()
        self._thread.start()
        try:
            self._connect()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> subprocess.Popen[bytes]:
        # The kernel ends the daemon when this process dies, however it dies: no volume is served by an orphan. The
        # monitor's socket is named relative to its folder, for the kernel takes 107 bytes and no more.
        command = ["setpriv", "--pdeathsig", "KILL", str(program("qemu-storage-daemon"))]
        command += ["--chardev", f"socket,id=monitor,path={self._monitor.name},server=on,wait=off"]
        command += ["--monitor", "chardev=monitor"]
        with (self._folder / "daemon.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder)

    def _connect(self) -> None:
        deadline = time.monotonic() + _START_S
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            while True:
                try:
                    self._run(self._client.connect(f"/proc/self/fd/{descriptor}/{self._monitor.name}"))
                except QMPError as error:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        raise self._gone("it did not start") from error
                    time.sleep(_POLL_S)
                else:
                    break
        finally:
            os.close(descriptor)
        self._listening = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait(self) -> int:
        """Block until the daemon has ended; return its exit status."""
        return self._process.wait()

    def command(self, name: str, /, **arguments: Json) -> Json:
        """Carry out one command; underscores in the names of arguments stand for dashes, ``None`` is left out.

        Raises
        ------
        MonitorError
            The daemon refused.
        UnreachableError
            It is gone, or does not answer.
        """
        given = {key.replace("_", "-"): value for key, value in arguments.items() if value is not None}
        return self.command_with(name, given)

    def command_with(self, name: str, arguments: Mapping[str, Json]) -> Json:
        """Carry out one command with its arguments as QMP spells them; errors as :meth:`command`."""
        try:
            return self._run(self._client.execute(name, dict(arguments)))
        except ExecuteError as error:
            raise MonitorError(
                f"command '{name}' of qemu-storage-daemon",
                expected="it to be carried out",
                found=str(error),
                cause="the daemon's view of its volumes is another than the array's, or the host under it fails",
                next_step=f"read {self._folder / 'daemon.log'}",
            ) from error
        except (QMPError, TimeoutError) as error:
            raise self._gone(str(error) or type(error).__name__) from error

    def transaction(self, actions: Sequence[tuple[str, Mapping[str, Json]]], *, grouped: bool = False) -> None:
        """Carry out all the actions at one point in time, or none; errors as :meth:`command`."""
        arguments: dict[str, Json] = {"actions": [{"type": kind, "data": dict(data)} for kind, data in actions]}
        if grouped:
            arguments["properties"] = {"completion-mode": "grouped"}
        self.command_with("transaction", arguments)

    def job(self, job_id: str) -> Json | None:
        """Return what the daemon says of a job, or ``None`` when there is no such job."""
        return next((job for job in self.command("query-jobs") if job["id"] == job_id), None)

    def wait_for_change(self, timeout_s: float) -> None:
        """Block until some job has changed its status, or the time is over."""
        with self._jobs_changed:
            self._jobs_changed.wait(timeout_s)

    def wake(self) -> None:
        """Make every :meth:`wait_for_change` return."""
        with self._jobs_changed:
            self._jobs_changed.notify_all()

    def finish(self, job_id: str) -> None:
        """Wait until a job has concluded, and dismiss it; MonitorError when it failed."""
        while True:
            job = self.job(job_id)
            if job is None:
                return
            if job["status"] == "concluded":
                break
            if job["status"] == "ready":
                self.command("job-complete", id=job_id)
            self.wait_for_change(_POLL_S)
        self.command("job-dismiss", id=job_id)
        if job.get("error"):
            raise MonitorError(
                f"job '{job_id}' of qemu-storage-daemon",
                expected="it to end well",
                found=job["error"],
                cause="the storage under the array is full or failing",
                next_step="free space there, then repeat the call",
            )

    def stop(self) -> bool:
        """End the daemon and the conversation with it; return whether it went in order, with everything flushed."""
        in_order = self._process.poll() is None
        if in_order:
            try:
                self._run(self._client.execute("quit"), timeout_s=10.0)
            except (QMPError, TimeoutError):
                in_order = False
                self._process.terminate()
            try:
                in_order = self._process.wait(timeout=30) == 0 and in_order
            except subprocess.TimeoutExpired:
                in_order = False
                self._process.kill()
                self._process.wait()
        if self._loop.is_running():
            if self._listening is not None:
                self._listening.cancel()
            with suppress(QMPError, TimeoutError, EOFError, OSError):  # closed already from the other side
                self._run(self._client.disconnect(), timeout_s=5.0)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        return in_order

    async def _listen(self) -> None:
        with self._client.listener("JOB_STATUS_CHANGE") as events:
            async for _ in events:
                with self._jobs_changed:
                    self._jobs_changed.notify_all()

    def _run(self, work: Coroutine[Any, Any, _Result], timeout_s: float = _ANSWER_S) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def _gone(self, found: str) -> UnreachableError:
        words = (self._folder / "daemon.log").read_bytes()[-400:].decode(errors="replace").strip()
        return UnreachableError(
            "qemu-storage-daemon of this array",
            expected="a daemon that answers",
            found=f"{found}; it said: {words or 'nothing'}",
            cause="it was ended, or the host is out of memory",
            next_step="start the array again: it finds its volumes as they are",
        )
