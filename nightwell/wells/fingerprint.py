"""What a result was made from, as one digest; known before anything is computed, so that nothing is computed twice.

Every attribute of a result whose name ends in ``_version`` or ``_settings`` takes part: a part of the method that
records its version there is in the fingerprint without another line of code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import xarray as xr
from blake3 import blake3

_ENDINGS = ("_version", "_settings")


def versions_in(attributes: Mapping[str, object]) -> dict[str, str]:
    """Return what says with which versions and settings a result was made, by name, sorted."""
    return {name: str(attributes[name]) for name in sorted(map(str, attributes)) if name.endswith(_ENDINGS)}


def planned_fingerprint(well: str, inputs: Mapping[str, str], versions: Mapping[str, object]) -> str:
    """Return the fingerprint that an analysis is going to have.

    Parameters
    ----------
    well
        Name of the well.
    inputs
        Version ids of what the scans are read from, by name.
    versions
        Of the method, as :meth:`~nightwell.wells.method.Method.as_attributes` gives them, and the
        ``contract_version`` of the result; attributes of another name do not count.
    """
    counted = {name: value for name, value in versions.items() if name.endswith(_ENDINGS)}
    named = {"well": well, "inputs": dict(inputs)} | counted
    return blake3(json.dumps(named, sort_keys=True).encode()).hexdigest(length=16)


def fingerprint_of(result: xr.DataTree) -> str:
    """Return the digest of all versions that a result was made from."""
    attributes = {str(name): value for name, value in result.attrs.items()}
    return planned_fingerprint(str(attributes["well"]), attributes["inputs"], attributes)
