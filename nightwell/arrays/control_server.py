"""The control socket: carries out the port's calls for other processes of the same user."""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from nightwell.arrays.call_log import logging_call
from nightwell.arrays.control import (
    ANSWER,
    CALLS,
    GREETING,
    LONGEST_LINE_BYTES,
    PROTOCOL,
    REQUEST,
    Answer,
    Greeting,
    short_path,
)
from nightwell.arrays.port import Array
from nightwell.errors import InputError, NightwellError

_log = logging.getLogger(__name__)
_BACKLOG = 64
_LAST_CALLS_S = 10.0


class ControlServer:
    """Serves one array on a Unix socket that only its user may open; one thread per connection.

    Parameters
    ----------
    array
        Carries the calls out; thread-safe.
    path
        The socket; a stale one is replaced (the caller holds the array's directory, so nobody else serves it).

    Raises
    ------
    InputError
        The socket cannot be made there.
    """

    def __init__(self, array: Array, path: Path) -> None:
        self._array = array
        self.path = path
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stopped = False
        try:
            self._listener = _listen(path)
        except OSError as problem:
            raise InputError(
                f"control socket {path}",
                expected="a path where a socket can be made",
                found=str(problem),
                cause="the directory is missing or belongs to another user",
                next_step="give another path with --control",
            ) from problem
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more calls, close every connection, and wait a while for the calls under way to end, unheard."""
        with self._lock:
            self._stopped = True
            connections = dict(self._connections)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.path.unlink(missing_ok=True)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _LAST_CALLS_S
        for thread in connections.values():
            thread.join(max(deadline - time.monotonic(), 0))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._stopped:
                    return
                _log.warning("control socket: accept failed", exc_info=True)
                continue
            with self._lock:
                if self._stopped:
                    connection.close()
                    continue
                thread = threading.Thread(target=self._converse, args=(connection,), name="control-call", daemon=True)
                self._connections[connection] = thread
                thread.start()

    def _converse(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                _send(connection, GREETING.dump_json(Greeting(PROTOCOL, self._array.name)))
                while line := stream.readline(LONGEST_LINE_BYTES + 1):
                    if len(line) > LONGEST_LINE_BYTES or not line.endswith(b"\n"):
                        _send(connection, ANSWER.dump_json(_refused("a line too long or cut off")))
                        return
                    _send(connection, ANSWER.dump_json(self._answer(line)))
        except OSError:
            pass  # the client went away; its call has been carried out, and every call may be repeated
        finally:
            with self._lock:
                self._connections.pop(connection, None)

    def _answer(self, line: bytes) -> Answer:
        try:
            request = REQUEST.validate_json(line)
            call = CALLS.get(request.call)
            if call is None:
                return _refused(f"the unknown call {request.call[:64]!r}")
            with logging_call(self._array.name, request):
                return Answer(result=call.serve(self._array, request.arguments))
        except ValidationError as problem:
            first = problem.errors(include_url=False, include_input=False)[0]
            return _refused(f"{'.'.join(str(part) for part in first['loc']) or 'the line'}: {first['msg']}")
        except NightwellError as problem:
            return Answer(error=problem.as_dict())
        except Exception as problem:  # noqa: BLE001 - one call's fault must not take the others' array away
            _log.exception("control call failed")
            return Answer(error=_broken(problem).as_dict())


def _listen(path: Path) -> socket.socket:
    """Bind beside the final name, close the socket to others, then move it there: it is never open to all."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(fresh) as name:
            listener.bind(name)
            Path(name).chmod(0o600)
        listener.listen(_BACKLOG)
        fresh.replace(path)
    except BaseException:
        listener.close()
        raise
    return listener


def _send(connection: socket.socket, line: bytes) -> None:
    connection.sendall(line + b"\n")


def _refused(found: str) -> Answer:
    error = InputError(
        "control request",
        expected='one line {"call": ..., "arguments": {...}} of this protocol',
        found=found,
        cause="the client is of another release, or no client of this array",
        next_step="use the client that came with this array",
    )
    return Answer(error=error.as_dict())


def _broken(problem: Exception) -> NightwellError:
    return NightwellError(
        "array",
        expected="the call to be carried out",
        found=f"{type(problem).__name__}: {problem}",
        cause="a fault of the system under the array, or of the array itself",
        next_step="look into the array's log",
    )
