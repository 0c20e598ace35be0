"""The library's log lines on a flow run's page, and as JSON lines where a site collects those."""

from __future__ import annotations

import logging
from functools import partial

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console

from nightwell.logs import ROOT, LogForm, in_text, put, write_logs
from nightwell.settings import LogSettings


def log_to_flow_runs(settings: LogSettings) -> None:
    """Hand the library's lines to the logger of the flow or task run that they are logged in.

    Text is not written a second time: Prefect's console shows what its run loggers get.
    """
    if settings.form is LogForm.JSON:
        write_logs(settings.form, settings.level)
    put(_ToRunLogger(logging.INFO))
    ROOT.propagate = False  # Prefect's root logger would show each warning once more
    _outlive_consoles()


def _outlive_consoles() -> None:
    """Let a flow go on when nobody reads its console any more.

    A worker of type process reads it. When such a worker was killed, rich would end the flow at its next line.
    """
    loggers = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    for handler in {handler for logger in (logging.root, *loggers) for handler in logger.handlers}:
        if isinstance(handler, PrefectConsoleHandler):
            handler.console.on_broken_pipe = partial(_fall_silent, handler.console)  # type: ignore[method-assign]


def _fall_silent(console: Console) -> None:
    console.quiet = True


class _ToRunLogger(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            logger = get_run_logger()
        except MissingContextError:  # a thread of ours, or a site that is driven outside a flow
            return
        text = in_text(record)
        if record.exc_info:
            text += f"\n{logging.Formatter().formatException(record.exc_info)}"
        logger.log(record.levelno, "%s", text)
