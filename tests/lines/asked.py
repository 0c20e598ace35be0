"""The test's side of an agent: ask it to do something in its host, and wait for the answer when it is wanted."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from nightwell.local.process import python

AGENT = python(str(Path(__file__).parent / "agent.py"))


class Agent:
    """A program in one host, spoken to over its pipes.

    Parameters
    ----------
    output, answers
        Its standard input and output.
    """

    def __init__(self, output: IO[bytes], answers: IO[bytes]) -> None:
        self.environment: dict[str, str] = {}  # laid over its own from the next question on
        self._output = output
        self._answers: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._listen, args=(answers,), daemon=True).start()

    def ask(self, call: str, **arguments: object) -> None:
        """Ask for something; :meth:`answer` gives what came of it."""
        asked = {"call": call, "arguments": arguments, "environment": self.environment}
        self._output.write(json.dumps(asked).encode() + b"\n")
        self._output.flush()

    def answer(self, *, timeout_s: float = 120.0) -> Any:
        """Wait for the answer to the oldest question."""
        line = self._answers.get(timeout=timeout_s)
        assert line, "the agent has ended"
        found = json.loads(line)
        assert "result" in found, found["error"]
        return found["result"]

    def do(self, call: str, **arguments: object) -> Any:
        """Ask, and wait for the answer."""
        self.ask(call, **arguments)
        return self.answer()

    def _listen(self, answers: IO[bytes]) -> None:
        with suppress(OSError, ValueError):  # the pipe was closed under us
            for line in answers:
                self._answers.put(line)
        self._answers.put(b"")


class AgentProcess(Agent):
    """An agent that this process has started; leaving it ends it."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=dict(environment)
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        super().__init__(self._process.stdin, self._process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
