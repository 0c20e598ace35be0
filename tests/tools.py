"""Where the tests' external programs are; one that is missing fails the test, it never skips."""

from __future__ import annotations

import pytest

from nightwell.errors import NotFoundError
from nightwell.programs import program


def tool(name: str) -> str:
    """Return the path of an external program; a missing one fails the test and says how to get it."""
    try:
        return str(program(name))
    except NotFoundError as error:
        pytest.fail(str(error))
