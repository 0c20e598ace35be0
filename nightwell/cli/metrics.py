"""``nightwell metrics`` and ``leaks``: a site in numbers for Prometheus, and by name what no run is under way for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from nightwell.cli.common import AsJson, command, console, print_json, print_rows, settings
from nightwell.protocol import Site
from nightwell.sites.metrics import SiteMetrics, site_leaks
from nightwell.whole_file import written_whole

Sites = Annotated[
    list[Site] | None, typer.Option("--site", help="A site that this machine plays; give it once for each; else both.")
]


@command
def metrics(
    *,
    site: Sites = None,
    textfile: Annotated[
        Path | None, typer.Option(help="Write them whole to this file, for the textfile collector of node_exporter.")
    ] = None,
    serve: Annotated[
        int | None, typer.Option(metavar="PORT", help="Serve them over HTTP until Ctrl-C; 0: any port.")
    ] = None,
    host: Annotated[str, typer.Option(help="With --serve: where to listen.")] = "127.0.0.1",
) -> None:
    """Print a site's metrics as OpenMetrics: runs, seconds and bytes, recovery points, things leaked."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SiteMetrics(settings(), _chosen(site)))
    if serve is not None:
        server, _ = start_http_server(serve, host, registry)
        console(error=True).print(f"metrics at http://{host}:{server.server_port}/metrics")
        while True:
            time.sleep(3_600)
    if textfile is not None:
        with written_whole(textfile) as draft:
            draft.write_bytes(generate_latest(registry))
        return
    typer.echo(generate_openmetrics(registry), nl=False)  # type: ignore[no-untyped-call]  # it has no annotations


@command
def leaks(*, site: Sites = None, as_json: AsJson = False) -> None:
    """List what was made for runs and stands without one under way; metrics count it, and it should be nothing."""
    found = [leak for one in _chosen(site) for leak in site_leaks(settings(), one)]
    if as_json:
        print_json(found)
        return
    rows = [(str(leak.site), str(leak.kind), leak.name, leak.run_id) for leak in found]
    print_rows("Leaked", ("site", "what", "name", "run"), rows, empty="nothing leaked")


def _chosen(site: list[Site] | None) -> tuple[Site, ...]:
    return tuple(dict.fromkeys(site)) if site else tuple(Site)
