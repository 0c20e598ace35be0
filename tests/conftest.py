"""Fixtures that several test packages share."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest
from real_files import real_file
from s3 import identity_seaweed, moto_server, seaweed

from nightwell.logs import ROOT

__all__ = ["identity_seaweed", "moto_server", "real_file", "seaweed"]

# A shell that runs the suite in the background has SIGINT ignored, and every program inherits that: no Ctrl-C of a test
# would arrive anywhere.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logs_as_a_program_finds_them() -> Iterator[None]:
    """Undo what commands and flows choose for the logs of their process, which here is everybody's."""
    _reset_logs()
    yield
    _reset_logs()


def _reset_logs() -> None:
    ROOT.handlers.clear()
    ROOT.setLevel(logging.NOTSET)
    ROOT.propagate = True
