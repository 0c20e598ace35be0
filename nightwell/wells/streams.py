"""The four streams of the instrument and the kinds of scan, with the codes that stand in the arrays."""

from __future__ import annotations

from enum import StrEnum


class Stream(StrEnum):
    """What the instrument breathes; the value is the name of the stream's group in a cube."""

    TRAP_GAS = "trap_gas"  # gas trapped from the mud return; continuous, lagged
    MUD_FLUID = "mud_fluid"  # headspace of a mud sample; discrete
    CUTTINGS_BACKGROUND = "cuttings_background"  # volatiles of uncrushed cuttings; discrete
    CUTTINGS_CRUSH = "cuttings_crush"  # fluid inclusions freed by crushing; discrete

    @property
    def code(self) -> int:
        """The int8 code of the stream in the ``stream`` variable of raw scans."""
        return _STREAM_ORDER.index(self)

    @property
    def discrete(self) -> bool:
        """True when scans carry their own ``sample_depth`` instead of being registered by lag."""
        return self is not Stream.TRAP_GAS


class ScanKind(StrEnum):
    """What a scan is for."""

    SAMPLE = "sample"
    BLANK = "blank"  # the stream's background: what stands in the spectrum without the sample
    STANDARD = "standard"  # a gas of known composition

    @property
    def code(self) -> int:
        """The int8 code of the kind in the ``kind`` variable of raw scans."""
        return _KIND_ORDER.index(self)


_STREAM_ORDER = tuple(Stream)
_KIND_ORDER = tuple(ScanKind)
