"""NBD URLs: ``nbd://host:port/export``, ``nbds://...`` with TLS, ``nbd+unix:///export?socket=/path``."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote, urlsplit

from nightwell.errors import InputError

DEFAULT_PORT = 10809
_SCHEMES = ("nbd", "nbds", "nbd+unix", "nbds+unix")


@dataclass(frozen=True, slots=True)
class ExportUrl:
    """Where an export is.

    Parameters
    ----------
    export
        Name of the export, not encoded; may be empty (the server's default export).
    host, port
        TCP address; ``host`` is empty when ``socket_path`` is set.
    socket_path
        Path of a Unix socket, or ``None``.
    secure
        TLS is asked for (``nbds``).
    """

    export: str
    host: str = ""
    port: int = DEFAULT_PORT
    socket_path: str | None = None
    secure: bool = False

    def __str__(self) -> str:
        scheme = "nbds" if self.secure else "nbd"
        name = quote(self.export, safe="")
        if self.socket_path is not None:
            return f"{scheme}+unix:///{name}?socket={quote(self.socket_path, safe='/')}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}/{name}"


def parse_url(url: str) -> ExportUrl:
    """Return the parts of an NBD URL.

    Raises
    ------
    InputError
        The scheme is unknown, or the host, the port or the socket's path is missing or wrong.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _wrong(url, str(error)) from error
    if parts.scheme not in _SCHEMES:
        raise _wrong(url, f"the scheme {parts.scheme!r}" if parts.scheme else "no scheme")
    if parts.username is not None or parts.fragment:
        raise _wrong(url, "a user name or a fragment, which NBD does not know")
    secure = parts.scheme.startswith("nbds")
    export = _decode(url, parts.path.removeprefix("/"))
    if parts.scheme.endswith("+unix"):
        return ExportUrl(export, socket_path=_socket_path(url, parts.netloc, parts.query), secure=secure)
    if not parts.hostname:
        raise _wrong(url, "no host")
    try:
        parts.hostname.encode("idna")
    except UnicodeError as error:
        raise _wrong(url, f"the host {parts.hostname!r}, which no name server can know") from error
    if port == 0:
        raise _wrong(url, "port 0")
    if parts.query:
        raise _wrong(url, f"the query {parts.query!r}")
    return ExportUrl(export, host=parts.hostname, port=DEFAULT_PORT if port is None else port, secure=secure)


def _socket_path(url: str, host: str, query: str) -> str:
    if host:
        raise _wrong(url, f"the host {host!r} beside a Unix socket (three slashes must follow the colon)")
    fields = parse_qs(query, keep_blank_values=True)
    paths = fields.pop("socket", [])
    if len(paths) != 1 or not paths[0]:
        raise _wrong(url, "no path of the socket (?socket=/path)")
    if fields:
        raise _wrong(url, f"the unknown parameter {min(fields)!r}")
    return paths[0]


def _decode(url: str, name: str) -> str:
    try:
        return unquote(name, errors="strict")
    except UnicodeDecodeError as error:
        raise _wrong(url, "an export name that is not UTF-8") from error


def _wrong(url: str, found: str) -> InputError:
    return InputError(
        f"NBD address {url!r}",
        expected="nbd://host:port/export, nbds://host:port/export or nbd+unix:///export?socket=/path",
        found=found,
        cause="the address was mistyped or cut off",
        next_step="copy the address from `nightwell array` or from the array's export list",
    )
