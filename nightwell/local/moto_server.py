"""moto's S3 server with conditional writes that hold.

moto looks whether an object exists and then writes it, in two steps and many threads: of several writers that each ask
to create an object only if it is absent, more than one can win. The store's check on opening finds that out and
refuses the server. Here such requests take turns; everything else is moto as it is.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_CONDITIONS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH")


def taking_turns(application: WSGIApplication) -> WSGIApplication:
    """Return an application that answers one conditional write at a time."""
    turn = threading.Lock()

    def answer(environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        writes = environment["REQUEST_METHOD"] in {"PUT", "POST"}
        if writes and any(name in environment for name in _CONDITIONS):
            with turn:
                return list(application(environment, start_response))
        return application(environment, start_response)

    return answer


def main() -> None:
    """Serve S3 on loopback until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bucket", help="make this bucket, which is as empty at each start")
    given = parser.parse_args()
    if given.bucket:
        get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(given.bucket, "us-east-1")
    application = taking_turns(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", given.port, application, threaded=True)


if __name__ == "__main__":
    main()
