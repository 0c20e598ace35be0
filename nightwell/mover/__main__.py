"""``python -m nightwell.mover``: started inside a virtual server, by a driver."""

import os
import sys

# Before numpy and the engines are loaded: their idle threads would take memory that the mover has declared for blocks.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TOKIO_WORKER_THREADS", "2")

from nightwell.mover.program import main

if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # The engines' threads may wait for a server; the work is done and told, so nobody waits for them.
    os._exit(status)
