"""Fixtures that several test packages share."""

from __future__ import annotations

import signal

from real_files import real_file
from s3 import identity_seaweed, moto_server, seaweed

__all__ = ["identity_seaweed", "moto_server", "real_file", "seaweed"]

# A shell that runs the suite in the background has SIGINT ignored, and every program inherits that: no Ctrl-C of a test
# would arrive anywhere.
signal.signal(signal.SIGINT, signal.default_int_handler)
