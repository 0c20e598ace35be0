"""The network of a virtual server: start the forwarder that is its only way out, and say how hosts are named inside."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import nightwell
from nightwell.errors import NotFoundError
from nightwell.servers.forward import Route
from nightwell.servers.port import Address, ServerSpec

_NETWORK = "198.18.0."  # RFC 2544: routed nowhere, so no address of a spec is hidden by it

# Without the site's packages, of which only TLS needs any: it starts three times as fast.
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from nightwell.servers.forward import main; sys.exit(main())"
_LIBRARY = str(Path(nightwell.__file__).parents[1])


def names_inside(addresses: tuple[Address, ...]) -> dict[str, str]:
    """Return an address inside for each host that is named; literal addresses stay what they are."""
    names = sorted({each.host for each in addresses if not _is_literal(each.host)})
    return {name: f"{_NETWORK}{number}" for number, name in enumerate(names, start=1)}


def open_network(spec: ServerSpec, pid: int, *, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the forwarder of the server whose first process is ``pid``, and return it once it listens.

    Raises
    ------
    NotFoundError
        It could not go into the server's network.
    """
    named = names_inside(spec.reachable)
    routes = [_route(each, named.get(each.host, each.host)) for each in spec.reachable]
    packages = [] if any(route.tls for route in routes) else ["-S"]
    child = subprocess.Popen(
        [sys.executable, *packages, "-E", "-c", _START, _LIBRARY, str(pid), *map(str, routes)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    with closing(child.stdout), closing(child.stderr):
        if child.stdout.readline() == b"ready\n":
            return child
        said = child.stderr.read().decode(errors="replace").strip()
    child.wait()
    raise _no_network(spec, said)


def _route(to: Address, address: str) -> Route:
    tls = None if to.tls is None else (str(to.tls.ca), str(to.tls.certificate), str(to.tls.key))
    return Route(address, to.port, to.host, to.port, to.export, tls)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _no_network(spec: ServerSpec, said: str) -> NotFoundError:
    wanted = ", ".join(f"{each.host}:{each.port}" for each in spec.reachable)
    return NotFoundError(
        f"network of virtual server {spec.server_id!r}",
        expected=f"a way to {wanted}",
        found=said.splitlines()[-1] if said else "the forwarder ended",
        cause="this host's policy forbids entering a container's network namespace",
        next_step="run 'nightwell validate servers'",
    )
