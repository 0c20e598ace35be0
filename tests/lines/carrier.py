"""Line 2 without a Prefect server: the destination site as a small HTTP program, and the source's view of it.

This stands in for what carries requests, in proofs that are about line 1 and the store; what is carried, and all that
is done for it at both sites, is the product's own. The proofs of line 2 itself use the real Prefect server.
"""

from __future__ import annotations

import http.client
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter

from nightwell.errors import NightwellError, UnknownOutcomeError, from_dict
from nightwell.settings import load_settings
from nightwell.sites.build import destination_site
from nightwell.sites.requests import (
    BackupAnswer,
    BackupRequest,
    FenceAnswer,
    FenceRequest,
    RestoreAnswer,
    RestoreRequest,
    VersionAnswer,
)

PORT = 8_080
_TIMEOUT_S = 120.0

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class CarriedDestination:
    """The destination site behind :func:`carry`."""

    address: str

    def back_up(self, request: BackupRequest) -> BackupAnswer:
        return self._ask("back_up", request, BackupAnswer)

    def restore(self, request: RestoreRequest) -> RestoreAnswer:
        return self._ask("restore", request, RestoreAnswer)

    def fence(self, request: FenceRequest) -> FenceAnswer:
        return self._ask("fence", request, FenceAnswer)

    def look_up(self, volume: str, selector: str) -> VersionAnswer | None:
        found: VersionAnswer | None = self._post(
            f"/look_up/{volume}/{selector}", "{}", TypeAdapter(VersionAnswer | None)
        )
        return found

    def _ask(self, call: str, request: BaseModel, kind: type[A]) -> A:
        return self._post(f"/{call}", request.model_dump_json(), TypeAdapter(kind))

    def _post(self, path: str, body: str, kind: TypeAdapter[A]) -> A:
        connection = http.client.HTTPConnection(self.address, PORT, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", path, body)
            document = json.loads(connection.getresponse().read())
        except OSError as error:
            raise UnknownOutcomeError(
                "the destination site",
                expected="an answer over line 2",
                found=str(error),
                cause="line 2 is cut",
                next_step="mend it",
            ) from error
        finally:
            connection.close()
        if "error" in document:
            raise from_dict(document["error"])
        return kind.validate_python(document["answer"])


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            answer = _answer(self.path, body)
            document = {"answer": None if answer is None else answer.model_dump(mode="json")}
        except NightwellError as error:
            document = {"error": error.as_dict()}
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        return


def _answer(path: str, body: bytes) -> BaseModel | None:
    _, call, *rest = path.split("/")
    with destination_site(load_settings()) as site:
        if call == "back_up":
            return site.back_up(BackupRequest.model_validate_json(body))
        if call == "restore":
            return site.restore(RestoreRequest.model_validate_json(body))
        if call == "fence":
            return site.fence(FenceRequest.model_validate_json(body))
        return site.look_up(*rest)


def carry(address: str) -> None:
    """Answer requests at an address of this host from now on."""
    server = ThreadingHTTPServer((address, PORT), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
