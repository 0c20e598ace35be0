"""The embedded array as a process."""

from __future__ import annotations

from collections.abc import Sequence

from nightwell.arrays.embedded.array import EmbeddedArray
from nightwell.arrays.serving import serve_array


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an embedded array until a signal ends it; return the exit code; see :func:`serve_array`."""
    return serve_array(EmbeddedArray, module="nightwell.arrays.embedded", arguments=arguments)
