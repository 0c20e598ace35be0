"""The second job: raw scans of one mass spectrometer, four streams, to species and indicators against depth.

The road of a well, in the order of the modules: ``gas_log`` and ``quadrupole`` import, ``simulate`` invents (and says
so), ``contract`` says what raw scans and cubes look like, ``container`` reads and writes them, ``lag`` gives depth to
time, ``cube`` makes depth x m/z per stream. Nothing is imported here: each module is imported by its own name, so
that a command which needs one of them does not pay for all.
"""
