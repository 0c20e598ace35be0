"""Where the tests' external programs are; one that is missing fails the test, it never skips."""

from __future__ import annotations

import os

import pytest

from nightwell.errors import NotFoundError
from nightwell.programs import program

#: ``make machines``: all that is tried on emulated machines, which takes minutes of processor time.
WHOLE_MACHINES = os.environ.get("NIGHTWELL_TEST_MACHINES") == "whole"


def tool(name: str) -> str:
    """Return the path of an external program; a missing one fails the test and says how to get it."""
    try:
        return str(program(name))
    except NotFoundError as error:
        pytest.fail(str(error))
