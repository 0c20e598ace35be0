"""Inlet valves for instruments that have none of their own."""

from __future__ import annotations

import subprocess
from typing import Protocol

from nightwell.errors import InputError, UnreachableError


class Valve(Protocol):
    """What chooses the port that the instrument breathes through."""

    @property
    def ports(self) -> frozenset[int]:
        """Ports it has; empty: any."""

    def turn(self, port: int) -> None:
        """Turn to a port. Idempotent; blocks until it stands there.

        UnreachableError: no answer, or its place is unknown. Final: InputError (no such port).
        """


class NoValve:
    """An instrument with one inlet.

    Parameters
    ----------
    port
        The number that the schedule gives it.
    """

    def __init__(self, port: int) -> None:
        self._port = port

    @property
    def ports(self) -> frozenset[int]:
        """The one port."""
        return frozenset({self._port})

    def turn(self, port: int) -> None:
        """Do nothing, for the one port."""
        _check(port, self.ports)


class CommandValve:
    """A valve that a program turns: any actuator that the site can reach from a command line.

    Parameters
    ----------
    command
        The program and its arguments; ``{port}`` is replaced. It ends with status 0 when the valve stands there.
    ports
        Ports the valve has; empty: any.
    timeout_s
        How long the program may take.
    """

    def __init__(
        self, command: tuple[str, ...], ports: frozenset[int] = frozenset(), *, timeout_s: float = 30.0
    ) -> None:
        self._command, self._ports, self._timeout_s = command, ports, timeout_s

    @property
    def ports(self) -> frozenset[int]:
        """Ports it was said to have."""
        return self._ports

    def turn(self, port: int) -> None:
        """Run the program."""
        _check(port, self._ports)
        command = [part.replace("{port}", str(port)) for part in self._command]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=self._timeout_s, check=False)
        except FileNotFoundError as error:
            raise InputError(
                f"valve command '{command[0]}'",
                expected="a program on this machine",
                found="none of that name",
                cause="it is misspelt, or not installed",
                next_step="correct the command that turns the valve",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise _unknown(port, f"no end within {self._timeout_s:g} s") from error
        if ended.returncode != 0:
            said = (ended.stderr or ended.stdout).strip().splitlines()
            raise _unknown(port, f"exit status {ended.returncode}" + (f": {said[-1]}" if said else ""))


def _check(port: int, ports: frozenset[int]) -> None:
    if ports and port not in ports:
        raise InputError(
            f"valve port {port}",
            expected=f"one of {', '.join(map(str, sorted(ports)))}",
            found=str(port),
            cause="the schedule was written for another valve",
            next_step="correct valve_port in the schedule",
        )


def _unknown(port: int, found: str) -> UnreachableError:
    return UnreachableError(
        f"inlet valve, on its way to port {port}",
        expected="its command to end with status 0",
        found=found,
        cause="the actuator is off or stuck, or its cable is out",
        next_step="run the command by hand and look at the valve",
    )
