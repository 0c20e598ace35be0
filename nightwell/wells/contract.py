"""The contract of raw scans and of the cube: what every importer writes and every analysis reads.

Both are :class:`xarray.DataTree` objects; docs/cube-contract.md says the same for people. Rules that hold for both:

- SI units, except depth in metres along the hole, rate of penetration in m/h and amounts in ppm by volume.
- Times are UTC, ``datetime64[ns]``. A missing float is NaN. A missing measurement is never zero.
- The m/z axis has unit resolution: whole, increasing numbers.
- The root group says which well, which instrument and which contract version, and whether anything in it is
  simulated (``simulated`` 0 or 1) with ``provenance`` saying in words which parts are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from nightwell.errors import FormatError
from nightwell.wells.instrument import Instrument
from nightwell.wells.streams import ScanKind, Stream
from nightwell.wells.variables import TIME_DTYPE, Variable, check_increasing, check_variables, refuse

CONTRACT_VERSION = 1

#: What the acquisition has to say of a scan, as bits.
SCAN_FLAGS = ("gap_before", "clock_jumped", "short_purge", "late", "high_blank", "saturated")

SCANS = (
    Variable("intensity", ("scan", "mz"), "float32", "A", "ion current; NaN where the m/z was not measured"),
    Variable("mz", ("mz",), "float64", "1", "mass-to-charge ratio, whole numbers"),
    Variable("time", ("scan",), TIME_DTYPE, "", "start of the scan, UTC"),
    Variable("stream", ("scan",), "int8", "", "what the instrument breathes", codes=tuple(Stream)),
    Variable("kind", ("scan",), "int8", "", "what the scan is for", codes=tuple(ScanKind)),
    Variable("valve", ("scan",), "int8", "", "port of the inlet valve; -1 when unknown"),
    Variable("pressure", ("scan",), "float64", "Pa", "pressure in the analyser; NaN when unknown"),
    Variable("sample_depth", ("scan",), "float64", "m", "depth of a discrete sample; NaN otherwise", required=False),
    Variable("collected", ("scan",), TIME_DTYPE, "", "when cuttings left the hole; NaT otherwise", required=False),
    Variable("flag", ("scan",), "int16", "", "what to know of the scan", codes=SCAN_FLAGS, masks=True, required=False),
)

#: Why there are no scans for a time, or a sample is missing.
GAP_REASONS = ("stopped", "instrument", "clock", "missed", "source")

GAPS = (
    Variable("start", ("gap",), TIME_DTYPE, "", "end of the last scan before, UTC"),
    Variable("end", ("gap",), TIME_DTYPE, "", "when acquisition went on, UTC"),
    Variable("reason", ("gap",), "int8", "", "why", codes=GAP_REASONS),
    Variable("stream", ("gap",), "int8", "", "code of the stream of a missed sample; -1 for all streams"),
    Variable("sample_depth", ("gap",), "float64", "m", "depth of a missed sample; NaN otherwise"),
)

DRILLING = (
    Variable("time", ("time",), TIME_DTYPE, "", "UTC"),
    Variable("bit_depth", ("time",), "float64", "m", "depth of the bit along the hole"),
    Variable("rop", ("time",), "float64", "m/h", "rate of penetration; 0 while not drilling"),
    Variable("flow", ("time",), "float64", "m3/s", "mud flow into the hole"),
    Variable("hole_diameter", ("time",), "float64", "m", "diameter of the hole at the bit"),
    Variable("pipe_diameter", ("time",), "float64", "m", "outer diameter of the drill pipe"),
    Variable("gas_out", ("time",), "float64", "ppm", "total gas of the mud that comes out", required=False),
    Variable("gas_in", ("time",), "float64", "ppm", "total gas of the mud that goes in", required=False),
)

CARBIDE = (
    Variable("dropped", ("check",), TIME_DTYPE, "", "when the carbide went into the pipe, UTC"),
    Variable("seen", ("check",), TIME_DTYPE, "", "when its acetylene peaked at the instrument, UTC"),
)

GEOMETRY = (
    Variable("top", ("section",), "float64", "m", "upper end of the section along the hole"),
    Variable("bottom", ("section",), "float64", "m", "lower end of the section along the hole"),
    Variable("hole_diameter", ("section",), "float64", "m", "inner diameter of casing, riser or open hole"),
    Variable("pipe_diameter", ("section",), "float64", "m", "outer diameter of the pipe inside"),
)

TRUTH = (
    Variable("depth", ("depth",), "float64", "m", "depth along the hole"),
    Variable(
        "composition", ("stream", "depth", "species"), "float32", "ppm", "amount in the inlet, blank not included"
    ),
)

FLAGS = ("no_scans", "no_blank", "saturated", "no_circulation", "off_bottom", "carry_over", "hot_blank")

CUBE = (
    Variable("intensity", ("depth", "mz"), "float32", "A", "mean ion current, blank removed; NaN where not measured"),
    Variable("variance", ("depth", "mz"), "float32", "A2", "variance of that mean"),
    Variable("depth", ("depth",), "float64", "m", "middle of the depth bin along the hole"),
    Variable("mz", ("mz",), "float64", "1", "mass-to-charge ratio, whole numbers"),
    Variable("scan_count", ("depth",), "int32", "1", "number of scans in the bin"),
    Variable("depth_error", ("depth",), "float64", "m", "one-sigma error of the registered depth"),
    Variable("recycled_share", ("depth",), "float64", "1", "share of the gas that came round again", required=False),
    Variable("shared_share", ("depth",), "float64", "1", "share of the variance common to neighbours", required=False),
    Variable("flag", ("depth",), "int16", "", "what to know before using the row", codes=FLAGS, masks=True),
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the data come from; the attributes of every root group.

    Parameters
    ----------
    well
        Name of the well.
    instrument
        What is known of the instrument.
    simulated
        True when any part is simulated.
    provenance
        Which parts were measured (and from which file) and which are simulated, in words.
    """

    well: str
    instrument: Instrument
    simulated: bool
    provenance: str

    def as_attributes(self, contract: str) -> dict[str, object]:
        """Return the root group's attributes for the contract named ``scans`` or ``cube``."""
        return {
            "contract": f"nightwell {contract}",
            "contract_version": CONTRACT_VERSION,
            "well": self.well,
            "simulated": int(self.simulated),
            "provenance": self.provenance,
            **self.instrument.as_attributes(),
        }

    @classmethod
    def of(cls, tree: xr.DataTree) -> Origin:
        """Read the origin of raw scans or of a cube."""
        return cls(
            well=str(tree.attrs["well"]),
            instrument=Instrument.from_attributes({str(name): value for name, value in tree.attrs.items()}),
            simulated=bool(tree.attrs["simulated"]),
            provenance=str(tree.attrs["provenance"]),
        )


