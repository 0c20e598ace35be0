"""Prefect's pages of two sites in a real Chromium: a backup from its form to its artifacts, and no secret anywhere.

With ``NIGHTWELL_TEST_PICTURES`` the pages are kept as pictures in that folder: ``make pictures``.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import tomli_w
from browser import WAIT_MS, open_browser
from deployed import Deployed, eventually
from machine import MIB, Machine, running_machine
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from prefect.client.orchestration import get_client
from pydantic import SecretStr
from two_sites import hold_mover

from nightwell.filesystem import make_ext4
from nightwell.settings import FILE_VARIABLE, StoreSettings, load_settings
from nightwell.store.location import StoreLocation
from nightwell.wells.composition import Zone, published_composition
from nightwell.wells.container import write_scans
from nightwell.wells.simulate import Plan, Simulation, simulate_scans
from pools.bootstrap import ensure_blocks
from pools.choices import offer_volumes

# The first test's time holds the start of a server, its deployments and two workers.
pytestmark = pytest.mark.timeout(900)

PICTURES = os.environ.get("NIGHTWELL_TEST_PICTURES")
BACKUP = "back up well (split) at source-site"
_PAGE_ROWS = 200


@dataclass(frozen=True, slots=True)
class Sites:
    """Two sites whose secrets are words that occur nowhere else."""

    machine: Machine
    deployed: Deployed
    secrets: dict[str, str]

    def run_of(self, entrypoint: str) -> dict[str, Any] | None:
        """Return the run of a flow for the well, unless it was made by a schedule; other tests leave other runs."""
        chosen = [d["id"] for d in self.deployed.ask("deployments") if d["entrypoint"] == entrypoint]
        found = self.deployed.ask("flow_runs", {"deployments": {"id": {"any_": chosen}}})
        runs = [run for run in found if run["parameters"].get("volume") == "well" and not run["auto_scheduled"]]
        assert len(runs) <= 1, runs
        return runs[0] if runs else None

    def backup(self) -> dict[str, Any]:
        """Return the run of the backup that the form asked for."""
        return eventually("flow run", lambda: self.run_of("flows.backup.backup_volume"))

    def artifact(self, key: str) -> str:
        """Return the id of the newest artifact of a key that was made since the backup began."""
        begun = datetime.fromisoformat(self.backup()["created"])

        def look() -> str | None:
            found = self.deployed.ask("artifacts", {"artifacts": {"key": {"any_": [key]}}, "sort": "UPDATED_DESC"})
            return next((str(one["id"]) for one in found if datetime.fromisoformat(one["created"]) > begun), None)

        return eventually(f"artifact '{key}'", look, timeout_s=300.0)


@pytest.fixture(scope="module")
def sites(deployed: Deployed, moto_server: StoreLocation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    folder = tmp_path_factory.mktemp("pages")
    names = ("access key of the block", "secret key of the block", "access key of the file", "secret key of the file")
    secrets = {name: f"hush{uuid4().hex}" for name in (*names, "token of the server")}
    in_file = StoreLocation(
        endpoint_url=moto_server.endpoint_url,
        bucket=moto_server.bucket,
        access_key=secrets["access key of the file"],
        secret_key=secrets["secret key of the file"],
    )
    with running_machine(folder, in_file) as machine:
        _make_well(machine, folder)
        machine.make_volume("third", machine.source_array.volumes()[0].size_bytes)
        flows = {"remote_deployment": "destination-site", "store_block": "the-store", "destination_block": "far"}
        machine.settings_file.write_text(machine.settings_file.read_text() + tomli_w.dumps({"flows": flows}))
        _keep_secrets_in_block(machine, secrets)
        with get_client(sync_client=True) as api:
            offer_volumes(api, machine.settings, ["well"])
        # A token that every request to the server carries, as one behind a proxy that asks for it.
        here = {FILE_VARIABLE: str(machine.settings_file), "PREFECT_API_KEY": secrets["token of the server"]}
        with deployed.without_schedules(), deployed.workers(folder, here):
            yield Sites(machine, deployed, secrets)


def _make_well(machine: Machine, folder: Path) -> None:
    composition = published_composition(top_m=1800.0, bottom_m=1860.0, zones=(Zone(1815.0, 1845.0, "ekofisk"),))
    scans = simulate_scans(composition, settings=Simulation(plan=Plan(sample_every=8)))
    scans.attrs["well"] = "well-7"
    write_scans(scans, folder / "volume" / "scans.zarr")
    image = folder / "volume.ext4"
    make_ext4(folder / "volume", image, 64 * MIB)
    machine.make_volume("well", image.stat().st_size)
    with image.open("rb") as file:
        for at in range(0, image.stat().st_size, MIB):
            if (piece := file.read(MIB)).strip(b"\0"):
                machine.write("well", at, piece)
    image.unlink()


def _keep_secrets_in_block(machine: Machine, secrets: dict[str, str]) -> None:
    settings = load_settings(machine.settings_file)
    store = StoreSettings(
        endpoint_url=settings.store.endpoint_url,
        bucket=settings.store.bucket,
        prefix=settings.store.prefix,
        access_key=secrets["access key of the block"],
        secret_key=SecretStr(secrets["secret key of the block"]),
    )
    said = list(ensure_blocks(settings.model_copy(update={"store": store})))
    assert said[-2:] == ["block the-store: made", "block far: made"]


@pytest.fixture(scope="module")
def asked_elsewhere() -> list[str]:
    """Every request that went to another host, and every error of a page's own program."""
    return []


