"""Runs engines in processes of their own that are killed: one line on stdin is one engine.

A line is ``place seed``; the answer is the exit status. The child dies where `killed_engine` says, or at any moment at
all (seeds that are multiples of 3).
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# Loaded once for all children. Icechunk is left to each of them: it brings threads, and a child that is forked from a
# process with threads may wait for ever for a lock that one of them held.
import xarray  # noqa: F401
import zarr  # noqa: F401


def main() -> None:
    """Run engines until stdin ends."""
    for line in sys.stdin:
        place, seed = line.rsplit(maxsplit=1)
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            from wells.acquisition import killed_engine  # only the child may have its threads

            os.write(tell, b"!")
            killed_engine.child(place, int(seed))
            os._exit(0)
        os.close(tell)
        os.read(ready, 1)  # what follows is timed from here: its imports are over (or it has failed)
        os.close(ready)
        if int(seed) % 3 == 0:
            time.sleep(random.Random(seed).uniform(0.02, 0.4))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
