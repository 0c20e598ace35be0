"""The commands of the tutorial, in their order, on a piece of the real files; its figures on the whole of them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from cli.command import Cli
from real_files import IRONBARK_DRILLING, IRONBARK_GAS, RealFile

from nightwell.wells.drilling import import_drilling
from nightwell.wells.gas_log import import_gas_log
from nightwell.wells.normalise_log import normalise_log

TUTORIAL = Path(__file__).resolve().parents[3] / "docs" / "tutorial-ironbark.md"
TOP_M, BOTTOM_M = 1583.0, 1720.0  # a piece of the well, for speed


@pytest.fixture
def files(real_file: RealFile) -> tuple[Path, Path]:
    """The gas log and the drilling file."""
    return real_file(IRONBARK_GAS), real_file(IRONBARK_DRILLING)


def test_every_command_of_the_tutorial_runs(files: tuple[Path, Path], tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    blocks = re.findall(r"```sh\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line]
    assert len(commands) >= 6
    monkeypatch.chdir(tmp_path)
    for name, path in zip(("gas.csv", "drilling.csv"), files, strict=True):
        head, *rows = path.read_text().splitlines(keepends=True)
        Path(name).write_text("".join([head, *(row for row in rows if TOP_M <= float(row.split(",")[0]) < BOTTOM_M)]))
    settings = Path("nightwell.toml")
    settings.write_text(f'state_directory = "{tmp_path}"\n')
    cli = Cli(settings)
    for command in commands:
        program, *words = shlex.split(command.replace("--top 4900 --bottom 5200", "--top 1600 --bottom 1700"))
        assert program == "nightwell"
        cli.run(*words).good()
    assert {"normalised.csv", "scans.zarr", "ironbark.png", "ironbark.las"} <= {one.name for one in tmp_path.iterdir()}


def test_the_figures_of_the_tutorial_are_those_of_the_well(files: tuple[Path, Path]) -> None:
    found = normalise_log(import_gas_log(files[0]), import_drilling(files[1]), hole_diameter_m=0.31115)
    table, text = found.table, TUTORIAL.read_text()
    for note in found.notes:
        assert note in text
    medians = []
    for top, bottom in ((5098.0, 5134.0), (4900.0, 5097.5)):
        rows = table[(table.depth_m >= top) & (table.depth_m <= bottom)]
        medians += [rows.methane_ppm.median(), rows.methane_normalised_ppm.median(), rows.rop_m_h.median()]
    np.testing.assert_allclose(medians, [2556, 1115, 27.7, 595, 791, 9.4], rtol=0.006)