@pytest.fixture(scope="module")
def page(sites: Sites, asked_elsewhere: list[str]) -> Iterator[Page]:
    own = (sites.deployed.server.url, "data:", "blob:")
    with open_browser(1360, 900) as opened:
        opened.on("request", lambda one: asked_elsewhere.append(one.url) if not one.url.startswith(own) else None)
        opened.on("pageerror", lambda error: asked_elsewhere.append(str(error)))
        yield opened


expect.set_options(timeout=WAIT_MS)


def show(page: Page, sites: Sites, path: str) -> None:
    page.goto(f"{sites.deployed.server.url}{path}")


def keep(page: Page, name: str) -> None:
    """Keep the page as a picture for the documentation, when asked to."""
    if PICTURES:
        page.wait_for_timeout(5_000)  # graphs have found their scale, what fades in has come
        with Image.open(BytesIO(page.screenshot())) as taken:
            taken.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
                Path(PICTURES) / f"{name}.png", optimize=True
            )


def choose(page: Page, parameter: str, choice: str) -> None:
    """Choose from a list of the form by its arrow, as a person does."""
    field = page.locator(".schema-form-property").filter(has_text=parameter)
    field.locator(".p-select-button__icon").click()
    page.locator(".p-select-option").get_by_text(choice, exact=True).click()


def submit(page: Page) -> None:
    """Submit the form; a person clicks again when the server was too busy for it (SQLite: 503)."""

    def accepted() -> bool | None:
        with page.expect_response(lambda answer: "create_flow_run" in answer.url) as answer:
            page.get_by_role("button", name="Submit").click()
        return answer.value.ok or None

    eventually("run made by the form", accepted)


def badge(page: Page, state: str) -> Locator:
    return page.locator(".state-badge, .p-tag, .p-badge, span").get_by_text(state, exact=True).first


def test_a_backup_is_asked_for_in_a_form_and_watched_until_it_is_done(sites: Sites, page: Page) -> None:
    show(page, sites, "/deployments")
    page.locator("tr").filter(has_text="backup-volume").get_by_text("source-site").click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    expect(page.get_by_text("The primary volume on the source array.")).to_be_visible()
    page.wait_for_load_state("networkidle")
    choose(page, "mode (Optional)", "pair")
    choose(page, "mode (Optional)", "split")
    choose(page, "The primary volume", "well")
    page.get_by_role("heading", name="Parameters").or_(page.get_by_text("Parameters", exact=True)).first.click()
    keep(page, "form-of-a-backup")
    submit(page)
    asked = sites.backup()
    assert asked["parameters"] == {"volume": "well", "mode": "split", "keep_pair": False}
    mover = hold_mover(sites.machine)
    show(page, sites, f"/runs/flow-run/{asked['id']}")
    expect(page.get_by_text(BACKUP).first).to_be_visible()
    expect(badge(page, "Running")).to_be_visible()
    keep(page, "run-of-a-backup")
    os.kill(mover, signal.SIGCONT)
    # The page is not loaded again: it asks by itself.
    expect(badge(page, "Completed")).to_be_visible(timeout=3 * WAIT_MS)
    run = sites.deployed.ended(UUID(asked["id"]))
    assert run.name == BACKUP
    assert str(run.state and run.state.message).startswith("backup safe as version ")
    (copy,) = sites.deployed.named("copy well to the store at destination-site")
    # By its address: the run's tab "Artifacts" showed what has a key, and not the progress of a task.
    found = sites.deployed.ask("artifacts", {"flow_runs": {"id": {"any_": [copy["id"]]}}})
    (progress,) = (one for one in found if one["type"] == "progress")
    show(page, sites, f"/artifacts/artifact/{progress['id']}")
    expect(page.get_by_text("Copying well").first).to_be_visible()


def test_a_runs_artifacts_say_what_it_did_step_by_step_and_in_bytes(sites: Sites, page: Page) -> None:
    show(page, sites, f"/runs/flow-run/{sites.backup()['id']}")
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text("backup-well-timeline").first.click()
    row = page.locator("tr").filter(has_text="split pair")
    expect(row).to_contain_text("finished")
    expect(page.locator("tr").filter(has_text="request over line 2")).to_contain_text("█")
    assert re.search(r"\d+\.\d\d", row.inner_text())
    keep(page, "timeline-of-a-backup")
    show(page, sites, f"/artifacts/artifact/{sites.artifact('backup-well-blocks')}")
    expect(page.locator("tr").filter(has_text="sent to the store")).to_contain_text("MiB")
    show(page, sites, f"/artifacts/artifact/{sites.artifact('copy-well-timeline')}")
    expect(page.locator("tr").filter(has_text="commit version")).to_contain_text("finished")


