"""The program inside a virtual server: it copies a volume to the store, or a version back to a volume."""
