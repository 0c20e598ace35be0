"""Wells that a person withdrew from the nights: their scans are gone, or broken for good.

A note beside the archives says which, since when and why. Analyses, scans and records stay as they are; every night
names what it passed over because of a note, and a note can be taken back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from pydantic import TypeAdapter, ValidationError

from nightwell.errors import FormatError, InputError, NotFoundError
from nightwell.wells.archive import Place
from nightwell.wells.fleet.place import Objects

_FOLDER = "withdrawn"
_NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """One note.

    Parameters
    ----------
    name
        Of a well, of a container or repository of scans, or of a volume.
    reason
        Why, in the words of who withdrew it.
    withdrawn_at
        UTC.
    """

    name: str
    reason: str
    withdrawn_at: datetime


def withdraw(results: Place, name: str, reason: str, *, known: frozenset[str]) -> Withdrawn:
    """Withdraw a well, or the place of its scans, from the nights; a second note replaces the first.

    Parameters
    ----------
    results
        Where archives and records are kept.
    name, reason
        As in the note.
    known
        Names that there are: of wells that were analysed, of wells and places that a night finds.

    Raises
    ------
    NotFoundError
        Nothing is called so: a mistyped name must not leave the right one in the nights.
    InputError
        No reason is given.
    """
    if not reason.strip():
        raise InputError(
            f"withdrawal of '{name}'",
            expected="a reason",
            found="none",
            cause="who comes later has to know why a well is missing",
            next_step="give --reason",
        )
    if name not in known:
        listed = ", ".join(sorted(known)[:_NAMES_SHOWN])
        raise NotFoundError(
            f"well '{name}'",
            expected="a well that was analysed, or a well, container or volume that a night finds",
            found=f"none of that name; there are: {listed or 'none'}{', ...' if len(known) > _NAMES_SHOWN else ''}",
            cause="the name is misspelt, or the results stand at another place",
            next_step="see 'nightwell well fleet stale' for the names",
        )
    note = Withdrawn(name, reason.strip(), datetime.now(UTC))
    Objects(results).write(_key(name), TypeAdapter(Withdrawn).dump_json(note, indent=1))
    return note


def take_back(results: Place, name: str) -> Withdrawn:
    """Remove a note, so that nights look at the well again; NotFoundError when there is none."""
    found = withdrawn_of(results).get(name)
    if found is None:
        raise NotFoundError(
            f"well '{name}'",
            expected="a well that was withdrawn",
            found="no note of that name",
            cause="the name is misspelt, or it was taken back already",
            next_step="list them with 'nightwell well fleet withdrawn'",
        )
    Objects(results).remove(_key(name))
    return found


def withdrawn_of(results: Place) -> dict[str, Withdrawn]:
    """Return all notes by name; FormatError for one that cannot be read: it is not passed over."""
    objects = Objects(results)
    try:
        names = objects.listing(_FOLDER).objects
    except NotFoundError:
        return {}
    found = {}
    for name in names:
        try:
            note = TypeAdapter(Withdrawn).validate_json(objects.read(f"{_FOLDER}/{name}"))
        except ValidationError as error:
            raise FormatError(
                f"note '{name}' of a withdrawn well",
                expected="name, reason and time as 'nightwell well forget' writes them",
                found=str(error.errors()[0]["msg"]),
                cause="the file was edited",
                next_step="mend it, or remove it and withdraw the well again",
            ) from error
        found[note.name] = note
    return found


def analysed_wells(results: Place) -> frozenset[str]:
    """Return the names of all wells that have an archive at a place."""
    try:
        return frozenset(unquote(name) for name in Objects(results).listing("analyses").folders)
    except NotFoundError:
        return frozenset()


def _key(name: str) -> str:
    return f"{_FOLDER}/{quote(name, safe='')}.json"
