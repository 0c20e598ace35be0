"""``nightwell line`` and ``server``: what a person does by hand about exports, imports and virtual servers."""

from __future__ import annotations

from typing import Annotated

import typer

from nightwell.cli.common import ArraySite, AsJson, array_of, command, print_json, print_rows, say, settings
from nightwell.errors import NotFoundError
from nightwell.protocol import Site
from nightwell.sites.build import open_grants, open_servers
from nightwell.sites.destination import run_of

line = typer.Typer(no_args_is_help=True, help="What an array serves on line 1, and what it imports over it.")
server = typer.Typer(no_args_is_help=True, help="Virtual servers of the destination site.")

Name = Annotated[str, typer.Argument(help="Name of the export or the import.")]


@line.command("list")
@command
def list_line(*, site: ArraySite = Site.SOURCE, as_json: AsJson = False) -> None:
    """List the exports and imports of an array, with the run that made them."""
    with array_of(site) as on:
        found = on.exports()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one.name,
            one.imported_from or f"volume {one.volume}",
            "writable" if one.writable else "read only",
            "?" if one.connections is None else str(one.connections),
            one.owner or "",
        )
        for one in found
    ]
    columns = ("name", "shows", "may be", "connections", "made by run")
    print_rows(f"Line 1 of {on.name}", columns, rows, empty=f"{on.name} serves nothing and imports nothing")


@line.command("withdraw")
@command
def withdraw(name: Name, *, site: ArraySite = Site.SOURCE, as_json: AsJson = False) -> None:
    """Stop serving an export; who is connected to it is cut off."""
    _end(name, site, imported=False)
    _said(name, "withdrawn", as_json=as_json)


@line.command("release")
@command
def release(name: Name, *, site: ArraySite = Site.DESTINATION, as_json: AsJson = False) -> None:
    """Detach an import from the other array."""
    _end(name, site, imported=True)
    _said(name, "released", as_json=as_json)


@server.command("list")
@command
def list_servers(*, as_json: AsJson = False) -> None:
    """List the virtual servers that stand at the destination site, alive or left over."""
    found = open_servers(settings()).servers()
    if as_json:
        print_json(found)
        return
    rows = [(one.server_id, one.driver, "alive" if one.alive else "dead", one.run_id, one.detail) for one in found]
    print_rows("Virtual servers", ("server", "driver", "is", "run", "detail"), rows, empty="no virtual server")


@server.command("delete")
@command
def delete_server(
    server_id: Annotated[str, typer.Argument(help="The virtual server, such as vs-RUN.")], *, as_json: AsJson = False
) -> None:
    """End a virtual server's program, delete all of it and its credentials; a run that needs it yet fails."""
    servers, grants = open_servers(settings()), open_grants(settings())
    standing = [one.server_id for one in servers.servers()]
    if server_id not in standing and run_of(server_id) not in grants.standing():
        raise NotFoundError(
            f"virtual server '{server_id}'",
            expected="one that stands at the destination site",
            found=f"these: {', '.join(standing) or 'none at all'}",
            cause="a mistyped id, or it is gone already",
            next_step="list them with 'nightwell server list'",
        )
    servers.delete(server_id)
    grants.end(run_of(server_id))
    _said(server_id, "deleted", as_json=as_json)


def _end(name: str, site: Site, *, imported: bool) -> None:
    with array_of(site) as on:
        standing = [one.name for one in on.exports() if (one.imported_from is not None) is imported]
        if name not in standing:
            what = "import" if imported else "export"
            raise NotFoundError(
                f"{what} '{name}' on array '{on.name}'",
                expected=f"an {what} of that name",
                found=f"these: {', '.join(standing) or 'none at all'}",
                cause="a mistyped name, the other site's array, or it is gone already",
                next_step=f"list them with 'nightwell line list --site {site}'",
            )
        (on.release if imported else on.withdraw)(name)


def _said(name: str, done: str, *, as_json: bool) -> None:
    if as_json:
        print_json({done: name})
        return
    say(f"{name} is {done}")
