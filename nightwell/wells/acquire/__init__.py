"""Acquire a well: a switching schedule, the engine that runs it against an instrument, and the archive it fills."""
