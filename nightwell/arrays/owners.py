"""Who may remove what."""

from __future__ import annotations

from nightwell.arrays.refusals import other_owner


def check_owner(what: str, owner: str | None, asked: str | None) -> None:
    """Refuse (ConflictError) to remove what belongs to another owner.

    Parameters
    ----------
    what
        The thing, for the error.
    owner
        Who made it; ``None`` is a person.
    asked
        Who wants it gone; ``None`` is a person acting by hand, who may remove everything.
    """
    if asked is not None and asked != owner:
        raise other_owner(what, owner, asked)
