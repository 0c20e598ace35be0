"""Start a program, wait until it is ready, and end exactly that program again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from nightwell.errors import UnreachableError

_LAST_BYTES = 4_000


class LocalProcess:
    """A program of ours, with its log in a file.

    Parameters
    ----------
    command
        Program and arguments.
    log
        File that takes both outputs; its end is shown when the program fails.
    environment
        Added to our own environment.
    name
        What the program is called in errors.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None, name: str = ""
    ) -> None:
        self.name = name or command[0]
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                # A Ctrl-C at the terminal reaches us alone, so that we can end the parts in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    def wait_ready(self, ready: Callable[[], bool], *, timeout_s: float = 60.0) -> Self:
        """Wait until ``ready()`` holds.

        Raises
        ------
        UnreachableError
            The program ended, or was not ready in time; it is ended.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            status = self._process.poll()
            if status is None and ready():
                return self
            if status is not None or time.monotonic() > deadline:
                self.stop()
                end = "no answer" if status is None else f"exit status {status}"
                raise UnreachableError(
                    f"local process '{self.name}'",
                    expected=f"it to be ready within {timeout_s:.0f} s",
                    found=f"{end}; it said: {self._last_words()}",
                    cause="a busy machine, a port in use, or a broken installation",
                    next_step=f"read {self.log}",
                )
            time.sleep(0.05)

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """End the program: first with a request, then by force."""
        if self._process.poll() is not None:
            return
        self._signal_group(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the program at once, as a power cut of its host would."""
        if self._process.poll() is None:
            self._signal_group(signal.SIGKILL)
        self._process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        # The program leads its own session, so its children end with it.
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _last_words(self) -> str:
        text = self.log.read_bytes()[-_LAST_BYTES:].decode(errors="replace").strip()
        return text or "nothing"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Tell whether something accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def python(*arguments: str) -> list[str]:
    """Return the command that runs this interpreter with ``arguments``."""
    return [sys.executable, *arguments]
