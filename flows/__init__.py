"""Prefect flows: what runs, in which order; one file a deployable flow."""
