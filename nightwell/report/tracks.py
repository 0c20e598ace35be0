"""What stands in which track of a depth log, on which scale, in which colour."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pen:
    """How one curve is drawn: its name in the result, its name in the header, colour, line style."""

    name: str
    label: str
    colour: str
    style: str = "-"
    width: float = 0.8


@dataclass(frozen=True, slots=True)
class Track:
    """One track.

    Parameters
    ----------
    title, units
        For the header.
    pens
        In drawing order.
    low, high
        Ends of the scale; all curves of a track share it.
    share
        Width against other tracks.
    logarithmic
        Kind of scale.
    limits
        Whether detection limits are drawn (dotted).
    """

    title: str
    units: str
    pens: tuple[Pen, ...]
    low: float
    high: float
    share: float = 1.0
    logarithmic: bool = True
    limits: bool = False


RED, BLUE, GREEN, PURPLE, ORANGE, BROWN, GREY = (
    "#c1272d", "#0b5fa5", "#1b7837", "#762a83", "#d95f02", "#8c510a", "#4d4d4d",
)  # fmt: skip

GAS = Track(
    "C1-C5",
    "ppm",
    (
        Pen("total_gas", "total gas", "#555555", width=1.8),
        Pen("methane", "C1", RED),
        Pen("ethane", "C2", BLUE),
        Pen("propane", "C3", GREEN),
        Pen("isobutane", "iC4", PURPLE),
        Pen("n_butane", "nC4", PURPLE, "--"),
        Pen("isopentane", "iC5", ORANGE),
        Pen("n_pentane", "nC5", ORANGE, "--"),
    ),
    1.0,
    1e6,
    share=1.9,
)

HAWORTH = Track(
    "Haworth",
    "Wh %; Bh, Ch",
    (
        Pen("haworth_wetness", "Wh", BLUE, width=1.0),
        Pen("haworth_balance", "Bh", RED, width=1.0),
        Pen("haworth_character", "Ch", GREY, width=0.7),
    ),
    0.1,
    1000.0,
    share=1.6,
)

RATIOS = Track(
    "Pixler, oil indicator",
    "ratio",
    (
        Pen("pixler_c1_c2", "C1/C2", BLUE),
        Pen("pixler_c1_c3", "C1/C3", GREEN),
        Pen("pixler_c1_c4", "C1/C4", PURPLE),
        Pen("pixler_c1_c5", "C1/C5", ORANGE),
        Pen("oil_indicator", "oil ind.", "black", width=1.0),
    ),
    0.01,
    10000.0,
    share=1.4,
)

AROMATICS = Track(
    "Aromatics, C6+",
    "ppm",
    (
        Pen("benzene", "benzene", RED),
        Pen("toluene", "toluene", BLUE),
        Pen("xylenes_ethylbenzene", "xylenes + ethylbenzene", GREEN),
        Pen("methylcyclohexane", "methylcyclohexane", BROWN),
    ),
    0.01,
    1000.0,
    share=1.2,
    limits=True,
)

ACIDS = Track(
    "Organic acids",
    "ppm",
    (
        Pen("acetic_acid", "acetic", BLUE),
        Pen("propanoic_acid", "propanoic", PURPLE),
        Pen("butanoic_acid", "butanoic", ORANGE),
        Pen("formic_acid", "formic", GREEN),
    ),
    0.01,
    1000.0,
    limits=True,
)

INORGANIC = Track(
    "Inorganic",
    "ppm",
    (
        Pen("carbon_dioxide", "CO2", BROWN),
        Pen("helium", "He", PURPLE),
        Pen("hydrogen", "H2", BLUE),
        Pen("hydrogen_sulfide", "H2S", RED),
        Pen("sulphur_species", "sum S", ORANGE),
    ),
    0.01,
    1e5,
    share=1.2,
    limits=True,
)

TRACKS = (GAS, HAWORTH, RATIOS, AROMATICS, ACIDS, INORGANIC)

#: Streams of discrete samples in one track: total hydrocarbon gas by symbols.
SAMPLES = (
    ("mud_fluid", "mud fluid", BLUE, "o"),
    ("cuttings_background", "cuttings, adhering", ORANGE, "^"),
    ("cuttings_crush", "cuttings, crushed", GREEN, "s"),
)

#: Columns of findings in a track: kind, label, colour. What was not assessed has no depth of its own.
FINDINGS = (
    ("show", "shows", RED),
    ("rise", "rises", ORANGE),
    ("contact", "contacts", "black"),
    ("proximity", "proximity", BLUE),
    ("origin", "origin", GREEN),
    ("warning", "warnings", PURPLE),
    ("quality", "quality", "#8c8c8c"),
)

#: Colours of fluid classes, the same in every strip; a class not named here is grey.
CLASS_COLOURS = {
    "very_light_dry_gas": "#fee5d9",
    "light_dry_gas": "#fcbba1",
    "dry_gas": "#fcbba1",
    "light_gas": "#fee5d9",
    "gas": "#ef6548",
    "gas_confirmed": "#ef6548",
    "condensate": "#fec44f",
    "high_gravity_oil": "#a6d96a",
    "gas_with_oil": "#a6d96a",
    "medium_gravity_oil": "#66bd63",
    "oil": "#1a9850",
    "low_gravity_oil": "#00582d",
    "residual_oil": "#6e6e6e",
    "lighter_today": "#ef6548",
    "alike": "#7fa9c9",
    "heavier_today": "#1a9850",
    "inclusions": "#762a83",
    "both": "#c2a5cf",
    "adhering": "#d95f02",
}
