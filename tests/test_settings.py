"""Settings come from the file, the environment stands above it, and a mistake is named."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from nightwell.errors import SettingsError
from nightwell.protocol import Site
from nightwell.settings import describe_settings, load_settings


def write(folder: Path, text: str) -> Path:
    file = folder / "nightwell.toml"
    file.write_text(text)
    return file


def test_the_environment_stands_above_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, '[store]\nbucket = "from-file"\nregion = "eu-north-1"\n')
    monkeypatch.setenv("NIGHTWELL_STORE__BUCKET", "from-environment")
    store = load_settings(file).store
    assert (store.bucket, store.region) == ("from-environment", "eu-north-1")


def test_an_empty_site_takes_its_names_from_the_site(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, f'state_directory = "{tmp_path}"\n'))
    assert repr(settings.array(Site.SOURCE).name) == "'source'", "as an error shows it"
    assert settings.array("destination").control == tmp_path / "destination.sock"
    assert settings.journal_url("source") == f"sqlite:///{tmp_path}/source-journal.sqlite"


def test_the_file_named_by_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTWELL_SETTINGS", str(write(tmp_path, '[store]\nbucket = "wells"\n')))
    assert load_settings().store.bucket == "wells"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[store]\nbuckt = "x"\n', "store.buckt"),
        ('[source.array]\ndriver = "tape"\n', "source.array.driver"),
        ("[destination.servers]\ncpus = 0\n", "destination.servers.cpus"),
        ("[store\n", "nightwell.toml"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load_settings(write(tmp_path, text))


@pytest.mark.parametrize(
    "text", ["[store]\nsecret_key = 8675309\n", "[store]\naccess_key = 8675309\n", "store = [8675309]"]
)
def test_a_secret_of_the_wrong_type_is_refused_without_being_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="store") as raised:
        load_settings(write(tmp_path, text))
    assert "8675309" not in "".join(traceback.format_exception(raised.value))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(tmp_path / "nowhere.toml")


def test_a_mistyped_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTWELL_STORE__BUCKT", "wells")
    with pytest.raises(SettingsError, match="NIGHTWELL_STORE__BUCKT"):
        load_settings()


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTWELL_STORE__SECRET_KEY", "open-sesame")
    settings = load_settings()
    assert "open-sesame" not in repr(settings)
    assert settings.store.secret_key.get_secret_value() == "open-sesame"


def test_every_setting_says_what_it_is() -> None:
    rows = describe_settings()
    assert len(rows) > 30
    assert all(row.description.endswith((".", ")")) and row.kind for row in rows)
