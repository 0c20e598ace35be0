"""The documentation follows the code: settings, commands, flows, recipes and links are all there."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
import yaml
from architecture.sources import ROOT, project_files

from nightwell.settings import describe_settings

DOCS = ROOT / "docs"
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"(?m)^#{1,6} (.+?)\s*$")


def pages() -> list[Path]:
    return [path for path in project_files() if path.suffix == ".md"]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code forges make them."""
    found = set()
    for heading in HEADING.findall(page.read_text()):
        kept = [c for c in heading.lower() if c in " -_" or unicodedata.category(c)[0] in "LN"]
        found.add("".join(kept).replace(" ", "-"))
    return found


def broken_links(page: Path) -> list[str]:
    broken = []
    for match in LINK.finditer(re.sub(r"(?ms)^```.*?^```", "", page.read_text())):
        target = match[1] or match[2]
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    return broken


def undocumented(names: list[str], page: Path) -> list[str]:
    """Return the names that a page does not write in backticks."""
    written = set(re.findall(r"`([^`\n]+)`", page.read_text()))
    return [name for name in names if name not in written]


def command_names() -> list[str]:
    """Return every command a person can give, with its groups: ``nightwell pair status``."""
    import typer

    from nightwell.cli.app import app

    def walk(command: object, above: str) -> list[str]:
        below: dict[str, object] = getattr(command, "commands", {})
        return [name for child in below for name in walk(below[child], f"{above} {child}")] or [above]

    return walk(typer.main.get_command(app), "nightwell")


def deployments() -> list[dict[str, object]]:
    return list(yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"])


def recipes() -> set[str]:
    return set(re.findall(r"(?m)^([a-z0-9-]+):.*?(?:##|$)", (ROOT / "Makefile").read_text()))


def test_every_link_in_the_documentation_leads_somewhere() -> None:
    assert {str(page.relative_to(ROOT)): broken for page in pages() if (broken := broken_links(page))} == {}


def test_pictures_of_the_gallery_are_small_and_are_those_that_its_script_makes() -> None:
    made = {picture.name: picture.stat().st_size for picture in (DOCS / "gallery").iterdir()}
    script = (ROOT / "infra" / "make_gallery.py").read_text()
    assert max(made.values()) < 250_000
    assert all(f'"{name.removesuffix(".png")}"' in script for name in made)
    assert sorted(re.findall(r"\(gallery/([^)]+)\)", (DOCS / "gallery.md").read_text())) == sorted(made)


def test_a_broken_link_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading, with `code` in it\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#a-heading-with-code-in-it) ![c](gone.png) [d](there.md#gone) [e](gone.md)\n"
        "```\n[f](not-a-link.md)\n```\n"
    )
    assert broken_links(page) == ["gone.png", "there.md#gone", "gone.md"]


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, ahead = set(), [DOCS / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [(match[1] or match[2]).partition("#")[0] for match in LINK.finditer(page.read_text())]
        ahead += [
            file for name in targets if name.endswith(".md") and (file := (page.parent / name).resolve()).exists()
        ]
    assert {page for page in pages() if page.is_relative_to(DOCS)} - reached == set()


def test_every_setting_is_documented() -> None:
    rows = describe_settings()
    names = [name for row in rows for name in (row.path, row.variable)]
    assert undocumented(names, DOCS / "settings.md") == []


def test_no_setting_is_documented_that_does_not_exist() -> None:
    known = {row.variable for row in describe_settings()}
    written = set(re.findall(r"`(NIGHTWELL_[A-Z_]+)`", (DOCS / "settings.md").read_text()))
    others = {"NIGHTWELL_SETTINGS", "NIGHTWELL_MOVER_ACCESS_KEY", "NIGHTWELL_MOVER_SECRET_KEY"}
    assert written - known - others == set()


def test_what_is_undocumented_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`store.bucket` and store.prefix\n")
    assert undocumented(["store.bucket", "store.prefix"], page) == ["store.prefix"]


def test_every_command_is_documented() -> None:
    names = command_names()
    assert len(names) >= 15
    assert undocumented(names, DOCS / "cli.md") == []


def test_every_flow_is_documented_and_deployed_by_its_module() -> None:
    listed = deployments()
    assert undocumented([str(one["name"]) for one in listed], DOCS / "flows.md") == []
    # With a file path Prefect would load the module a second time, under another name.
    assert [one["entrypoint"] for one in listed if not re.fullmatch(r"flows(\.\w+)+", str(one["entrypoint"]))] == []
    files = {path.stem for path in (ROOT / "flows").glob("*.py") if "@flow" in path.read_text()}
    page = (DOCS / "flows.md").read_text()
    assert {name for name in files if f"flows.{name}" not in page} == set()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_recipe_that_a_page_names_exists(page: str) -> None:
    named = set(re.findall(r"`make ([a-z0-9-]+)|(?m:^make ([a-z0-9-]+))", (ROOT / page).read_text()))
    assert {name for pair in named for name in pair if name} - recipes() == set()


def test_the_readme_shows_both_commands_and_the_way_without_make() -> None:
    text = (ROOT / "README.md").read_text()
    for line in ("make demo", "make test", "infra/set_up.py", "infra/demo.py", "-m pytest"):
        assert line in text


def test_ci_runs_the_command_of_the_readme() -> None:
    assert (ROOT / ".ci" / "run").read_text().rstrip().splitlines()[-1] == "make test"


def test_every_word_of_the_glossary_stands_once() -> None:
    words = re.findall(r"(?m)^\| \*\*(.+?)\*\*", (DOCS / "glossary.md").read_text())
    assert len(words) >= 30
    assert sorted({word.lower() for word in words}) == sorted(word.lower() for word in words)
