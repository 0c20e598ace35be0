"""The one validator of names: volumes, exports and imports of every driver."""

from __future__ import annotations

import re

from nightwell.errors import InputError

LONGEST_NAME = 128
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_name(kind: str, name: str) -> str:
    """Return ``name`` when it can stand in a file name and in a URL alike.

    Parameters
    ----------
    kind
        What is named, for the error: ``volume``, ``export``.
    name
        1 to 128 ASCII letters, digits, dots, dashes and underscores, a letter or digit first.

    Raises
    ------
    InputError
        The name has another form.
    """
    if len(name) <= LONGEST_NAME and _NAME.fullmatch(name):
        return name
    raise InputError(
        f"{kind} {name[: LONGEST_NAME + 1]!r}",
        expected=f"1 to {LONGEST_NAME} letters, digits, '.', '-' or '_', a letter or digit first",
        found="another form",
        cause="a path or a free text was given as a name",
        next_step="choose a plain name such as 'well-7'",
    )
