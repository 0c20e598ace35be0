"""The client of an embedded array that runs as its own process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from nightwell.arrays import control
from nightwell.arrays.control import A, Call, NoArguments, Owned, R, VolumeName
from nightwell.arrays.port import Capabilities, Export, PairInfo, VolumeInfo
from nightwell.errors import ConflictError, CredentialsError, FormatError, UnreachableError, from_dict

_MOST_IDLE = 4


class ArrayClient:
    """An array in another process, reached by its control socket; thread-safe.

    Parameters
    ----------
    path
        The control socket.
    name
        Name of the array; when given, another array at that socket is refused (ConflictError).
    timeout_s
        How long a call may take. A call that was cut off may have been carried out: repeat it, every call may be.

    Raises
    ------
    UnreachableError
        From every call, when no array answers at the socket.
    """

    def __init__(self, path: Path | str, *, name: str | None = None, timeout_s: float = 120.0) -> None:
        self._path = Path(path)
        self._asked_name = name
        self._timeout_s = timeout_s
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The array's name."""
        if self._asked_name is not None:
            return self._asked_name
        connection = self._connect()
        self._give_back(connection)
        return connection.array_name

    @property
    def capabilities(self) -> Capabilities:
        """What this driver can do."""
        return self._ask(control.CAPABILITIES, NoArguments())

    def close(self) -> None:
        """Close idle connections; a later call opens a new one."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # -- the port ------------------------------------------------------------------------------------------------

    def volumes(self) -> tuple[VolumeInfo, ...]:
        """Return every volume, sorted by name."""
        return self._ask(control.VOLUMES, NoArguments())

    def create_volume(self, name: str, size_bytes: int, *, owner: str | None = None) -> VolumeInfo:
        """Make a zero-filled volume."""
        return self._ask(control.CREATE_VOLUME, control.CreateVolume(name, size_bytes, owner))

    def grow_volume(self, name: str, size_bytes: int) -> VolumeInfo:
        """Make a volume larger."""
        return self._ask(control.GROW_VOLUME, control.GrowVolume(name, size_bytes))

    def delete_volume(self, name: str, *, owner: str | None = None) -> None:
        """Delete a volume."""
        self._ask(control.DELETE_VOLUME, Owned(name, owner))

    def pair_of(self, volume: str) -> PairInfo | None:
        """Return the pair of a volume."""
        return self._ask(control.PAIR_OF, VolumeName(volume))

    def create_pair(self, primary: str, secondary: str, *, owner: str | None = None) -> PairInfo:
        """Pair two volumes and start the copy."""
        return self._ask(control.CREATE_PAIR, control.CreatePair(primary, secondary, owner))

    def split(self, primaries: Sequence[str]) -> tuple[PairInfo, ...]:
        """Split pairs at one point in time."""
        return self._ask(control.SPLIT, control.Split(list(primaries)))

    def resync(self, primary: str) -> PairInfo:
        """Start bringing S back in step."""
        return self._ask(control.RESYNC, VolumeName(primary))

    def delete_pair(self, primary: str, *, owner: str | None = None) -> None:
        """Dissolve a pair; both volumes stay."""
        self._ask(control.DELETE_PAIR, Owned(primary, owner))

    def exports(self) -> tuple[Export, ...]:
        """Return every export and import, sorted by name."""
        return self._ask(control.EXPORTS, NoArguments())

    def export(self, volume: str, *, name: str | None = None, writable: bool, owner: str | None = None) -> Export:
        """Serve a volume."""
        return self._ask(control.EXPORT, control.ServeVolume(volume, writable, name, owner))

    def withdraw(self, name: str, *, owner: str | None = None) -> None:
        """Stop serving an export and cut its connections."""
        self._ask(control.WITHDRAW, Owned(name, owner))

    def import_volume(self, url: str, *, name: str, writable: bool, owner: str | None = None) -> Export:
        """Attach another array's export and serve it there."""
        return self._ask(control.IMPORT_VOLUME, control.ImportVolume(url, name, writable, owner))

    def release(self, name: str, *, owner: str | None = None) -> None:
        """Stop serving an import and detach it."""
        self._ask(control.RELEASE, Owned(name, owner))

    # -- the line ------------------------------------------------------------------------------------------------

    def _ask(self, call: Call[A, R], arguments: A) -> R:
        request = control.Request(call.name, call.arguments.dump_python(arguments, mode="json"))
        answer = self._exchange(control.REQUEST.dump_json(request))
        if answer.error is not None:
            raise from_dict(answer.error)
        try:
            return call.result.validate_python(answer.result)
        except ValidationError as problem:
            raise self._not_understood(f"an answer to {call.name} of another form") from problem

    def _exchange(self, line: bytes) -> control.Answer:
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        if idle is not None:
            try:
                return self._converse(idle, line)
            except (OSError, EOFError):
                idle.close()  # the array was restarted since; every call may be repeated
        connection = self._connect()
        try:
            return self._converse(connection, line)
        except (OSError, EOFError) as problem:
            raise self._unreachable(f"the line closed during the call ({problem})") from problem

    def _converse(self, connection: _Connection, line: bytes) -> control.Answer:
        try:
            answer = connection.exchange(line)
        except ValidationError as problem:
            connection.close()
            raise self._not_understood("an answer of another form") from problem
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return answer

    def _give_back(self, connection: _Connection) -> None:
        with self._lock:
            if len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> _Connection:
        try:
            connection = _Connection(self._path, self._timeout_s)
        except PermissionError as problem:
            raise self._not_allowed(str(problem)) from problem
        except (OSError, EOFError) as problem:
            raise self._unreachable(str(problem) or "a closed line") from problem
        except ValidationError as problem:
            raise self._not_understood("another greeting") from problem
        if connection.protocol != control.PROTOCOL:
            connection.close()
            raise self._not_understood(f"control protocol {connection.protocol}")
        if self._asked_name not in {None, connection.array_name}:
            connection.close()
            raise ConflictError(
                f"array {self._asked_name!r}",
                expected=f"array {self._asked_name!r} at control socket {self._path}",
                found=f"array {connection.array_name!r}",
                cause="two arrays' sockets were mixed up in the settings",
                next_step="give this array's own control socket",
            )
        return connection

    def _unreachable(self, found: str) -> UnreachableError:
        return UnreachableError(
            f"array {self._asked_name!r}" if self._asked_name else "array",
            expected=f"an array that answers at control socket {self._path}",
            found=found,
            cause="the array's process is not running, or runs with another control socket",
            next_step="start it (nightwell array serve), or correct the control path",
        )

    def _not_allowed(self, found: str) -> CredentialsError:
        return CredentialsError(
            f"array {self._asked_name!r}" if self._asked_name else "array",
            expected=f"leave to open control socket {self._path}",
            found=found,
            cause="the array's process belongs to another user, and its socket is open to that user alone",
            next_step="give the command, or run the worker, as the user that serves the array",
        )

    def _not_understood(self, found: str) -> FormatError:
        return FormatError(
            f"array at control socket {self._path}",
            expected=f"control protocol {control.PROTOCOL}",
            found=found,
            cause="the array's process is of another release, or another program owns the socket",
            next_step="run both from one release",
        )


class _Connection:
    """One line to the array's process; EOFError or OSError when it is closed, ValidationError on other talk."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout_s)
            with control.short_path(path) as name:
                self._socket.connect(name)
            self._stream = self._socket.makefile("rwb")
            greeting = control.GREETING.validate_json(self._line())
        except BaseException:
            self._socket.close()
            raise
        self.protocol = greeting.nightwell_array
        self.array_name = greeting.name

    def exchange(self, line: bytes) -> control.Answer:
        """Send one request and return its answer."""
        self._stream.write(line + b"\n")
        self._stream.flush()
        return control.ANSWER.validate_json(self._line())

    def close(self) -> None:
        """Close the line."""
        self._socket.close()
        self._stream.close()

    def _line(self) -> bytes:
        line = self._stream.readline()
        if not line:
            raise EOFError("the array closed the line")
        return line