def test_the_backups_event_brings_the_table_of_recovery_points(sites: Sites, page: Page) -> None:
    show(page, sites, f"/artifacts/artifact/{sites.artifact('recovery-points')}")
    expect(page.locator("tr").filter(has=page.get_by_text("well", exact=True))).to_contain_text("in time")
    keep(page, "recovery-points")


def test_the_backups_event_brings_a_depth_log_whose_picture_is_drawn(sites: Sites, page: Page) -> None:
    show(page, sites, f"/artifacts/artifact/{sites.artifact('depth-log-trap-gas-well-7')}")
    picture = page.locator("img[alt='Depth log (trap gas) of well-7']")
    picture.wait_for(state="visible")
    drawn = "image => image.complete && image.naturalWidth > 1000 && image.clientWidth > 400"
    assert eventually("drawn picture", lambda: picture.evaluate(drawn) or None)
    keep(page, "depth-log")
    analysis = sites.run_of("flows.reanalyse.reanalyse_well")
    assert analysis is not None
    run = sites.deployed.ended(UUID(analysis["id"]))
    assert run.name == "re-analyse well latest at destination-site"
    assert str(run.state and run.state.message).startswith("well well-7: analysis ")


def test_a_block_shows_where_the_store_is_and_hides_its_keys(sites: Sites, page: Page) -> None:
    show(page, sites, "/blocks")
    page.get_by_text("the-store").first.click()
    expect(page.get_by_text(sites.machine.settings.store.endpoint_url).first).to_be_visible()
    expect(page.get_by_text("****").first).to_be_visible()
    keep(page, "block-of-the-store")
    text = page.content()
    assert not [name for name, secret in sites.secrets.items() if secret in text]


def test_no_page_asked_another_host(page: Page, asked_elsewhere: list[str]) -> None:
    assert asked_elsewhere == []


def test_no_secret_is_in_anything_that_the_server_shows_or_a_site_leaves_on_disk(sites: Sites) -> None:
    deployed = sites.deployed
    good = deployed.ended(deployed.start("restore-volume/source-site", volume="well", target="third"))
    bad = deployed.ended(deployed.start("restore-volume/source-site", volume="well", target="third", version="nope"))
    assert good.state is not None
    assert bad.state is not None
    assert (good.state.is_completed(), bad.state.is_failed()) == (True, True), good.state.message
    places = {**_shown(sites), **_left_on_disk(sites)}
    everything = "\n".join(places.values())
    for what in ("nope", "copy well to the store", "nightwell.version.committed", "is produced for this request"):
        assert what in everything, f"the search does not reach what says '{what}'"
    found = [
        f"{name}: {place}" for place, text in places.items() for name, secret in sites.secrets.items() if secret in text
    ]
    assert found == []


def _shown(sites: Sites) -> dict[str, str]:
    """Return all that the server's API shows, by what it is."""
    kinds = (
        *("flow_runs", "task_runs", "logs", "artifacts", "variables", "block_documents", "deployments"),
        *("work_pools", "automations", "flows", "v2/concurrency_limits", "work_queues"),
    )
    shown = {kind: "\n".join(json.dumps(row) for row in _all(sites.deployed, kind)) for kind in kinds}
    for kind in ("flow_runs", "task_runs", "logs", "artifacts", "block_documents"):
        assert shown[kind], f"there are no {kind} to search"
    with get_client(sync_client=True) as api:
        client = api._client
        for run in (run for run in _all(sites.deployed, "flow_runs") if run["state_type"] != "SCHEDULED"):
            states = client.get("/flow_run_states/", params={"flow_run_id": run["id"]})
            shown["states"] = shown.get("states", "") + states.text
        shown["events"] = client.post("/events/filter", json={"limit": 50}).text
        more = json.loads(shown["events"]).get("next_page")
        while more:
            answer = client.get(more)
            shown["events"] += answer.text
            more = answer.json().get("next_page")
    return shown


def _all(deployed: Deployed, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        rows = deployed.ask(kind, {"limit": _PAGE_ROWS, "offset": len(found)})
        found += rows
        if len(rows) < _PAGE_ROWS:
            return found


def _left_on_disk(sites: Sites) -> dict[str, str]:
    """Return the files of both sites and of the server: logs, journals, records, results, and its whole database."""
    home = Path(sites.deployed.server.environment["PREFECT_HOME"])
    settings = sites.machine.settings_file
    files = [
        file
        for place in (sites.machine.folder, home.parent)
        for file in place.rglob("*")
        if file.is_file() and file != settings and "arrays" not in file.parts and "volume" not in file.parts
    ]
    names = {file.name for file in files}
    assert {"worker-source-site.log", "worker-destination-site.log", "prefect.db"} <= names
    return {str(file): file.read_bytes().decode("latin-1") for file in files}
