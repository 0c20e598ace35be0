"""An EMULATOR of a Stanford Research Systems RGA head on a pseudo-terminal: no instrument, and no measurement.

It speaks the documented command set as far as a driver uses it: commands end with CR, text answers with LF CR, and
currents are four bytes, little-endian, two's complement, in 1e-16 A; commands that change the hardware answer with the
status byte as text. Faults can be switched on while it runs.
"""

from __future__ import annotations

import os
import re
import select
import struct
import threading
import tty
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_TEXT_END = b"\n\r"
_LARGEST = 2**31 - 1


@dataclass
class Faults:
    """What goes wrong; read before each answer.

    Parameters
    ----------
    silent
        No answer at all, as with a cable out.
    cut_to_bytes
        A scan ends after so many bytes.
    registers
        Error registers by command: ``{"EF": 0x40}`` is a filament that does not come on.
    """

    silent: bool = False
    cut_to_bytes: int | None = None
    registers: dict[str, int] = field(default_factory=dict)


def _spectrum(mass: int) -> int:
    """Return the emulated current at an m/z [1e-16 A]: air and water over a small floor."""
    peaks = {2: 900, 14: 70_000, 16: 25_000, 18: 40_000, 28: 1_000_000, 29: 7_500, 32: 230_000, 40: 11_000, 44: 600}
    return peaks.get(mass, 3)


# Default, lowest and highest value of what can be set; the last says whether setting answers with the status byte.
_SETTINGS: dict[str, tuple[float, float, float, bool]] = {
    "EE": (70, 25, 105, True),
    "IE": (1, 0, 1, True),
    "VF": (90, 0, 150, True),
    "FL": (0.0, 0.0, 3.5, True),
    "HV": (0, 0, 2490, True),
    "MI": (1, 1, 300, False),
    "MF": (300, 1, 300, False),
    "NF": (4, 0, 7, False),
    "SA": (10, 10, 25, False),
    "MV": (1400, 0, 2490, False),
    "MG": (1.0, 0, 2000, False),
    "SP": (0.1, 0, 10, False),
    "ST": (0.01, 0, 100, False),
}
_DECIMALS = {"FL": 2, "MG": 4, "SP": 4, "ST": 4}
# Error registers, and the bit of the status byte (ER?) that each raises.
_REGISTERS = {"EP": 6, "ED": 5, "EQ": 4, "EM": 3, "EF": 1, "EC": 0}


