"""Loaded by Python itself in the workers of a kill test, and in the flow processes that they start.

Nightwell has no place at which a stranger may step between its effects, and needs none but for this.
"""

import os
from pathlib import Path

if folder := os.environ.get("NIGHTWELL_TEST_STRIKES"):
    from kills.striking_flows import install

    install(Path(folder))
