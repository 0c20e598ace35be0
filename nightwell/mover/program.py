"""The mover as a program: a job on standard input, events on standard output, and how it ends.

Exit status: 0 the job is done; 1 it failed, and the last event says why; 3 the lifeline closed before leave to commit
was given, and nothing was committed; 4 the lifeline closed during a commit that did not end in time.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import MutableMapping

from nightwell.errors import NightwellError, SettingsError
from nightwell.mover.events import failed
from nightwell.mover.job import (
    ACCESS_KEY_VARIABLE,
    SECRET_KEY_VARIABLE,
    SESSION_TOKEN_VARIABLE,
    BackupJob,
    StoreAddress,
    decode_job,
)
from nightwell.mover.lifeline import EXIT_LIFELINE_CLOSED, Lifeline
from nightwell.mover.output import EventOutput
from nightwell.mover.work import Mover
from nightwell.store.location import StoreLocation
from nightwell.store.ports import StoppedError
from nightwell.store.store import BackupStore

EXIT_FAILED = 1


def main() -> int:
    """Do the job on standard input, and return the exit status."""
    output = EventOutput.take_over_stdout()
    with output.telling_logs():
        return run(Lifeline(sys.stdin.buffer), output, os.environ)


def run(lifeline: Lifeline, output: EventOutput, environment: MutableMapping[str, str]) -> int:
    """Do one job and return the exit status; the credentials are taken out of the environment."""
    try:
        _work(lifeline, output, environment)
    except NightwellError as error:
        output.tell(failed(error))
        return EXIT_LIFELINE_CLOSED if isinstance(error, StoppedError) else EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - the host must learn of a defect too, in words
        traceback.print_exc()
        output.tell(failed(_defect(error)))
        return EXIT_FAILED
    return 0


def _work(lifeline: Lifeline, output: EventOutput, environment: MutableMapping[str, str]) -> None:
    job = decode_job(lifeline.read_job())
    with BackupStore.open(_location(job.store, environment)) as store:
        mover = Mover(store, lifeline, output)
        if isinstance(job, BackupJob):
            mover.back_up(job)
        else:
            mover.restore(job)


def _location(address: StoreAddress, environment: MutableMapping[str, str]) -> StoreLocation:
    return StoreLocation(
        endpoint_url=address.endpoint_url,
        bucket=address.bucket,
        prefix=address.prefix,
        region=address.region,
        outage_s=address.outage_s,
        access_key=_credential(environment, ACCESS_KEY_VARIABLE),
        secret_key=_credential(environment, SECRET_KEY_VARIABLE),
        session_token=environment.pop(SESSION_TOKEN_VARIABLE, ""),
    )


def _credential(environment: MutableMapping[str, str], variable: str) -> str:
    value = environment.pop(variable, "")  # no library needs to find it there
    if not value:
        raise SettingsError(
            f"environment variable {variable}",
            expected="the store's credentials",
            found="nothing",
            cause="the virtual server was produced without them",
            next_step="give the store's keys in the settings of the destination site",
        )
    return value


def _defect(error: Exception) -> NightwellError:
    memory = isinstance(error, MemoryError)
    return NightwellError(
        "the mover",
        expected="to do its job within its memory" if memory else "to do its job, or to say what hinders it",
        found=f"{type(error).__name__}: {error}",
        cause="its virtual server has too little memory" if memory else "a defect of nightwell",
        next_step="give it more memory in the settings"
        if memory
        else "report this with the virtual server's stderr.log",
    )
