"""An array as a process: arguments, one line when ready, and a clean end on SIGTERM."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nightwell.arrays.control_server import ControlServer
from nightwell.arrays.other_array import STALL_S
from nightwell.arrays.port import Array
from nightwell.errors import InputError, NightwellError
from nightwell.logs import LogForm, LogLevel, write_logs
from nightwell.nbd.tls import TlsFiles

_ENDINGS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


@dataclass(frozen=True, slots=True)
class ArraySettings:
    """How an array is to be run.

    Parameters
    ----------
    name
        The array's name.
    directory
        Where everything it holds stands; one process at a time.
    host, port
        Where its NBD server listens. Port 0 takes the last one again when it is free, else any.
    advertised_host
        The host in export URLs, when clients reach it under another name than ``host``.
    tls
        Files of its NBD server; clients must then use TLS and show a certificate.
    line_tls
        Files with which it proves itself to other arrays when it imports; ``tls`` when not given.
    stall_s
        How long a request to an import may wait for a cut line.
    """

    name: str
    directory: Path
    host: str = "127.0.0.1"
    port: int = 0
    advertised_host: str | None = None
    tls: TlsFiles | None = None
    line_tls: TlsFiles | None = None
    stall_s: float = STALL_S


class ServedArray(Array, Protocol):
    """An array that this process serves."""

    @property
    def nbd_url(self) -> str:
        """Scheme, host and port of the NBD server."""
        ...

    @property
    def failure(self) -> str | None:
        """Why it has stopped serving by itself, or ``None``."""
        ...


def serve_array(
    open_array: Callable[[ArraySettings], ServedArray], *, module: str, arguments: Sequence[str] | None = None
) -> int:
    """Run an array until a signal ends it; return the exit code.

    Prints one JSON line on standard output: ``{"ready": true, "name", "nbd", "control"}`` when both sockets are open,
    or ``{"ready": false, "error": {...}}`` when the array cannot start (exit code 1).

    Parameters
    ----------
    open_array
        Makes the array.
    module
        What ``python -m`` runs it by.
    arguments
        The command line; by default this process's.
    """
    options = _parser(module).parse_args(arguments)
    write_logs(options.log_form, options.log_level)
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)  # before any thread: they inherit it, and sigwait gets them all
    try:
        settings = _settings(options)
        with closing(open_array(settings)) as array:
            control = ControlServer(array, options.control or settings.directory / "control.sock")
            try:
                _say(ready=True, name=array.name, nbd=array.nbd_url, control=str(control.path))
                signal.sigwait(_ENDINGS)
            finally:
                control.stop()
    except NightwellError as problem:
        _say(ready=False, error=problem.as_dict())
        sys.stderr.write(f"{problem}\n")
        return 1
    if array.failure is not None:
        sys.stderr.write(f"{array.failure}\n")
        return 1
    return 0


def _say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _parser(module: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description="An array in a process of its own.")
    serve = parser.add_subparsers(required=True, metavar="serve").add_parser("serve", help="run an array")
    add = serve.add_argument
    add("--name", required=True, help="the array's name")
    add("--directory", required=True, type=Path, help="where everything it holds stands")
    add("--host", default="127.0.0.1", help="where its NBD server listens")
    add("--port", type=int, default=0, help="0: the last one if it is free, else any")
    add("--advertise", metavar="HOST", help="host in export URLs, when clients reach it under another name")
    add("--control", type=Path, help="control socket (default: control.sock in the directory)")
    add("--stall", type=float, default=STALL_S, metavar="SECONDS", help="how long an import waits for a cut line")
    add("--log-form", type=LogForm, choices=list(LogForm), default=LogForm.TEXT, help="text, or JSON lines")
    add("--log-level", type=LogLevel, choices=list(LogLevel), help="default: info for JSON, warning for text")
    for prefix, what in (("tls", "NBD server's TLS"), ("line-tls", "TLS towards arrays it imports from")):
        for part in ("ca", "certificate", "key"):
            add(f"--{prefix}-{part}", type=Path, metavar="PEM", help=f"{what}: {part}")
    return parser


def _settings(options: argparse.Namespace) -> ArraySettings:
    return ArraySettings(
        name=options.name,
        directory=options.directory,
        host=options.host,
        port=options.port,
        advertised_host=options.advertise,
        tls=_tls(options.tls_ca, options.tls_certificate, options.tls_key, "--tls"),
        line_tls=_tls(options.line_tls_ca, options.line_tls_certificate, options.line_tls_key, "--line-tls"),
        stall_s=options.stall,
    )


def _tls(ca: Path | None, certificate: Path | None, key: Path | None, option: str) -> TlsFiles | None:
    if ca is not None and certificate is not None and key is not None:
        return TlsFiles(ca=ca, certificate=certificate, key=key)
    if ca is certificate is key is None:
        return None
    raise InputError(
        f"options {option}-ca, {option}-certificate and {option}-key",
        expected="all three, or none",
        found="some of them",
        cause="a file was forgotten",
        next_step="give all three files",
    )
