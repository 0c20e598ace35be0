"""Run the demo: start a throw-away Prefect, run the flow against it, end everything again.

Started by ``make demo``, or plainly: ``.venv/bin/python infra/demo.py``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from flows.local_server import LocalPrefectServer

MARK = ".made-by-nightwell-demo"


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description="Back up, restore and re-analyse a well on embedded parts.")
    parser.add_argument("--well", type=Path, help="a real gas log (CSV or LAS)")
    parser.add_argument("--drilling", type=Path, help="its drilling parameters")
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder for everything that is made")
    parser.add_argument("--keep", action="store_true", help="keep Prefect's page open until Ctrl-C")
    options = parser.parse_args()
    began_s = time.monotonic()
    out = fresh_folder(options.out)
    print("starting a throw-away Prefect server (about 15 s) ...", flush=True)
    server = LocalPrefectServer(out)
    try:
        # Prefect reads its environment when it is imported, so that comes only now.
        os.environ.update(server.environment)
        os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"
        code = run(options, out)
        print(f"\nthe demo took {time.monotonic() - began_s:.0f} s; everything it made is in {out}")
        if options.keep:
            print(f"Prefect's page: {server.url}/runs   (Ctrl-C ends it)", flush=True)
            wait_for_interrupt()
    finally:
        server.stop()
    return code


def run(options: argparse.Namespace, out: Path) -> int:
    """Run the flow; an error that a person can act on ends in exit code 1."""
    from flows.demo import demo  # noqa: PLC0415  after the environment is set
    from nightwell.cli.common import reported  # noqa: PLC0415  as above

    well = str(options.well.absolute()) if options.well else None
    drilling = str(options.drilling.absolute()) if options.drilling else None
    try:
        with reported(as_json=False):
            demo(str(out), gas_log=well, drilling=drilling)
    except Exception as error:
        if hasattr(error, "exit_code"):
            return int(error.exit_code)
        raise
    return 0


def fresh_folder(out: Path) -> Path:
    """Return an empty folder; an earlier demo's is deleted, anything else is left alone."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARK).exists():
            sys.exit(f"{out} is not a folder of the demo: give another one with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()
    return out.absolute()


def wait_for_interrupt() -> None:
    """Wait until Ctrl-C."""
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
