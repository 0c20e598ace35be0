"""The qemu array as a process, which ends when its daemon does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence

from nightwell.arrays.qemu.array import QemuArray
from nightwell.arrays.serving import ArraySettings, serve_array


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a qemu array until a signal, or the end of its daemon, ends it; return the exit code."""
    return serve_array(_open, module="nightwell.arrays.qemu", arguments=arguments)


def _open(settings: ArraySettings) -> QemuArray:
    array = QemuArray(settings)
    threading.Thread(target=_end_with, args=(array,), name="daemon-end", daemon=True).start()
    return array


def _end_with(array: QemuArray) -> None:
    array.wait_for_daemon()
    if array.failure is not None:
        os.kill(os.getpid(), signal.SIGTERM)  # the way out that serve_array waits on
