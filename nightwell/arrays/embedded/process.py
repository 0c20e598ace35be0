"""The array as a process: arguments, one line when ready, and a clean end on SIGTERM."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from nightwell.arrays.control_server import ControlServer
from nightwell.arrays.embedded.array import ArraySettings, EmbeddedArray
from nightwell.arrays.embedded.imports import STALL_S
from nightwell.errors import InputError, NightwellError
from nightwell.nbd.tls import TlsFiles

_ENDINGS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an array until a signal ends it; return the exit code.

    Prints one JSON line on standard output: ``{"ready": true, "name", "nbd", "control"}`` when both sockets are open,
    or ``{"ready": false, "error": {...}}`` when the array cannot start (exit code 1).
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)  # before any thread: they inherit it, and sigwait gets them all
    try:
        settings = _settings(options)
        with EmbeddedArray(settings) as array:
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
    return 0


def _say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nightwell.arrays.embedded", description="The embedded array.")
    serve = parser.add_subparsers(required=True, metavar="serve").add_parser("serve", help="run an array")
    add = serve.add_argument
    add("--name", required=True, help="the array's name")
    add("--directory", required=True, type=Path, help="where everything it holds stands")
    add("--host", default="127.0.0.1", help="where its NBD server listens")
    add("--port", type=int, default=0, help="0: the last one if it is free, else any")
    add("--advertise", metavar="HOST", help="host in export URLs, when clients reach it under another name")
    add("--control", type=Path, help="control socket (default: control.sock in the directory)")
    add("--stall", type=float, default=STALL_S, metavar="SECONDS", help="how long an import waits for a cut line")
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
