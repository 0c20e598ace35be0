"""What is known of the instrument; travels with raw scans and cubes as attributes of the root group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Instrument:
    """Facts of the instrument. ``None`` means unknown, and the attribute is then absent from the store.

    Parameters
    ----------
    name
        Free text.
    nitrogen_sensitivity_a_per_ppm
        Total ion current of nitrogen (transmission 1) per ppm by volume in the inlet [A/ppm]. With it,
        deconvolved amounts are ppm; without it they are relative.
    transmission_exponent
        k of the transmission ``(28 / m/z) ** k``.
    dwell_s
        Time spent on one m/z of one scan.
    ion_charge_c
        Charge that one ion leaves at the detector: elementary charge x multiplier gain [C]. The counting variance
        of a current I is ``excess_noise * ion_charge_c * I / dwell_s``.
    excess_noise
        Multiplier excess noise factor F (1 for a Faraday cup).
    noise_floor_a
        One-sigma noise of the electrometer [A].
    full_scale_a
        Current at which the detector saturates [A].
    """

    name: str
    nitrogen_sensitivity_a_per_ppm: float | None = None
    transmission_exponent: float | None = None
    dwell_s: float | None = None
    ion_charge_c: float | None = None
    excess_noise: float | None = None
    noise_floor_a: float | None = None
    full_scale_a: float | None = None

    def as_attributes(self) -> dict[str, str | float]:
        """Return the attributes of the root group: ``instrument`` and one per known fact."""
        attributes: dict[str, str | float] = {"instrument": self.name}
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value is not None:
                attributes[field.name] = float(value)
        return attributes

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, object]) -> Instrument:
        """Read the instrument from the attributes of a root group."""
        known: dict[str, float] = {
            field.name: float(str(attributes[field.name])) for field in fields(cls)[1:] if field.name in attributes
        }
        return cls(str(attributes.get("instrument", "unknown")), **known)