def validate_scans(tree: xr.DataTree) -> None:
    """Check raw scans against the contract; of the two-dimensional arrays nothing is read.

    Parameters
    ----------
    tree
        Groups ``/scans`` and, optionally, ``/drilling``, ``/geometry`` and ``/truth``.

    Raises
    ------
    InputError
        Naming the variable, what was expected, what was found and the likely cause.
    FormatError
        When the contract version is newer than this release knows.
    """
    _check_root(tree, "scans", ("scans",))
    scans = tree["scans"].to_dataset()
    check_variables(scans, SCANS, where="group '/scans'")
    check_mz(scans["mz"].to_numpy(), where="group '/scans'")
    check_increasing(scans["time"].to_numpy(), subject="variable 'time' of group '/scans'", strictly=False)
    for name, codes in (("stream", len(Stream)), ("kind", len(ScanKind))):
        values = scans[name].to_numpy()
        if values.size and (values.min() < 0 or values.max() >= codes):
            raise refuse(
                f"variable '{name}' of group '/scans'",
                f"codes 0 to {codes - 1}",
                f"{values.min()} to {values.max()}",
                "a code of a newer release, or rows never filled",
            )
    if "drilling" in tree.children:
        drilling = tree["drilling"].to_dataset()
        check_variables(drilling, DRILLING, where="group '/drilling'")
        check_increasing(drilling["time"].to_numpy(), subject="variable 'time' of group '/drilling'")
        if "gas_line_delay_s" not in drilling.attrs:
            raise refuse("group '/drilling'", "attribute gas_line_delay_s", "none", "it was not written")
    for name, variables in (("geometry", GEOMETRY), ("carbide", CARBIDE), ("gaps", GAPS)):
        if name in tree.children:
            check_variables(tree[name].to_dataset(), variables, where=f"group '/{name}'")
    if "truth" in tree.children:
        _check_truth(tree)


