"""Fixtures that several test packages share."""

from __future__ import annotations

from s3 import moto_server, seaweed

__all__ = ["moto_server", "seaweed"]
