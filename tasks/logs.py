"""The library's log lines on a flow run's page, and as JSON lines where a site collects those."""

from __future__ import annotations

import logging

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

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
