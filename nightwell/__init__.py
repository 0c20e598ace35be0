"""nightwell: volume backup without loading the server, and nightly re-analysis of wells.

The library knows nothing of Prefect: ``flows`` and ``tasks`` stand above it and call it.
"""

__version__ = "0.1.0"
