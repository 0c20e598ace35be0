"""What a Prefect server must know of us: the worker type ``virtual-server``, pools, limits, automations."""