def validate_cube(tree: xr.DataTree) -> None:
    """Check a cube against the contract; of the two-dimensional arrays nothing is read.

    Parameters
    ----------
    tree
        One group per stream, named by :class:`Stream`; at least one.

    Raises
    ------
    InputError
        Naming the variable, what was expected, what was found and the likely cause.
    FormatError
        When the contract version is newer than this release knows.
    """
    _check_root(tree, "cube", ())
    groups = [name for name in tree.children if name in tuple(Stream)]
    if not groups:
        raise refuse(
            "the cube",
            f"a group for at least one of {', '.join(Stream)}",
            f"groups {', '.join(tree.children) or 'none'}",
            "no stream had a scan with a depth",
        )
    for name in groups:
        where = f"group '/{name}'"
        group = tree[name].to_dataset()
        check_variables(group, CUBE, where=where)
        check_mz(group["mz"].to_numpy(), where=where)
        check_increasing(group["depth"].to_numpy(), subject=f"variable 'depth' of {where}")


def check_mz(mz: np.ndarray, *, where: str) -> None:
    """Check an m/z axis: whole, positive, increasing numbers (unit resolution).

    Raises
    ------
    InputError
        Naming the first m/z that is doubled, out of order or a fraction.
    """
    subject = f"variable 'mz' of {where}"
    check_increasing(mz, subject=subject)
    broken = (mz != np.round(mz)) | (mz <= 0)
    if broken.any():
        raise refuse(
            subject,
            "whole, positive numbers",
            f"m/z {mz[broken][0]:g}",
            "a profile scan, or doubly charged ions at half masses",
        )


def _check_root(tree: xr.DataTree, contract: str, groups: tuple[str, ...]) -> None:
    found = tree.attrs.get("contract")
    if found != f"nightwell {contract}":
        raise refuse(
            f"the {contract}",
            f"attribute contract = 'nightwell {contract}'",
            repr(found),
            f"the store does not hold a {contract} group at its root",
        )
    version = tree.attrs.get("contract_version")
    if isinstance(version, int | np.integer) and version > CONTRACT_VERSION:
        raise FormatError(
            f"the {contract}",
            expected=f"contract version up to {CONTRACT_VERSION}",
            found=str(version),
            cause="a newer release of nightwell wrote it",
            next_step="read it with that release",
        )
    for name, kind in (
        ("contract_version", int),
        ("well", str),
        ("instrument", str),
        ("simulated", int),
        ("provenance", str),
    ):
        value = tree.attrs.get(name)
        if not isinstance(value, kind):
            raise refuse(
                f"attribute '{name}' of the {contract}",
                f"a value of type {kind.__name__}",
                repr(value),
                "another program wrote the root group",
            )
    for group in groups:
        if group not in tree.children:
            raise refuse(
                f"group '/{group}'",
                "a group",
                f"groups {', '.join(tree.children) or 'none'}",
                "the store is a cube, or is not a well's",
            )


def _check_truth(tree: xr.DataTree) -> None:
    if not tree.attrs["simulated"]:
        raise refuse("group '/truth'", "simulated data", "simulated = 0", "a simulated well lost its label")
    truth = tree["truth"].to_dataset()
    check_variables(truth, TRUTH, where="group '/truth'")
    for name, dim in (("species", "species"), ("streams", "stream")):
        listed = truth.attrs.get(name, ())
        if len(listed) != truth.sizes[dim]:
            raise refuse(
                f"attribute '{name}' of group '/truth'",
                f"{truth.sizes[dim]} names",
                f"{len(listed)}",
                "species were added without their names",
            )
