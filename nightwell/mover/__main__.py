"""``python -m nightwell.mover``: started inside a virtual server, by a driver."""

import ctypes
import os
import sys
import threading
from contextlib import suppress

# Before numpy and the engines are loaded: idle threads, their stacks and their heaps would take memory that the mover
# has declared for blocks. Measured on 524,288 changed blocks: 484 MiB with all four lines, 618 MiB without.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TOKIO_WORKER_THREADS", "2")
threading.stack_size(1 << 20)
with suppress(AttributeError):  # only glibc keeps heaps by thread
    ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX

from nightwell.mover.program import main  # noqa: E402 - the settings above count for what this loads

if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # The engines' threads may wait for a server; the work is done and told, so nobody waits for them.
    os._exit(status)
