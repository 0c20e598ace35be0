"""The channels that logs are known to carry, and how a column of a file is recognised as one.

The table is ``data/channels.csv``: one row per channel, with the names it goes by (mnemonics of WITS and of logging
companies among them), its unit here, the unit assumed when a header gives none, and the limits beyond which a value
cannot be real.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files

from nightwell.errors import InputError


class ChannelKind(StrEnum):
    """What a channel is to the importers."""

    DEPTH = "depth"
    TIME = "time"
    GAS = "gas"  # an amount; an exact zero may be a clipped or missing value
    GAS_IN = "gas_in"  # an amount in the mud that goes in: recycled gas
    REPORTED = "reported"  # computed by the logging company; kept for comparison
    DRILLING = "drilling"


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: names it goes by, units, and the limits of what can be real (in ``unit``)."""

    name: str
    kind: ChannelKind
    unit: str
    assumed_unit: str
    minimum: float
    maximum: float
    names: tuple[str, ...]
    meaning: str


@dataclass(frozen=True, slots=True)
class Header:
    """A column's header: the text as it stands, its name without unit, and the unit (empty when there is none)."""

    text: str
    name: str
    unit: str


@cache
def known_channels() -> dict[str, Channel]:
    """Return all channels by name."""
    lines = files("nightwell.wells").joinpath("data", "channels.csv").read_text(encoding="utf-8").splitlines()
    return {
        row["channel"]: Channel(
            name=row["channel"],
            kind=ChannelKind(row["kind"]),
            unit=row["unit"],
            assumed_unit=row["assumed_unit"],
            minimum=float(row["minimum"] or "-inf"),
            maximum=float(row["maximum"] or "inf"),
            names=tuple(row["names"].split("|")),
            meaning=row["meaning"],
        )
        for row in csv.DictReader(lines)
    }


def parse_header(text: str, unit: str = "") -> Header:
    """Split ``Pump flow (gpm)`` into name and unit; a unit given beside the header counts when it holds none."""
    match = re.fullmatch(r"(.*?)\s*[(\[]([^()\[\]]*)[)\]]\s*", text)
    name, found = (match.group(1), match.group(2)) if match else (text, unit)
    found = found.strip()
    return Header(text=text.strip(), name=name.strip(), unit="" if found in {"-", "--", "none", "unitless"} else found)


def recognise(headers: Iterable[Header]) -> dict[str, Header]:
    """Return the header of each channel that a file carries.

    Raises
    ------
    InputError
        Two columns go by names of the same channel.
    """
    found: dict[str, Header] = {}
    for header in headers:
        channel = _by_name().get(_key(header.name))
        if channel is None:
            continue
        if channel in found:
            raise InputError(
                f"column '{header.text}'",
                expected=f"one column for {channel}",
                found=f"'{found[channel].text}' and '{header.text}'",
                cause="two runs or two sensors stand in one file",
                next_step="remove or rename one of the two columns",
            )
        found[channel] = header
    return found


def nearest_names(name: str, *, limit: int = 3) -> tuple[str, ...]:
    """Return the known names that are most like a header's name, best first; empty when none is near."""
    keys = difflib.get_close_matches(_key(name), list(_by_name()), n=limit, cutoff=0.6)
    return tuple(dict.fromkeys(_by_name()[key] for key in keys))


def require(found: dict[str, Header], wanted: Iterable[str], headers: Iterable[Header], *, subject: str) -> None:
    """Check that a file carries channels.

    Raises
    ------
    InputError
        Listing the missing channels, the names they may go by, and the unrecognised columns nearest to them.
    """
    missing = [name for name in wanted if name not in found]
    if not missing:
        return
    taken = {header.text for header in found.values()}
    free = [header for header in headers if header.text not in taken]
    hints: list[str] = []
    for name in missing:
        known = [_key(one) for one in known_channels()[name].names]
        near = [one.text for one in free if difflib.get_close_matches(_key(one.name), known, n=1, cutoff=0.6)]
        hints.append(
            f"{name} (known as {', '.join(known_channels()[name].names)}"
            + (f"; nearest here: {', '.join(near)})" if near else ")")
        )
    raise InputError(
        subject,
        expected=f"columns for {', '.join(hints)}",
        found=f"columns for {', '.join(sorted(found)) or 'none of its channels'}"
        + (f"; not recognised: {', '.join(repr(header.text) for header in free)}" if free else ""),
        cause="the columns have other names, or the file is another kind of log",
        next_step="rename the columns to known names, with the unit in parentheses",
    )


@cache
def _by_name() -> dict[str, str]:
    return {
        _key(name): channel.name for channel in known_channels().values() for name in (channel.name, *channel.names)
    }


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
