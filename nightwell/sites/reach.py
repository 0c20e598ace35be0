"""What a virtual server must reach: the one export it reads or writes, and the store."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from nightwell.nbd.tls import TlsFiles
from nightwell.nbd.url import parse_url
from nightwell.servers.port import Address

_DEFAULT_PORTS = {"http": 80, "https": 443}


def reachable(export_url: str, endpoint_url: str, tls: TlsFiles | None) -> tuple[Address, ...]:
    """Return the addresses; the store's endpoint has been checked when its location was made."""
    export, endpoint = parse_url(export_url), urlsplit(endpoint_url)
    found = [] if export.socket_path is not None else [Address(export.host, export.port, export.export, tls)]
    return (*found, Address(endpoint.hostname or "", endpoint.port or _DEFAULT_PORTS[endpoint.scheme]))


def without_tls(export_url: str) -> str:
    """Return the URL as a program writes it for which somebody else speaks TLS."""
    return str(replace(parse_url(export_url), secure=False))