class SrsRgaEmulator:
    """The emulator; use it as a context, and open ``device`` as the serial line.

    Parameters
    ----------
    model
        100, 200 or 300: the last m/z.
    spectrum
        Current at an m/z [1e-16 A]; by default air and water.
    """

    def __init__(self, model: int = 200, spectrum: Callable[[int], int] = _spectrum) -> None:
        self.faults = Faults()
        self.commands: list[str] = []
        self._model, self._spectrum = model, spectrum
        self._values = {name: default for name, (default, *_) in _SETTINGS.items()}
        self._values["MF"] = float(model)
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.device = os.ttyname(self._slave)
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._stop_write, b"x")
        self._thread.join()
        for handle in (self._master, self._slave, self._stop_read, self._stop_write):
            os.close(handle)

    def value(self, name: str) -> float:
        """Return a parameter, as ``MI?`` would."""
        return self._values[name]

    def _serve(self) -> None:
        waiting = b""
        while True:
            ready, _, _ = select.select([self._master, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            try:
                waiting += os.read(self._master, 4096)
            except OSError:
                return  # the other end hung up
            *commands, waiting = waiting.split(b"\r")
            for command in commands:
                self._answer(command.decode("ascii", "replace").strip().upper())

    def _answer(self, command: str) -> None:
        if not command:
            return
        self.commands.append(command)
        answer = self._reply(command)
        if self.faults.silent:
            return
        if command.startswith(("HS", "MR", "SC")) and self.faults.cut_to_bytes is not None:
            answer = answer[: self.faults.cut_to_bytes]
        while answer:
            answer = answer[os.write(self._master, answer) :]

    def _reply(self, command: str) -> bytes:
        match = re.fullmatch(r"([A-Z]{2})(\?|\*|[-+.\dE]*)", command)
        if match is None:
            return self._bad(0)
        name, argument = match.groups()
        if name in _SETTINGS:
            return self._setting(name, argument)
        if name in _REGISTERS and argument == "?":
            return _text(str(self.faults.registers.get(name, 0)))
        handlers: dict[str, Callable[[], bytes]] = {
            "ID": lambda: _text(f"SRSRGA{self._model}VER0.24SN12345"),
            "ER": lambda: _text(str(self._status())),
            "IN": lambda: self._initialise(argument),
            "TP": lambda: self._total_pressure(argument),
            "HP": lambda: _text(str(self._last() - self._first() + 1)),
            "AP": lambda: _text(str(int((self._last() - self._first()) * self._values["SA"]) + 1)),
            "HS": self._histogram,
            "SC": self._analog,
            "MR": lambda: self._single(argument),
            "ML": lambda: b"",
            "CL": lambda: _text(str(self._status())),
            "CA": lambda: _text(str(self._status())),
        }
        handler = handlers.get(name)
        return self._bad(0) if handler is None else handler()

    def _setting(self, name: str, argument: str) -> bytes:
        default, lowest, highest, answers = _SETTINGS[name]
        if argument == "?":
            return _text(f"{self._values[name]:.{_DECIMALS.get(name, 0)}f}")
        try:
            value = default if argument in {"*", ""} else float(argument)
        except ValueError:
            return self._bad(1)
        if not lowest <= value <= (min(highest, self._model) if name in {"MI", "MF"} else highest):
            return self._bad(1)
        if (name == "MI" and value > self._values["MF"]) or (name == "MF" and value < self._values["MI"]):
            return self._bad(6)
        self._values[name] = value
        return _text(str(self._status())) if answers else b""

    def _initialise(self, argument: str) -> bytes:
        if argument in {"1", "2"}:
            self._values.update({name: default for name, (default, *_) in _SETTINGS.items()}, MF=float(self._model))
        self.faults.registers.pop("EC", None)
        return _text(str(self._status()))

    def _total_pressure(self, argument: str) -> bytes:
        if argument != "?":
            return b""
        on = self._values["FL"] > 0 and self._values["HV"] == 0  # the multiplier takes the total current away
        return _long(sum(self._spectrum(mass) for mass in range(1, self._model + 1)) if on else 0)

    def _histogram(self) -> bytes:
        masses = range(self._first(), self._last() + 1)
        return b"".join(_long(self._current(mass)) for mass in masses) + self._total_pressure("?")

    def _analog(self) -> bytes:
        steps = int((self._last() - self._first()) * self._values["SA"]) + 1
        masses = [self._first() + step / self._values["SA"] for step in range(steps)]
        points = [round(self._current(round(m)) * max(0.0, 1 - (2 * (m - round(m))) ** 2)) for m in masses]
        return b"".join(map(_long, points)) + self._total_pressure("?")

    def _single(self, argument: str) -> bytes:
        if argument == "0":
            return b""  # the rods rest
        if not argument.isdigit() or not 1 <= int(argument) <= self._model:
            return self._bad(1)
        return _long(self._current(int(argument)))

    def _current(self, mass: int) -> int:
        return self._spectrum(mass) if self._values["FL"] > 0 else 0

    def _bad(self, bit: int) -> bytes:
        self.faults.registers["EC"] = self.faults.registers.get("EC", 0) | 1 << bit
        return b""

    def _status(self) -> int:
        return sum(1 << bit for name, bit in _REGISTERS.items() if self.faults.registers.get(name))

    def _first(self) -> int:
        return int(self._values["MI"])

    def _last(self) -> int:
        return int(self._values["MF"])


def _text(answer: str) -> bytes:
    return answer.encode() + _TEXT_END


def _long(value: int) -> bytes:
    return struct.pack("<i", min(value, _LARGEST))
