"""Prefect tasks: one an effect, no decisions."""
