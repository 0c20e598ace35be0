"""The way to two sites that docs/two-sites.md shows; `infra/walk_two_sites.py` walks it for real, in minutes."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from cli.pages import parse, shell_lines
from walk_two_sites import PAGE, PORTS, blocks, script

from nightwell.settings import load_settings
from pools import bootstrap
from pools.templates import POOLS

ROOT = Path(__file__).parents[2]
SHELL_OWN = {"export", "cd", "kill", "set"}


def way() -> str:
    return "".join(f"```sh\n{commands}```\n" for _, commands in blocks(PAGE.read_text()))


def programs() -> list[list[str]]:
    """Return every command of the way, without the variables before it."""
    found = [shlex.split(line.removesuffix("&")) for line in shell_lines(way())]
    named = [[word for word in words if not re.match(r"[A-Z_]+=", word)] for words in found]
    return [words for words in named if words]


def test_the_walk_takes_all_of_the_way_in_order_and_only_the_ports_are_others() -> None:
    titles = [title for title, _ in blocks(PAGE.read_text())]
    assert (titles[0], titles[-1], len(titles)) == ("Install", "End", 9)
    text = script(blocks(PAGE.read_text()), ("1111", "2222"))
    assert not [port for port in PORTS if re.search(rf"\b{port}\b", text)]
    assert text.count("1111") == 2
    assert text.count("2222") == 2


def test_every_program_is_there_and_every_command_of_nightwell_is_one() -> None:
    found = programs()
    path = f"{ROOT / '.venv' / 'bin'}:/usr/bin:/bin:/usr/sbin:/sbin"
    assert [words[0] for words in found if words[0] not in SHELL_OWN and not shutil.which(words[0], path=path)] == []
    ours = [words[1:] for words in found if words[0] == "nightwell"]
    assert len(ours) >= 10
    for words in ours:
        parse(words)


def test_what_is_deployed_and_set_up_bears_the_names_that_the_way_gives() -> None:
    deployed = {
        f"{one['entrypoint'].rsplit('.', 1)[1].replace('_', '-')}/{one['name']}"
        for one in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    }
    asked = {words[3] for words in programs() if words[:3] == ["prefect", "deployment", "run"]}
    assert asked == {"backup-volume/source-site", "restore-volume/source-site"}
    assert asked <= deployed
    assert {words[4] for words in programs() if words[:3] == ["prefect", "worker", "start"]} == set(POOLS)
    assert [words[1:] for words in programs() if words[0] == "nightwell-site"] == [["set-up", "--wait", "180"]]
    assert "--wait" in Path(bootstrap.__file__).read_text()


@pytest.mark.parametrize("site", ["source", "destination"])
def test_the_settings_of_each_site_are_settings_and_know_only_their_own_array(site: str, tmp_path: Path) -> None:
    (text,) = re.findall(rf"(?ms)^cat > \"\$SITES/{site}/nightwell.toml\" <<END\n(.*?)^END$", way())
    file = tmp_path / "nightwell.toml"
    file.write_text(text.replace("$SITES", str(tmp_path)))
    settings = load_settings(file)
    other = "destination" if site == "source" else "source"
    served = [words for words in programs() if words[1:3] == ["array", "serve"]]
    named = {words[words.index("--name") + 1] for words in served}
    assert settings.array(site).name in named
    assert settings.array(other).name not in named
    assert bool(settings.flows.remote_deployment) == (site == "source")
    assert bool(settings.store.endpoint_url) == (site == "destination")
