"""The command ``nightwell``: everything the library does, without Prefect."""

from nightwell.cli.app import app, main

__all__ = ["app", "main"]
