"""The type of the fixture that writes a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

WriteFile = Callable[..., Path]
