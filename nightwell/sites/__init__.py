"""The two sites: what source and destination do for each step of the protocol, and how they are put together."""
