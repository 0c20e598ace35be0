"""Parts that run on this machine for a demo, a trial or a test: real processes on loopback, ended with their owner."""
