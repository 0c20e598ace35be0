"""The gate: what a program inside a container or a machine waits for before it starts.

A small shell stands in front of the program and reads one text from a pipe: the environment, the files, and the leave
to start. So no credential is ever on disk or in a command line, everything outside (network, limits) is ready when the
program begins, and a producer that dies before it gave leave leaves a shell that ends by itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

GATE_DESCRIPTOR = 3
NO_LEAVE_STATUS = 125

_WAIT = f'eval "$(cat <&{GATE_DESCRIPTOR})"; exit {NO_LEAVE_STATUS}'


def gated(command: tuple[str, ...]) -> list[str]:
    """Return the command that waits at the gate, then becomes ``command``."""
    return ["/bin/sh", "-c", _WAIT, "gate", *command]


def leave(environment: Mapping[str, str], files: Mapping[str, str], command: tuple[str, ...] = ()) -> bytes:
    """Return the text that opens the gate; NUL bytes have no place in any of it.

    With ``command`` that is what starts, else what the shell was given.
    """
    lines = ["umask 077"]
    for name, text in files.items():
        if "/" in name:
            lines.append(f"mkdir -p -- {shlex.quote(name.rpartition('/')[0])}")
        lines.append(f"printf %s {shlex.quote(text)} > {shlex.quote(name)}")
    lines += [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    # The last line: a text that was cut lacks it, and nothing starts.
    program = shlex.join(command) if command else '"$@"'
    lines.append(f"exec {program} {GATE_DESCRIPTOR}<&-")
    return "\n".join(lines).encode()
