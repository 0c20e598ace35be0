"""What the code imports is what the project asks for: nothing comes in by the luck of another package."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from architecture.sources import ROOT, project_files

OWN = {"flows", "pools", "tasks", "nightwell"}
PRODUCT = ("flows/", "pools/", "tasks/", "nightwell/")

# Extras: who may import what only an extra brings.
EXTRAS = {
    "nightwell/local/": "demo",
    "nightwell/testing/": "testing",
    "nightwell/wells/acquire/srs_rga.py": "srs-rga",
}

# Parts of one product that are distributed apart and always come together.
COMPANIONS = {"boto3": "botocore", "pydantic": "pydantic-core", "srsinst-rga": "srsgui"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def asked_for() -> dict[str, set[str]]:
    """Return the distributions asked for: ``""`` by the project, by each extra, by each group."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = {
        "": document["project"]["dependencies"],
        **document["project"]["optional-dependencies"],
        **document["dependency-groups"],
    }
    names = {key: {normal(re.split(r"[\[<>=;~! ]", one)[0]) for one in value} for key, value in lists.items()}
    return {key: found | {COMPANIONS[name] for name in found & COMPANIONS.keys()} for key, found in names.items()}


def imported(text: str) -> set[str]:
    """Return the top-level modules that a source imports at run time."""
    found = set()
    for node in ast.walk(_without_type_checking(ast.parse(text))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def _without_type_checking(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return tree


@cache
def providers() -> dict[str, set[str]]:
    """Return which distributions bring each top-level module."""
    return {module: {normal(name) for name in names} for module, names in packages_distributions().items()}


def missing(modules: Iterable[str], allowed: set[str], local: set[str]) -> set[str]:
    return {
        module
        for module in modules
        if module not in sys.stdlib_module_names
        and module not in OWN | local
        and not allowed & providers().get(module, set())
    }


@pytest.mark.parametrize("kind", ["product", "tests, benchmarks and infra"])
def test_every_import_is_asked_for(kind: str) -> None:
    asked = asked_for()
    product = kind == "product"
    sources = [path for path in project_files() if path.suffix == ".py"]
    here = {path: str(path.relative_to(ROOT)) for path in sources}
    local = {part for path in sources if not here[path].startswith(PRODUCT) for part in (*path.parts, path.stem)}
    everything = set().union(*asked.values())
    found = {}
    for path in sources:
        if here[path].startswith(PRODUCT) != product:
            continue
        extra = next((name for folder, name in EXTRAS.items() if here[path].startswith(folder)), "")
        allowed = asked[""] | asked[extra] if product else everything
        if lacking := missing(imported(path.read_text()), allowed, set() if product else local):
            found[here[path]] = lacking
    assert found == {}


def test_an_import_that_nobody_asked_for_would_be_found(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nimport os, psutil\nif TYPE_CHECKING:\n    import mypy_boto3_s3\n"
    assert missing(imported(text), asked_for()[""], set()) == {"psutil"}
    assert missing(imported(text), asked_for()[""] | {"psutil"}, set()) == set()
