"""``well``: from a gas log to a depth log and a LAS file, and the files that cannot be used."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import lasio
import pytest
from cli.bad_settings import settings_with
from cli.command import Cli, assert_one_error, assert_one_error_in_words
from cli.unchanged import files_in
from machine import Machine

HEADER = "Depth (m),C1 (ppm),C2 (ppm),C3 (ppm)"
DEPTHS = [1000 + 0.5 * row for row in range(40)]
ROWS = [f"{depth},{1000 + 20 * row},{100 + row},{40}" for row, depth in enumerate(DEPTHS)]


def log_of(folder: Path, rows: list[str], *, header: str = HEADER, name: str = "log.csv") -> Path:
    file = folder / name
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


@pytest.fixture(scope="module")
def results(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the analyses of the whole module."""
    return Path(machine.settings.results_location())


@pytest.fixture(scope="module")
def analysed(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the id of the only analysis of the well ``small``."""
    folder = tmp_path_factory.mktemp("well")
    imported = cli.json("well", "import", folder / "scans", "--gas-log", log_of(folder, ROWS), "--name", "small")
    assert imported["well"]["well"] == "small"
    (report,) = imported["reports"]
    assert (report["source"], report["rows"]) == ("log.csv", len(ROWS))
    document = cli.json("well", "analyse", folder / "scans")
    assert document["new"]
    assert not cli.json("well", "analyse", folder / "scans")["new"]
    return str(document["analysis"]["analysis_id"])


def test_a_well_is_imported_and_analysed_in_words(cli: Cli, tmp_path: Path) -> None:
    printed = cli.text("well", "import", tmp_path / "scans", "--gas-log", log_of(tmp_path, ROWS), "--name", "worded")
    assert "C1 (ppm): methane, ppm, 0 missing" in printed
    assert f"scans written to {tmp_path / 'scans'}" in printed
    assert "All spectra, blanks and standards are simulated" in printed
    analysed = cli.run("well", "analyse", tmp_path / "scans").good()
    assert "well worded: analysis " in analysed.out
    assert "detected in: methane" in analysed.out
    assert "condition number" in analysed.out
    assert analysed.err == ""


def test_uncertainties_by_repetition_are_asked_for(cli: Cli, analysed: str, tmp_path: Path) -> None:
    """Another analysis of the same scans, which says how often they were drawn."""
    cli.json("well", "import", tmp_path / "scans", "--gas-log", log_of(tmp_path, ROWS[:6]), "--name", "drawn")
    plain = cli.json("well", "analyse", tmp_path / "scans")
    drawn = cli.json("well", "analyse", tmp_path / "scans", "--monte-carlo", "16")
    assert drawn["new"]
    settings = [str(one["analysis"]["versions"]["deconvolution_settings"]) for one in (plain, drawn)]
    assert "draws" not in settings[0]
    assert "draws=16" in settings[1]
    assert_one_error(
        cli.run("well", "analyse", tmp_path / "scans", "--json", "--monte-carlo", "3"),
        kind="InputError",
        said="at least 16 draws",
    )


def test_analyses_are_listed(cli: Cli, analysed: str) -> None:
    (one,) = cli.json("well", "list", "small")
    assert (one["analysis_id"], one["well"], one["simulated"]) == (analysed, "small", True)
    assert analysed in cli.text("well", "list", "small")
    assert cli.text("well", "list", "unheard-of") == "none\n"


def test_a_depth_log_and_a_las_file_are_written(cli: Cli, analysed: str, tmp_path: Path) -> None:
    picture, las = tmp_path / "log.png", tmp_path / "log.las"
    interval = ["--top", "1002", "--bottom", "1015", "--analysis", analysed[:8]]
    assert cli.text("well", "plot", "small", picture, *interval) == f"wrote {picture}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert cli.text("well", "export-las", "small", las) == f"wrote {las}\n"
    assert cli.json("well", "export-las", "small", las, "--analysis", analysed) == {"written": str(las)}
    assert {"DEPT", "MTHA"} <= set(lasio.read(str(las)).keys())  # type: ignore[no-untyped-call]  # lasio ships no types
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.las", "log.png"]


def test_plots_pages_and_exports_are_written(cli: Cli, analysed: str, tmp_path: Path) -> None:
    picture = tmp_path / "pixler.pdf"
    assert cli.text("well", "plot", "small", picture, "--kind", "pixler") == f"wrote {picture}\n"
    assert picture.read_bytes().startswith(b"%PDF")
    page = tmp_path / "small.html"
    assert cli.json("well", "page", "small", page, "--analysis", analysed) == {"written": str(page)}
    assert "SIMULATED" in page.read_text()
    for form, made in (("las", "a.las"), ("csv", "a.csv"), ("zarr", "a.zarr"), ("wits0", "a.wits")):
        assert cli.json("well", "export", "small", tmp_path / made, "--format", form) == {
            "written": str(tmp_path / made)
        }
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"pixler.pdf", "small.html", "a.las", "a.csv", "a.csv.json", "a.zarr", "a.wits"}


def test_a_las_file_can_go_down_a_pipe(cli: Cli, analysed: str) -> None:
    assert cli.process("well", "export-las", "small", "/dev/stdout").good().out.startswith("~Version")


def test_a_well_is_analysed_straight_from_a_version(cli: Cli, machine: Machine, tmp_path: Path) -> None:
    from nightwell.filesystem import make_ext4

    files = tmp_path / "files"
    files.mkdir()
    cli.json("well", "import", files / "scans.zarr", "--gas-log", log_of(tmp_path, ROWS), "--name", "on a volume")
    make_ext4(files, tmp_path / "well.img", 16 << 20)
    cli.json("volume", "create", "log-volume", "16 MiB")
    cli.json("volume", "write", "log-volume", tmp_path / "well.img")
    version = cli.json("backup", "log-volume", "--mode", "direct")["version_id"]
    analysis = cli.json("well", "analyse", "--volume", "log-volume")["analysis"]
    mark = analysis["inputs"].pop("scans")
    assert len(mark) == 32
    assert analysis["inputs"] == {"volume": "log-volume", "version": version, "path": "/scans.zarr"}
    cli.json("volume", "delete", "log-volume")


# ---------------------------------------------------------------- handled, and reported


def reported(cli: Cli, tmp_path: Path, log: Path) -> dict[str, dict[str, object]]:
    """Import a log and return what became of its columns, by channel."""
    document = cli.json("well", "import", tmp_path / "scans", "--gas-log", log)
    return {column["channel"]: column for column in document["reports"][0]["columns"]}


def test_nulls_are_counted_as_missing(cli: Cli, tmp_path: Path) -> None:
    rows = [row if at % 4 else f"{DEPTHS[at]},-999.25,-999.25,-999.25" for at, row in enumerate(ROWS)]
    columns = reported(cli, tmp_path, log_of(tmp_path, rows))
    assert [columns[gas]["missing"] for gas in ("methane", "ethane", "propane")] == [10, 10, 10]


def test_absurd_values_are_set_missing_and_named(cli: Cli, tmp_path: Path) -> None:
    log = log_of(tmp_path, [*ROWS, "1020,28045800,100,40"])
    methane = reported(cli, tmp_path, log)["methane"]
    assert (methane["absurd"], methane["absurd_largest"], methane["missing"]) == (1, 28_045_800, 0)
    printed = cli.text("well", "import", tmp_path / "again", "--gas-log", log)
    assert "1 absurd set missing (as far out as 28,045,800 ppm)" in printed


def test_mixed_units_are_converted_and_reported(cli: Cli, tmp_path: Path) -> None:
    rows = [f"{3000 + 2 * row},{0.1 + row / 1000},100,40" for row in range(40)]
    log = log_of(tmp_path, rows, header="Depth (ft),C1 (%),C2 (ppm),C3 (ppm)")
    columns = reported(cli, tmp_path, log)
    units = {name: (column["unit_found"], column["unit"]) for name, column in columns.items()}
    assert units == {"depth": ("ft", "m"), "methane": ("%", "ppm"), "ethane": ("ppm", "ppm"), "propane": ("ppm", "ppm")}
    assert columns["methane"]["absurd"] == 0
    printed = cli.text("well", "import", tmp_path / "again", "--gas-log", log)
    assert "Depth (ft): depth, ft -> m" in printed


# ---------------------------------------------------------------- refused, and nothing written


def spectra(folder: Path) -> Path:
    """Return measured spectra that stop at m/z 44."""
    header = "Time,Depth (m)," + ",".join(f"mz_{mz}" for mz in range(1, 45))
    rows = [f"{1_700_000_000 + 60 * row},{1000 + row}," + ",".join(["1e-9"] * 44) for row in range(5)]
    return log_of(folder, rows, header=header, name="spectra.csv")


REFUSED: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "missing column": (
        lambda at: log_of(at, [row.rpartition(",")[0] for row in ROWS], header=HEADER.rpartition(",")[0]),
        "InputError",
        "columns for propane",
    ),
    "other columns": (lambda at: log_of(at, ROWS, header="a,b,c,d"), "InputError", "not recognised: 'a', 'b'"),
    "depth goes back": (
        lambda at: log_of(at, ROWS[:10] + ROWS[5:]),
        "InputError",
        "1002.5 m after 1004.5 m; row 11",
    ),
    "depth is missing": (lambda at: log_of(at, [*ROWS, ",1,1,1"]), "InputError", "none in row 41"),
    "all null": (
        lambda at: log_of(at, [f"{depth},-999.25,-999.25,-999.25" for depth in DEPTHS]),
        "InputError",
        "at least one value of methane",
    ),
    "one gas null": (
        lambda at: log_of(at, [f"{depth},1000,-999.25,40" for depth in DEPTHS]),
        "InputError",
        "40 rows empty or null",
    ),
    "all absurd": (
        lambda at: log_of(at, [f"{depth},28045800,100,40" for depth in DEPTHS]),
        "InputError",
        "40 absurd (as far out as 28,045,800 ppm)",
    ),
    "zero rows": (lambda at: log_of(at, []), "InputError", "zero rows"),
    "no text": (lambda at: log_of(at, [], header=""), "InputError", "No columns"),
    "another quantity": (
        lambda at: log_of(at, ROWS, header=HEADER.replace("C1 (ppm)", "C1 (psi)")),
        "InputError",
        "converts to ppm",
    ),
    "a remark": (lambda at: log_of(at, [*ROWS, "1020,trip gas,1,1"]), "InputError", "'trip gas' in row 41"),
    "no LAS": (lambda at: log_of(at, ROWS, name="log.las"), "InputError", "log.las"),
    "no file": (lambda at: at / "gone.csv", "NotFoundError", "no such file"),
    "a folder": (lambda at: at, "NotFoundError", "a directory"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_log_that_cannot_be_used_is_refused(cli: Cli, tmp_path: Path, name: str) -> None:
    write, kind, said = REFUSED[name]
    words = ["well", "import", str(tmp_path / "scans"), "--gas-log", str(write(tmp_path))]
    before = files_in(tmp_path)
    assert_one_error(cli.run(*words, "--json"), kind=kind, said=said)
    assert_one_error_in_words(cli.run(*words))
    assert files_in(tmp_path) == before


def test_spectra_that_lack_the_peaks_of_a_species_are_refused(cli: Cli, machine: Machine, tmp_path: Path) -> None:
    own = settings_with(machine, tmp_path, {"wells.results": str(tmp_path / "results")})
    own.json("well", "import", tmp_path / "scans", "--spectra", spectra(tmp_path), "--name", "short")
    before = files_in(tmp_path)
    words = ["well", "analyse", str(tmp_path / "scans")]
    assert_one_error(own.run(*words, "--json"), kind="InputError", said="n_hexane needs m/z 56, 57")
    assert_one_error_in_words(own.run(*words))
    assert files_in(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ("well analyse", "InputError", "neither"),
        ("well analyse scans --volume well", "InputError", "both"),
        ("well analyse gone", "NotFoundError", "gone"),
        ("well analyse folder", "NotFoundError", "zarr.json"),
        ("well analyse log.csv", "NotFoundError", "log.csv"),
        ("well import folder --gas-log log.csv", "ConflictError", "nothing there"),
        ("well import log.csv/scans --gas-log log.csv", "InputError", "a file stands where a folder has to be"),
        ("well import new --gas-log log.csv --spectra log.csv", "InputError", "both"),
        ("well import new --spectra log.csv", "InputError", "a header line with a time column"),
        ("well import new --gas-log log.csv --drilling gone.csv", "NotFoundError", "gone.csv"),
        ("well plot small folder", "InputError", "a folder"),
        ("well plot small log.csv/log.png", "InputError", "a file stands where a folder has to be"),
        ("well plot small new.gif", "InputError", ".png or .pdf"),
        ("well page small new.html --stream crush", "InputError", "--stream"),
        ("well export small folder --format zarr", "ConflictError", "no file or folder"),
        ("well plot small new.png --top 5000", "InputError", "an interval within"),
        ("well plot small new.png --analysis nosuch", "NotFoundError", "nosuch"),
        ("well plot unheard-of new.png", "NotFoundError", "not analysed yet"),
        ("well export-las small folder", "InputError", "a folder"),
        ("well export-las unheard-of new.las", "NotFoundError", "not analysed yet"),
    ],
)
def test_a_mistake_is_one_error_and_writes_nothing(
    cli: Cli,
    analysed: str,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    kind: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    log_of(tmp_path, ROWS)
    before = files_in(tmp_path, results)
    assert_one_error(cli.run(*shlex.split(words), "--json"), kind=kind, said=said)
    assert_one_error_in_words(cli.run(*shlex.split(words)))
    assert files_in(tmp_path, results) == before
